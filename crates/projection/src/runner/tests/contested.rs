//! Two runners with the same checkpoints, step by step: the one that loses goes on from what is
//! stored, and only with what is still its own.

use std::{sync::Arc, time::Duration};

use highwater_log::MembershipEvent;

use super::{
    super::{Key, Step},
    alone::Alone,
    history::History,
    memory::topic_partition,
    play,
    single::{SECOND, key, singles, stands},
    turns::Play,
};

/// A runner that is about to move both projections from 3 to 5, and the history that it reads.
async fn about_to_move() -> (Play, Alone, Arc<History>) {
    let history = singles(6);
    let play = Play { visible: 3, ..play(vec![history.clone()], 1) };
    let mut alone = play.alone();
    alone.go_on_for(SECOND / 10).await;
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (3, 3));
    alone.shelf.grow(2);
    (play, alone, history)
}

fn put(alone: &Alone, history: &History, projection: &'static str, offset: u64) {
    alone.store.server().tables.stand(key(projection), history, offset);
}

#[tokio::test(start_paused = true)]
async fn who_lost_goes_on_from_where_the_checkpoints_are_locked_and_adds_what_is_missing() {
    for (a, b) in [(4, 3), (3, 4), (4, 4), (5, 3), (3, 5)] {
        let (_, mut alone, history) = about_to_move().await;
        put(&alone, &history, "a", a);
        put(&alone, &history, "b", b);
        assert_eq!(alone.runner.step().await, Step::Failed, "it sees that it lost");
        let missing = usize::try_from(5 - a + 5 - b).expect("few");
        assert_eq!(alone.runner.step().await, Step::Projected { events: missing });
        assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (5, 5));
        assert_eq!(alone.progress.all().into_values().collect::<Vec<_>>(), [5, 5]);
        assert_eq!(alone.runner.step().await, Step::CaughtUp);
        assert_eq!(alone.store.server().wrong, None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_has_done_to_its_end_is_believed_and_not_done_again() {
    for (end, grown) in [(5, 0), (6, 1)] {
        let (_, mut alone, history) = about_to_move().await;
        alone.shelf.grow(grown);
        put(&alone, &history, "a", end);
        put(&alone, &history, "b", end);
        assert_eq!(alone.runner.step().await, Step::Failed);
        let applied = alone.store.server().applies.clone();
        assert_eq!(alone.runner.step().await, Step::Projected { events: 0 });
        assert_eq!(alone.progress.all().into_values().collect::<Vec<_>>(), [end, end]);
        alone.go_on_for(SECOND).await;
        assert_eq!(alone.store.server().applies, applied);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_another_moved_holds_no_other_up() {
    let history = singles(6);
    let mut alone = Play { visible: 3, ..play(vec![history.clone(), singles(6)], 1) }.alone();
    alone.go_on_for(SECOND / 10).await;
    for moved in [0_u32, 1] {
        alone.shelf.grow(2);
        let from = 3 + 2 * u64::from(moved);
        for projection in ["a", "b"] {
            alone.store.server().tables.stand(
                Key { projection, topic_partition: topic_partition(moved) },
                &history,
                from + 1,
            );
        }
        assert_eq!(alone.runner.step().await, Step::Failed);
        // The other one with all of it, then the one that was moved, by itself: the runner does not
        // ask again what it has asked already.
        assert_eq!(alone.runner.step().await, Step::Projected { events: 4 });
        assert_eq!(alone.runner.step().await, Step::Projected { events: 2 });
        assert_eq!(alone.progress.all().into_values().collect::<Vec<_>>(), [from + 2; 4]);
    }
}

#[tokio::test(start_paused = true)]
async fn of_what_was_taken_over_while_it_waited_its_turn_nothing_is_written() {
    for (moved, other) in [("a", "b"), ("b", "a")] {
        let (play, mut alone, history) = about_to_move().await;
        put(&alone, &history, moved, 4);
        assert_eq!(alone.runner.step().await, Step::Failed);
        alone
            .changes
            .send(MembershipEvent::Revoked { partitions: play.partitions(), lost: false })
            .expect("a runner");
        let applied = alone.store.server().applies.clone();
        assert_eq!(alone.runner.step().await, Step::Projected { events: 0 });
        assert!(alone.progress.all().is_empty(), "it is another's");
        alone.go_on_for(SECOND).await;
        assert_eq!((stands(&alone, moved), stands(&alone, other)), (4, 3));
        assert_eq!(alone.store.server().applies, applied);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_handed_over_and_seen_to_move_is_let_go_at_once() {
    let (play, mut alone, history) = about_to_move().await;
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: play.partitions(), lost: false })
        .expect("a runner");
    put(&alone, &history, "b", 4);
    assert_eq!(alone.runner.step().await, Step::Failed);
    assert!(alone.progress.all().is_empty());
    assert_eq!(alone.runner.step().await, Step::CaughtUp, "nothing of it is left to do");
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (3, 4));
}

#[tokio::test(start_paused = true)]
async fn if_one_checkpoint_is_nowhere_on_the_way_the_partition_is_read_again_and_nothing_is_written_before()
 {
    for (fallen, other) in [("a", "b"), ("b", "a")] {
        let (_, mut alone, history) = about_to_move().await;
        put(&alone, &history, fallen, 4);
        assert_eq!(alone.runner.step().await, Step::Failed);
        // Between the question and the lock it falls back.
        put(&alone, &history, fallen, 2);
        assert_eq!(alone.runner.step().await, Step::Projected { events: 0 });
        assert_eq!((stands(&alone, fallen), stands(&alone, other)), (2, 3));
        // After a moment, not at once: the runner that moved it may be at it still.
        assert_eq!(alone.runner.step().await, Step::Waiting);
        tokio::time::advance(Duration::from_millis(49)).await;
        assert_eq!(alone.runner.step().await, Step::Waiting);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(alone.runner.step().await, Step::Resumed);
        assert_eq!(alone.runner.step().await, Step::Projected { events: 3 + 2 });
        assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (5, 5));
        assert_eq!(alone.store.server().wrong, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_fell_back_is_read_again_whichever_it_is_and_though_nothing_arrives() {
    let projections = ["a", "b", "c"];
    for fallen in projections {
        for offset in [0, 1, 3] {
            let history = singles(3);
            let mut alone =
                Play { projections: projections.to_vec(), ..play(vec![history.clone()], 1) }
                    .alone();
            alone.go_on_for(SECOND / 10).await;
            put(&alone, &history, fallen, offset);
            alone.go_on_for(SECOND).await;
            assert_eq!(
                projections.map(|name| stands(&alone, name)),
                [4; 3],
                "{fallen} at {offset}"
            );
            assert_eq!(alone.store.server().wrong, None, "{fallen} at {offset}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_another_moved_on_is_believed_though_nothing_arrives() {
    for (moved, other) in [("a", "b"), ("b", "a")] {
        let (_, mut alone, history) = about_to_move().await;
        alone.go_on_for(SECOND / 10).await;
        put(&alone, &history, moved, 6);
        let steps = alone.go_on_for(SECOND).await;
        assert!(steps.contains(&Step::Verified) && !steps.contains(&Step::Failed), "{steps:?}");
        let known = alone.progress.all();
        assert_eq!((known[&key(moved)], known[&key(other)]), (6, 5));
        assert!(!steps.contains(&Step::Resumed), "nothing is read again");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_handed_over_and_found_moved_without_events_is_let_go() {
    let (play, mut alone, history) = about_to_move().await;
    alone.go_on_for(Duration::from_millis(150)).await;
    // The handoff takes 300 ms, the next comparison comes 50 ms from now.
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: play.partitions(), lost: false })
        .expect("a runner");
    put(&alone, &history, "b", 6);
    alone.go_on_for(Duration::from_millis(100)).await;
    assert!(alone.progress.all().is_empty(), "{:?}", alone.progress.all());
}
