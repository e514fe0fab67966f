//! What memory lacks: asked of snapshots, one load at a time.

use highwater_protocol::{
    position::Position,
    writer::{Answer, Busy, Input, Limits, Snapshot, StepDown, Submission},
};

use crate::{
    harness::Driven,
    small::{accepted, add, cold, done, recorded, replayed},
};

#[test]
fn one_load_is_under_way_and_what_comes_meanwhile_goes_with_the_next() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(cold(add(1, 11, &[5])));
    assert_eq!(driven.asked(), [(vec![11], vec![1])]);
    driven.submit(cold(add(3, 12, &[5])));
    driven.submit(cold(add(2, 12, &[5])));
    assert_eq!((driven.asked(), driven.out.len()), (vec![], 0));
    driven.loaded_nothing(0);
    assert_eq!((driven.asked(), driven.commands_out()), (vec![(vec![12], vec![2, 3])], vec![1]));
    driven.loaded_nothing(0);
    assert_eq!((driven.asked(), driven.commands_out()), (vec![], vec![1, 2, 3]));
}

#[test]
fn so_many_commands_are_in_one_load_and_no_more() {
    let mut driven = Driven::new(Limits { load_batch: 2, ..Limits::default() });
    for id in 1..=3 {
        driven.submit(cold(add(id, 10 + id, &[5])));
    }
    assert_eq!(driven.asked(), [], "nothing is asked before the log has said what it knows");
    driven.fence();
    assert_eq!(driven.asked(), [(vec![11, 12], vec![1, 2])]);
    driven.loaded_nothing(0);
    assert_eq!(driven.asked(), [(vec![13], vec![3])]);
}

#[test]
fn what_is_not_listed_does_not_exist_and_what_is_listed_does() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(cold(add(1, 11, &[5])));
    driven.submit(cold(add(2, 12, &[5])));
    driven.submit(cold(add(3, 13, &[5])));
    driven.loaded_nothing(0);
    let twelve = (12, Snapshot::State { version: 4, state: 9 });
    driven.loaded(
        0,
        vec![twelve, (99, Snapshot::State { version: 4, state: 9 })],
        vec![(99, recorded(99, accepted(1, 1, &[5])))],
    );
    assert_eq!(driven.versions_out(), [1, 5, 1]);
    driven.asked();
    driven.submit(cold(add(99, 98, &[5])));
    assert_eq!(driven.asked(), [(vec![98], vec![99])], "what was not asked for is not kept");
}

#[test]
fn an_outcome_that_was_looked_up_is_answered_at_once_and_remembered() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(cold(add(1, 11, &[5])));
    driven.submit(Submission { token: 2, ..cold(add(1, 11, &[5])) });
    driven.loaded(0, Vec::new(), vec![(1, recorded(11, accepted(7, 4, &[5])))]);
    let answer = replayed(accepted(7, 4, &[5]));
    assert_eq!(driven.heard(), [(1, answer.clone()), (2, answer.clone())]);
    driven.submit(Submission { token: 3, ..cold(add(1, 11, &[5])) });
    assert_eq!((driven.heard(), driven.asked().len(), driven.out.len()), (vec![(3, answer)], 1, 0));
}

#[test]
fn when_snapshots_cannot_be_read_the_caller_that_waits_for_them_hears_it() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(cold(add(1, 11, &[5])));
    driven.submit(cold(add(2, 12, &[5])));
    driven.step(Input::LoadFailed);
    assert_eq!(driven.heard(), [(1, Answer::Busy(Busy::SnapshotsUnreachable))]);
    assert_eq!(driven.asked(), [(vec![11], vec![1]), (vec![12], vec![2])]);
    driven.step(Input::LoadFailed);
    driven.step(Input::LoadFailed);
    assert_eq!(driven.heard(), [(2, Answer::Busy(Busy::SnapshotsUnreachable))]);
    driven.submit(cold(add(1, 11, &[5])));
    driven.loaded_nothing(0);
    assert_eq!(driven.commands_out(), [1], "and may try again");
}

