//! What the records of an owner say of the command queue, and what a new fence makes of what was
//! said (`hw-drained`).

use highwater_protocol::{
    entry::Body,
    writer::{AppendReport, Input, Limits, Submission},
};

use crate::{
    command_queue::{new, slow},
    harness::{Driven, fence, record},
    small::{add, event, from_queue},
};

#[test]
fn a_record_says_what_is_drained_when_there_is_news() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(add(100, 100, &[5]));
    driven.queued(slow(0, 1, 1));
    driven.queued(new(1, 2, 2));
    driven.submit(add(101, 101, &[5]));
    assert_eq!(driven.drained_out(), [None, None, None]);
    driven.loaded_nothing(0);
    driven.submit(add(102, 102, &[5]));
    assert_eq!(
        driven.drained_out(),
        [None, None, None, Some(2), None],
        "two with the first, and nothing new after that"
    );
    driven.queued(new(2, 3, 3));
    driven.queued(from_queue(3, add(4, 4, &[5, 5, 5])));
    assert_eq!(
        driven.drained_out()[5..],
        [Some(3), None, None, Some(4)],
        "of a commit the last record says it"
    );
}

#[test]
fn while_the_outcome_is_unknown_no_queued_command_has_its_turn() {
    let mut driven = Driven::serving(Limits::default());
    driven.queued(new(0, 1, 1));
    driven.queued(slow(1, 2, 2));
    driven.asked();
    driven.report(0, AppendReport::Failed);
    assert!(!driven.writer.command_queue_has_room());
    driven.queued(from_queue(2, Submission { deadline_ms: 10, ..slow(2, 3, 3) }));
    driven.tick(11);
    driven.loaded_nothing(0);
    assert_eq!(
        (driven.asked(), driven.commands_out(), driven.writer.command_queue_open()),
        (vec![], vec![1], 3)
    );
    driven.fence();
    assert_eq!((driven.commands_out(), driven.asked()), (vec![1, 2], vec![(vec![3], vec![3])]));
    assert_eq!(driven.drained_out(), [Some(1), Some(2)]);
    driven.loaded_nothing(0);
    driven.land_all();
    assert_eq!((driven.writer.command_queue_open(), driven.writer.command_queue_drained()), (0, 3));
}

#[test]
fn after_an_own_fence_what_was_said_counts_only_as_far_as_it_is_in_the_log() {
    let mut driven = Driven::serving(Limits::default());
    driven.queued(new(0, 1, 1));
    driven.queued(new(1, 2, 2));
    assert_eq!(
        (driven.drained_out(), driven.writer.command_queue_drained()),
        (vec![Some(1), Some(2)], 2)
    );
    driven.land();
    driven.report(1, AppendReport::Failed);
    driven.caught_up();
    driven.land();
    assert_eq!(
        (driven.commands_out(), driven.drained_out(), driven.writer.command_queue_open()),
        (vec![2], vec![Some(2)], 1)
    );
}

#[test]
fn after_an_own_fence_commands_of_one_aggregate_still_go_one_after_the_other() {
    let mut driven = Driven::serving(Limits { aggregate_queue: 2, ..Limits::default() });
    for source in 0..3 {
        driven.queued(new(source, 1 + source, 7));
    }
    driven.report(0, AppendReport::Failed);
    driven.fence();
    assert_eq!(driven.commands_out(), [1]);
    driven.land_all();
    assert_eq!((driven.writer.command_queue_open(), driven.writer.command_queue_drained()), (0, 3));
}

#[test]
fn after_an_own_fence_a_command_that_waits_for_snapshots_still_holds_up_those_behind_it() {
    let mut driven = Driven::serving(Limits::default());
    driven.queued(slow(0, 1, 7));
    driven.queued(new(1, 2, 7));
    driven.submit(add(100, 100, &[5]));
    driven.report(0, AppendReport::Failed);
    driven.fence();
    assert_eq!(driven.commands_out(), [100]);
    driven.loaded_nothing(0);
    assert_eq!(driven.commands_out(), [100, 1, 2]);
}

#[test]
fn what_is_drained_without_a_record_is_said_by_a_barrier_after_the_silence_and_no_sooner() {
    let mut driven = Driven::serving(Limits { command_queue_silence_ms: 100, ..Limits::default() });
    driven.tick(1_000);
    driven.step(Input::Queued { offset: 0, submission: None });
    driven.tick(1_050);
    driven.step(Input::Queued { offset: 1, submission: None });
    driven.tick(1_099);
    assert_eq!(driven.out.len(), 0);
    driven.tick(1_100);
    assert_eq!((driven.commands_out(), driven.drained_out()), (vec![0], vec![Some(2)]));
    driven.tick(5_000);
    driven.tick(9_000);
    assert_eq!(driven.out.len(), 1, "it is said");
    // The next silence begins with the next news, and a record that says them ends it.
    driven.step(Input::Queued { offset: 2, submission: None });
    driven.tick(9_099);
    driven.submit(add(100, 100, &[5]));
    driven.step(Input::Queued { offset: 3, submission: None });
    driven.tick(9_150);
    assert_eq!(driven.drained_out(), [Some(2), Some(3)]);
    driven.tick(9_199);
    assert_eq!(driven.drained_out(), [Some(2), Some(3), Some(4)]);
}

#[test]
fn a_barrier_of_the_command_queue_waits_for_room_and_for_the_fence() {
    let mut driven = Driven::serving(Limits {
        command_queue_silence_ms: 100,
        in_flight_records: 1,
        ..Limits::default()
    });
    driven.submit(add(100, 100, &[5]));
    driven.step(Input::Queued { offset: 0, submission: None });
    driven.tick(200);
    assert_eq!(driven.out.len(), 1);
    driven.report(0, AppendReport::Failed);
    driven.land();
    driven.tick(400);
    assert_eq!(driven.out.len(), 0);
    driven.fence();
    assert_eq!(driven.out.len(), 0, "the silence is counted anew");
    driven.tick(500);
    assert_eq!(driven.drained_out(), [Some(1)]);
}

#[test]
fn who_stops_says_nothing_more_of_the_command_queue() {
    let mut driven = Driven::serving(Limits { command_queue_silence_ms: 100, ..Limits::default() });
    driven.submit(add(100, 100, &[5]));
    driven.queued(slow(0, 1, 1));
    driven.step(Input::Stop);
    driven.step(Input::Queued { offset: 1, submission: None });
    driven.tick(500);
    driven.loaded_nothing(0);
    assert_eq!(driven.commands_out(), [100]);
    driven.land();
    assert!(driven.ended.is_some());
}

#[test]
fn what_an_earlier_owner_decided_is_a_duplicate() {
    let mut driven = Driven::new(Limits::default());
    driven.read(fence(1, 9));
    driven.read(record(1, 9, 0, Body::Event(event(2, 2, 1, 5))));
    driven.fence();
    driven.queued(slow(0, 1, 1));
    driven.queued(slow(1, 2, 2));
    assert_eq!(
        (driven.writer.command_queue_open(), driven.writer.command_queue_drained()),
        (1, 0),
        "the second has its outcome, the first has none"
    );
    driven.loaded_nothing(0);
    assert_eq!((driven.commands_out(), driven.drained_out()), (vec![1], vec![Some(2)]));
}
