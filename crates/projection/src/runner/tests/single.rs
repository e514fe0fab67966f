//! One runner, and what it does about each thing that can go wrong.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use highwater_log::MembershipEvent;
use highwater_protocol::{position::Witness, wire::Wire};
use uuid::Uuid;

use super::{
    super::{Key, Step},
    alone::Alone,
    history::{Act, History},
    memory::topic_partition,
    play, tables,
    turns::Play,
};

pub const SECOND: Duration = Duration::from_secs(1);

pub fn key(projection: &'static str) -> Key {
    Key { projection, topic_partition: topic_partition(0) }
}

/// A fence, and so many events one by one.
pub fn singles(events: usize) -> Arc<History> {
    let acts: Vec<Act> =
        std::iter::once(Act::Fence).chain(std::iter::repeat_n(Act::Commit(1), events)).collect();
    Arc::new(History::of(&acts))
}

pub fn stands(alone: &Alone, projection: &'static str) -> u64 {
    alone.store.server().tables.checkpoints.get(&key(projection)).map_or(0, |at| at.offset)
}

#[tokio::test(start_paused = true)]
async fn a_transaction_has_about_as_many_events_and_bytes_as_it_may() {
    let small =
        Play { batch_events: 2, chunk: 1, projections: vec!["a"], ..play(vec![singles(6)], 1) };
    assert_eq!(small.alone().transactions_within(SECOND).await, [2, 2, 2]);
    // The data of each is two bytes.
    let bytes = Play { batch_events: 100, batch_bytes: 4, ..small.clone() };
    assert_eq!(bytes.alone().transactions_within(SECOND).await, [2, 2, 2]);
    // However much the first one brings, the second has its turn.
    let two = Play { histories: vec![singles(6), singles(6)], ..small };
    assert_eq!(two.alone().transactions_within(SECOND).await, [3, 3, 3, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn no_checkpoint_of_another_past_is_gone_on_from_whichever_projection_has_it() {
    let history = singles(6);
    let projections = ["a", "b", "c"];
    for wrong in projections {
        // Another record at the last place that it saw: by its number alone, by its epoch, by its
        // writer, or the fence.
        let other: [fn(&mut Witness<Wire>); 4] = [
            |witness| witness.seq = witness.seq.map(|seq| seq + 1),
            |witness| witness.epoch += 1,
            |witness| witness.writer = Uuid::from_u128(77),
            |witness| witness.seq = None,
        ];
        for change in other {
            let mut tables =
                tables(std::slice::from_ref(&history), &[("a", 0, 3), ("b", 0, 4), ("c", 0, 5)]);
            let at = tables.checkpoints.get_mut(&key(wrong)).expect("a checkpoint");
            change(at.witness.as_mut().expect("a witness"));
            let before = tables.clone();
            let mut alone = Play {
                projections: projections.to_vec(),
                tables,
                ..play(vec![history.clone()], 1)
            }
            .alone();
            alone.go_on_for(SECOND).await;
            assert_eq!(
                alone.progress.all_halted().keys().map(|key| key.projection).collect::<Vec<_>>(),
                projections,
                "{wrong}"
            );
            assert_eq!(alone.store.server().tables, before, "{wrong}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_applied_halts_its_projection_before_it_and_no_other() {
    let history = singles(6);
    let mut alone = play(vec![history.clone(), singles(3)], 1).alone();
    alone.store.server().poison.insert(("b", 4));
    alone.go_on_for(SECOND).await;
    // Offset 4 is not in the other partition.
    assert_eq!(alone.progress.all_halted().into_iter().collect::<Vec<_>>(), [(key("b"), 4)]);
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (history.end(), 4));
    assert_eq!(alone.store.server().wrong, None);
    let other = Key { projection: "b", topic_partition: topic_partition(1) };
    assert_eq!(alone.store.server().tables.checkpoints[&other].offset, 4);
    // It is not tried again.
    let tried = alone.store.server().applies["b"];
    alone.shelf.stop();
    alone.go_on_for(SECOND).await;
    assert_eq!(alone.store.server().applies["b"], tried);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_newer_release_pauses_its_reader_before_it_until_a_release_knows_it() {
    let history = singles(6);
    let mut alone = play(vec![history.clone()], 1).alone();
    alone.store.server().unknown.insert(("b", 4));
    alone.go_on_for(SECOND).await;
    assert_eq!(alone.progress.all_halted().into_iter().collect::<Vec<_>>(), [(key("b"), 4)]);
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (history.end(), 4));

    // The release after it, on the same tables.
    let tables = alone.store.server().tables.clone();
    drop(alone);
    let mut after = Play { tables, ..play(vec![history.clone()], 1) }.alone();
    after.go_on_for(SECOND).await;
    assert!(after.progress.all_halted().is_empty());
    assert_eq!((stands(&after, "a"), stands(&after, "b")), (history.end(), history.end()));
    assert_eq!(after.store.server().wrong, None, "nothing was skipped");
}

#[tokio::test(start_paused = true)]
async fn a_projection_that_cannot_write_goes_alone_until_it_can_and_holds_no_other_up() {
    let mut alone = Play { visible: 4, ..play(vec![singles(8)], 1) }.alone();
    alone.store.server().busy.insert("b", usize::MAX);
    alone.go_on_for(SECOND).await;
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (4, 0));
    let tried = alone.store.server().applies["b"];
    alone.go_on_for(10 * SECOND).await;
    let tried = alone.store.server().applies["b"] - tried;
    assert!(
        (80..=110).contains(&tried),
        "{tried} times in ten seconds: twice after each wait of 200 ms"
    );
    // What arrives meanwhile is the others' at once.
    alone.shelf.grow(2);
    alone.go_on_for(SECOND).await;
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (6, 0));
    assert_eq!(alone.progress.failing(SECOND).keys().collect::<Vec<_>>(), [&key("b")]);

    alone.store.server().busy.clear();
    alone.go_on_for(SECOND).await;
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (6, 6));
    assert!(alone.progress.failing(Duration::ZERO).is_empty());
    // They go together again.
    alone.shelf.grow(1);
    assert_eq!(alone.transactions_within(SECOND).await, [2]);
    assert_eq!(alone.store.server().wrong, None);
}

#[tokio::test(start_paused = true)]
async fn who_was_alone_once_has_all_its_attempts_again() {
    let mut alone =
        Play { visible: 4, projections: vec!["b"], ..play(vec![singles(8)], 1) }.alone();
    // Three attempts for the whole, three for its first half.
    alone.store.server().busy.insert("b", 6);
    assert_eq!(
        alone.go_on_for(SECOND).await.iter().filter(|step| **step == Step::Resumed).count(),
        2,
        "at first, and alone"
    );
    assert_eq!(stands(&alone, "b"), 4);
    alone.store.server().busy.insert("b", 2);
    alone.shelf.grow(1);
    let steps = alone.go_on_for(SECOND).await;
    assert!(
        !steps.contains(&Step::Resumed) && steps.contains(&Step::Projected { events: 1 }),
        "{steps:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_write_is_not_used_again() {
    let mut alone = play(vec![singles(3)], 1).alone();
    alone.store.server().read_only = 1;
    alone.go_on_for(SECOND).await;
    assert_eq!(alone.store.server().distrusted, 1);
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn a_database_that_fell_back_is_projected_again_though_nothing_arrives() {
    let mut alone = play(vec![singles(3)], 1).alone();
    alone.go_on_for(SECOND).await;
    alone.store.server().fall_back(0);
    assert_eq!(stands(&alone, "a"), 0);
    alone.go_on_for(Duration::from_millis(500)).await;
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (4, 4));
    assert_eq!(alone.store.server().wrong, None);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_was_away_is_asked_at_once_what_it_has_forgotten() {
    let mut alone = Play { visible: 3, ..play(vec![singles(3)], 1) }.alone();
    alone.go_on_for(SECOND).await;
    alone.store.server().away = 1;
    alone.shelf.grow(1);
    let steps = alone.go_on_for(Duration::from_millis(100)).await;
    let asked = steps
        .windows(3)
        .any(|three| matches!(three, [Step::Waiting, Step::Projected { .. }, Step::Verified]));
    assert!(steps.contains(&Step::Failed) && asked, "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn what_failed_and_was_done_by_another_does_not_fail_any_more() {
    let play = Play { visible: 4, ..play(vec![singles(3)], 1) };
    let mut alone = play.alone();
    alone.store.server().busy.extend([("a", usize::MAX), ("b", usize::MAX)]);
    alone.go_on_for(SECOND).await;
    assert_eq!(alone.progress.failing(Duration::ZERO).len(), 2);
    // It has lost what it read, and another runner does it meanwhile.
    alone.shelf.stop();
    alone.store.server().busy.clear();
    let mut another = play.another(&alone.shelf, &alone.store);
    another.go_on_for(SECOND).await;
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (4, 4));
    alone.go_on_for(SECOND).await;
    assert!(
        alone.progress.failing(Duration::ZERO).is_empty(),
        "{:?}",
        alone.progress.failing(Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn the_logs_lag_tools_are_told_and_not_all_the_time() {
    let mut alone = Play { chunk: 1, visible: 5, ..play(vec![singles(40)], 1) }.alone();
    for _ in 0..30 {
        alone.go_on_for(SECOND / 10).await;
        alone.shelf.grow(1);
    }
    let notes = alone.notes.lock().expect("no panic").clone();
    assert!((2..=3).contains(&notes.len()), "{notes:?}");
    assert!(notes.iter().all(|(_, told)| matches!(told[..], [(0, 5..)])), "{notes:?}");
    assert!(notes.windows(2).all(|pair| pair[1].0 - pair[0].0 >= SECOND), "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_back_is_projected_until_the_end_of_the_handoff_and_no_longer() {
    let play = Play { visible: 3, ..play(vec![singles(8)], 1) };
    let mut alone = play.alone();
    alone.go_on_for(SECOND).await;
    let revoked = || MembershipEvent::Revoked { partitions: play.partitions(), lost: false };
    alone.changes.send(revoked()).expect("a runner");
    alone.go_on_for(Duration::from_millis(50)).await;
    alone.shelf.grow(2);
    alone.go_on_for(Duration::from_millis(220)).await;
    assert_eq!(
        (stands(&alone, "a"), alone.progress.all().len()),
        (5, 2),
        "the handoff takes 300 ms"
    );
    alone.go_on_for(SECOND).await;
    assert!(alone.progress.all().is_empty());
    alone.shelf.grow(2);
    alone.go_on_for(SECOND).await;
    assert_eq!(stands(&alone, "a"), 5);
    // And again when it is given back.
    alone.changes.send(MembershipEvent::Assigned(play.partitions())).expect("a runner");
    alone.go_on_for(SECOND).await;
    assert_eq!(stands(&alone, "a"), 7);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_back_is_let_go_when_another_has_moved_it() {
    let play = Play { visible: 3, ..play(vec![singles(8)], 1) };
    let mut alone = play.alone();
    alone.go_on_for(SECOND).await;
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: play.partitions(), lost: false })
        .expect("a runner");
    alone.runner.step().await;
    let mut another = play.another(&alone.shelf, &alone.store);
    another.go_on_for(Duration::from_millis(10)).await;
    alone.shelf.grow(1);
    another.go_on_for(Duration::from_millis(10)).await;
    assert_eq!(stands(&alone, "a"), 4);
    // Long before the handoff would end by itself.
    alone.go_on_for(Duration::from_millis(250)).await;
    assert!(alone.progress.all().is_empty(), "{:?}", alone.progress.all());
    assert_eq!(
        another.progress.all().values().copied().collect::<BTreeSet<_>>(),
        BTreeSet::from([4])
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_its_turn_goes_with_its_own_partition_and_with_no_other() {
    let play = Play { visible: 3, ..play(vec![singles(8), singles(8)], 1) };
    let mut alone = play.alone();
    alone.runner.limits.handoff = Duration::ZERO;
    alone.go_on_for(SECOND / 10).await;
    // Both partitions in one transaction that is to be tried again.
    alone.shelf.grow(2);
    alone.store.server().away = 1;
    assert_eq!(alone.runner.step().await, Step::Failed);
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: play.partitions()[..1].to_vec(), lost: true })
        .expect("a runner");
    let (_, step) = alone.next_step().await;
    assert_eq!(step, Step::Projected { events: 2 * 2 });
    alone.shelf.grow(1);
    alone.go_on_for(SECOND).await;
    let other = Key { projection: "a", topic_partition: topic_partition(1) };
    assert_eq!(
        (stands(&alone, "a"), alone.store.server().tables.checkpoints[&other].offset),
        (3, 6)
    );
    assert_eq!(alone.store.server().wrong, None);
}

#[tokio::test(start_paused = true)]
async fn where_the_log_stops_what_was_read_is_read_again_and_nowhere_else() {
    let mut alone = Play { visible: 3, ..play(vec![singles(8), singles(8)], 1) }.alone();
    let stand = |alone: &Alone| {
        [0, 1].map(|partition| {
            alone
                .progress
                .offset(&Key { projection: "a", topic_partition: topic_partition(partition) })
        })
    };
    alone.go_on_for(SECOND / 10).await;
    alone.shelf.grow(2);
    alone.shelf.stop_one(0);
    assert_eq!(alone.runner.step().await, Step::Projected { events: 2 * 2 });
    assert_eq!(stand(&alone), [Some(3), Some(5)]);
    alone.go_on_for(SECOND).await;
    assert_eq!(stand(&alone), [Some(5), Some(5)]);
    assert_eq!(alone.store.server().wrong, None);
}