#[test]
fn an_answer_that_was_not_asked_for_changes_nothing() {
    let mut driven = Driven::serving(Limits::default());
    driven.loaded(
        0,
        vec![(1, Snapshot::State { version: 4, state: 9 })],
        vec![(1, recorded(1, accepted(1, 1, &[5])))],
    );
    driven.submit(add(1, 1, &[5]));
    assert_eq!((driven.heard(), driven.versions_out()), (vec![], vec![1]));
}

#[test]
fn a_caller_that_was_answered_meanwhile_is_left_out() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(cold(add(1, 11, &[5])));
    driven.submit(add(2, 12, &[5]));
    driven.step(Input::Stop);
    assert_eq!(driven.heard(), [(1, Answer::Moved)]);
    driven.loaded(0, Vec::new(), vec![(1, recorded(11, accepted(7, 4, &[5])))]);
    assert_eq!((driven.heard(), driven.commands_out()), (vec![], vec![2]));
    driven.land();
    assert_eq!(driven.heard(), [(2, done(accepted(1, 2, &[5])))]);
}

/// Offsets 1 to 4 are commands 1 to 4; what snapshots have at 3 is forgotten.
fn evicted_below_three() -> Driven {
    let mut driven =
        Driven::serving(Limits { cached_outcomes: 0, cached_aggregates: 0, ..Limits::default() });
    for id in 1..=4 {
        driven.submit(add(id, id, &[5]));
    }
    driven.land_all();
    driven.heard();
    driven.checkpoint(3);
    driven
}

#[test]
fn snapshots_that_are_below_what_was_forgotten_end_the_writer() {
    for checkpoint in [0, 2] {
        let mut driven = evicted_below_three();
        driven.submit(cold(add(9, 9, &[5])));
        driven.loaded_nothing(checkpoint);
        assert_eq!(
            driven.ended,
            Some(StepDown::BelowEvictionWatermark { checkpoint, watermark: 3 })
        );
        assert_eq!(driven.heard(), [(9, Answer::Busy(Busy::Partition))]);
    }
    for checkpoint in [3, 4] {
        let mut driven = evicted_below_three();
        driven.submit(cold(add(9, 9, &[5])));
        driven.loaded_nothing(checkpoint);
        assert_eq!((driven.ended.clone(), driven.commands_out()), (None, vec![9]));
    }
}

#[test]
fn what_was_forgotten_after_a_load_was_asked_for_is_none_of_its_business() {
    let mut driven = evicted_below_three();
    driven.submit(cold(add(9, 9, &[5])));
    driven.checkpoint(5);
    driven.loaded_nothing(3);
    assert_eq!((driven.ended.clone(), driven.commands_out()), (None, vec![9]));
    driven.submit(cold(add(10, 10, &[5])));
    driven.loaded_nothing(4);
    assert_eq!(
        driven.ended,
        Some(StepDown::BelowEvictionWatermark { checkpoint: 4, watermark: 5 })
    );
}

#[test]
fn the_tail_is_what_lies_above_the_highest_checkpoint_heard_of() {
    let mut driven = Driven::serving(Limits::default());
    for id in 1..=4 {
        driven.submit(add(id, id, &[5]));
    }
    driven.land_all();
    driven.checkpoint(3);
    assert_eq!(driven.writer.tail(), 2);
    driven.checkpoint(2);
    assert_eq!(driven.writer.tail(), 2);
    driven.submit(cold(add(9, 9, &[5])));
    driven.loaded_nothing(4);
    assert_eq!(driven.writer.tail(), 1, "a load says it, too");
    driven.checkpoint(9);
    assert_eq!(driven.writer.tail(), 0, "snapshots may be ahead of the reading");
}

/// What lies between was neither read by this writer nor is it there.
#[test]
fn snapshots_that_are_below_where_the_partition_was_resumed_end_the_writer() {
    for (checkpoint, ended) in
        [(9, Some(StepDown::BelowEvictionWatermark { checkpoint: 9, watermark: 10 })), (10, None)]
    {
        let mut driven =
            Driven::from(Limits::default(), Position { offset: 10, ..Position::start() });
        driven.fence();
        driven.submit(cold(add(1, 11, &[5])));
        driven.loaded_nothing(checkpoint);
        assert_eq!((driven.out.is_empty(), driven.ended), (ended.is_some(), ended), "{checkpoint}");
    }
}
