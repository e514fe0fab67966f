//! How a runner takes partitions up: whose checkpoints it reads, whom it leaves out, and what it
//! does if it cannot.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use highwater_log::MembershipEvent;

use super::{
    super::{Key, Source, Step, TopicPartition},
    alone::Alone,
    history::History,
    memory::topic_partition,
    play,
    single::{SECOND, key, singles, stands},
    turns::Play,
};

const MS: Duration = Duration::from_millis(1);

/// Of everything that the runner knows.
fn topic_partitions(alone: &Alone) -> BTreeSet<TopicPartition> {
    alone.progress.all().into_keys().map(|key| key.topic_partition).collect()
}

#[tokio::test(start_paused = true)]
async fn events_are_begun_before_command_queues_and_no_more_at_once_than_may_be() {
    let queue = Arc::new(History::of_queue(&[true]));
    let play = Play {
        queues: vec![queue.clone(), queue],
        of_queues: vec!["d"],
        ..play(vec![singles(1), singles(1)], 1)
    };
    for (at_once, expected) in [(1, vec![1, 2, 3, 4]), (3, vec![3, 4]), (0, vec![1, 2, 3, 4])] {
        let mut alone = play.alone();
        alone.runner.limits.resume_at_once = at_once;
        let mut known = Vec::new();
        // Four beginnings, and a transaction after each.
        for _ in 0..8 {
            if alone.runner.step().await == Step::Resumed {
                let topic_partitions = topic_partitions(&alone);
                let of_events = topic_partitions
                    .iter()
                    .filter(|topic_partition| topic_partition.source == Source::Events)
                    .count();
                assert_eq!(of_events, topic_partitions.len().min(2), "events go first");
                known.push(topic_partitions.len());
            }
        }
        assert_eq!(known, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_followed_has_its_turn_between_two_beginnings() {
    let mut alone = play(vec![singles(1), singles(2), singles(3)], 1).alone();
    alone.runner.limits.resume_at_once = 1;
    let steps = alone.go_on_for(10 * MS).await;
    let projected = |events| Step::Projected { events };
    let turns =
        [Step::Resumed, projected(2), Step::Resumed, projected(4), Step::Resumed, projected(6)];
    assert_eq!(steps, [&turns[..], &[Step::CaughtUp]].concat());
}

#[tokio::test(start_paused = true)]
async fn who_always_has_something_to_project_begins_the_other_partitions_all_the_same() {
    let mut alone =
        Play { batch_events: 2, chunk: 1, ..play(vec![singles(9), singles(1), singles(1)], 1) }
            .alone();
    alone.runner.limits.resume_at_once = 1;
    for begun in 1..=3 {
        assert_eq!(alone.runner.step().await, Step::Resumed);
        assert_eq!(topic_partitions(&alone).len(), begun);
        assert!(matches!(alone.runner.step().await, Step::Projected { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn the_projections_of_a_topic_read_it_and_no_others_do() {
    let queue = Arc::new(History::of_queue(&[true]));
    let play = Play { queues: vec![queue], of_queues: vec!["d", "e"], ..play(vec![singles(1)], 1) };
    let mut alone = play.alone();
    alone.go_on_for(SECOND).await;
    let stored: BTreeSet<Key> = alone.store.server().tables.checkpoints.keys().cloned().collect();
    assert_eq!(stored, play.keys().into_iter().map(|(key, _)| key).collect());
    assert_eq!(alone.progress.all().into_keys().collect::<BTreeSet<_>>(), stored);
}

#[tokio::test(start_paused = true)]
async fn what_is_assigned_again_is_not_begun_again_nor_any_sooner() {
    let play = Play { visible: 2, ..play(vec![singles(3)], 1) };
    let mut alone = play.alone();
    let assigned = |alone: &Alone| {
        alone.changes.send(MembershipEvent::Assigned(play.partitions())).expect("a runner")
    };
    alone.store.server().away = 3;
    assert_eq!(alone.runner.step().await, Step::Failed);
    // Tried again after 50, 100 and 200 ms.
    let mut tries = Vec::new();
    for waited in 1..=400 {
        assigned(&alone);
        tokio::time::advance(MS).await;
        if alone.runner.step().await != Step::Waiting && tries.len() < 3 {
            tries.push(waited);
        }
    }
    assert_eq!(tries, [50, 150, 350]);
    assigned(&alone);
    assert_eq!(
        alone.go_on_for(100 * MS).await.iter().filter(|step| **step == Step::Resumed).count(),
        0
    );
    assert_eq!(stands(&alone, "a"), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_begun_when_it_is_taken_back_is_begun_elsewhere() {
    let play = play(vec![singles(3)], 1);
    let mut alone = play.alone();
    alone.store.server().away = 1;
    assert_eq!(alone.runner.step().await, Step::Failed);
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: play.partitions(), lost: false })
        .expect("a runner");
    assert_eq!(alone.go_on_for(SECOND).await, [Step::CaughtUp]);
    assert_eq!(stands(&alone, "a"), 0);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_begin_fails_until_it_can() {
    let mut alone = play(vec![singles(3), singles(3)], 1).alone();
    let failing =
        |alone: &Alone| alone.progress.failing(Duration::ZERO).into_keys().collect::<Vec<_>>();
    // Of the first partition alone.
    alone.store.server().refused = [1].into();
    assert_eq!(alone.runner.step().await, Step::Failed);
    assert_eq!(failing(&alone), [key("a"), key("b")]);
    assert_eq!(topic_partitions(&alone), [topic_partition(1)].into());
    assert_eq!(alone.runner.step().await, Step::Projected { events: 6 }, "the other one goes on");
    alone.go_on_for(SECOND).await;
    assert_eq!((failing(&alone), stands(&alone, "a")), (vec![], 4));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_write_is_distrusted_when_a_beginning_finds_it() {
    let mut alone = play(vec![singles(3)], 1).alone();
    alone.store.server().read_only_loads = 1;
    assert_eq!(alone.runner.step().await, Step::Failed);
    assert_eq!(alone.store.server().distrusted, 1);
    alone.go_on_for(SECOND / 10).await;
    assert_eq!((stands(&alone, "a"), alone.store.server().distrusted), (4, 1));
    // And when a comparison finds it.
    alone.store.server().read_only_loads = 1;
    alone.go_on_for(SECOND).await;
    assert_eq!(alone.store.server().distrusted, 2);
}

#[tokio::test(start_paused = true)]
async fn a_projection_whose_rows_are_of_a_newer_form_is_halted_and_no_other() {
    let mut alone = play(vec![singles(3)], 1).alone();
    alone.store.server().newer.insert("b");
    // A projection that is asked by itself finds the database away: that is no reason to halt any.
    alone.store.server().refused = [2].into();
    assert_eq!(alone.runner.step().await, Step::Failed);
    assert!(alone.progress.all_halted().is_empty());
    alone.go_on_for(SECOND).await;
    assert_eq!(alone.progress.all_halted().into_iter().collect::<Vec<_>>(), [(key("b"), 0)]);
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (4, 0));
    // No projection is left to read the partition.
    alone.store.server().newer.insert("a");
    alone.shelf.stop();
    alone.go_on_for(SECOND).await;
    assert_eq!(alone.progress.all_halted().into_keys().collect::<Vec<_>>(), [key("a"), key("b")]);
    assert_eq!(alone.runner.step().await, Step::CaughtUp, "nothing is left to do until a restart");
}

#[tokio::test(start_paused = true)]
async fn rows_of_an_older_form_are_projected_again_from_the_beginning_and_no_others() {
    let history = singles(4);
    let play = Play { batch_events: 100, ..play(vec![history.clone()], 1) };
    let mut alone = play.alone();
    alone.go_on_for(SECOND).await;
    let mut another = play.another(&alone.shelf, &alone.store);
    alone.store.server().older.insert("b");
    assert_eq!(another.runner.step().await, Step::Resumed);
    assert_eq!((stands(&another, "a"), stands(&another, "b")), (5, 0));
    assert_eq!(another.runner.step().await, Step::Projected { events: 4 });
    assert_eq!((stands(&another, "a"), stands(&another, "b")), (5, 5));
    assert_eq!(another.store.server().tables.rows[&key("b")], history.below(5));
    assert_eq!(another.store.server().wrong, None);
}

#[tokio::test(start_paused = true)]
async fn who_goes_alone_is_followed_by_itself_though_the_log_stops() {
    let mut alone = Play { visible: 3, ..play(vec![singles(8)], 1) }.alone();
    alone.store.server().busy.insert("b", usize::MAX);
    alone.go_on_for(SECOND).await;
    for turn in 0_u64..4 {
        alone.shelf.stop();
        alone.shelf.grow(1);
        // One of the two consumers begins before the other.
        let begins = alone.store.server().begins;
        alone.store.server().refused = [begins + 1 + turn % 2].into();
        alone.go_on_for(SECOND).await;
        assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (4 + turn, 0));
        assert_eq!(
            alone.progress.failing(Duration::ZERO).into_keys().collect::<Vec<_>>(),
            [key("b")]
        );
    }
    alone.store.server().busy.clear();
    alone.go_on_for(SECOND).await;
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (7, 7));
    assert_eq!(alone.store.server().wrong, None);
}

#[tokio::test(start_paused = true)]
async fn who_goes_alone_does_not_hold_the_others_up_where_the_log_begins_again() {
    let mut alone = Play { visible: 3, ..play(vec![singles(8)], 1) }.alone();
    alone.store.server().busy.insert("b", usize::MAX);
    // Its own consumer waits for its next try, or is being followed.
    for waited in [SECOND, 20 * MS] {
        alone.go_on_for(waited).await;
        let before = stands(&alone, "a");
        alone.shelf.stop();
        alone.shelf.grow(1);
        let stopped = tokio::time::Instant::now();
        while stands(&alone, "a") == before && stopped.elapsed() < SECOND {
            alone.go_on_for(MS).await;
        }
        assert!(
            stopped.elapsed() <= 110 * MS,
            "{:?}: a transaction with what fails is tried again and again",
            stopped.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_database_is_compared_every_so_often_and_not_more_often() {
    let mut alone = play(vec![singles(3)], 1).alone();
    let mut verified = Vec::new();
    for waited in 0..1_000 {
        // Three steps are enough for everything that is due at a time.
        let steps =
            [alone.runner.step().await, alone.runner.step().await, alone.runner.step().await];
        verified.extend(steps.iter().filter(|step| **step == Step::Verified).map(|_| waited));
        tokio::time::advance(MS).await;
    }
    assert_eq!(verified, [300, 600, 900]);
    // It cannot be compared: that is tried again soon, and meanwhile nothing else is tried either.
    alone.store.server().away = 2;
    alone.shelf.grow(1);
    let mut steps = Vec::new();
    for waited in 1_000..2_000 {
        let step = alone.runner.step().await;
        if !matches!(step, Step::Waiting | Step::CaughtUp) {
            steps.push((waited, step));
        }
        tokio::time::advance(MS).await;
    }
    assert_eq!(steps, [(1_200, Step::Failed), (1_500, Step::Failed), (1_800, Step::Verified),]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_goes_takes_its_own_troubles_with_it_and_no_others() {
    let play = Play { visible: 3, ..play(vec![singles(8), singles(8)], 1) };
    let mut alone = play.alone();
    alone.runner.limits.handoff = Duration::ZERO;
    alone.store.server().busy.insert("b", usize::MAX);
    alone.go_on_for(2 * SECOND).await;
    let of = |partition| Key { projection: "b", topic_partition: topic_partition(partition) };
    let first = || vec![play.partitions()[0].clone()];
    assert_eq!(
        alone.progress.failing(Duration::ZERO).into_keys().collect::<Vec<_>>(),
        [of(0), of(1)]
    );
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: first(), lost: true })
        .expect("a runner");
    alone.runner.step().await;
    assert_eq!(alone.progress.failing(Duration::ZERO).into_keys().collect::<Vec<_>>(), [of(1)]);
    assert_eq!(alone.runner.consumers.troubled.keys().collect::<Vec<_>>(), [&of(1)]);
    // It has all its attempts again where it comes back, and the other one is still alone.
    alone.changes.send(MembershipEvent::Assigned(first())).expect("a runner");
    alone.store.server().busy.insert("b", 2);
    alone.go_on_for(SECOND).await;
    assert_eq!(alone.progress.failing(Duration::ZERO).into_keys().collect::<Vec<_>>(), []);
    assert_eq!(stands(&alone, "b"), 3);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_halts_its_partition_alone() {
    let mut alone = play(vec![singles(3)], 1).alone();
    alone.runner.consumers.waiting.insert(
        super::super::consumers::Consumer::of(TopicPartition::of_events("thing", 0)),
        super::super::consumers::Attempts::default(),
    );
    alone.runner.assignment = super::super::Assignment::new(
        highwater_log::Membership {
            events: tokio::sync::mpsc::unbounded_channel().1,
            leave: Box::new(|_| Box::pin(async {})),
            commit: Arc::new(|_| {}),
        },
        super::super::Topics::of("test", &["other"]),
    );
    assert_eq!(alone.runner.step().await, Step::Failed);
    assert_eq!(
        alone.progress.all_halted().into_iter().collect::<Vec<_>>(),
        [(key("a"), 0), (key("b"), 0)]
    );
    assert_eq!(alone.runner.step().await, Step::CaughtUp);
}
