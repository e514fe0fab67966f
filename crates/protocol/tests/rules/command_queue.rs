//! The command queue: turns, the window, what is said to be drained (log-format.md, "The
//! command queue").

use highwater_protocol::{
    entry::{Body, Entry},
    position::Position,
    writer::{Answer, AppendReport, Busy, Input, Limits, Snapshot, Submission},
};

use crate::{
    harness::{Driven, fence, record},
    small::{
        Do, Small, Why, accepted, add, cold, command, done, from_queue, recorded, replayed, see,
    },
};

pub fn new(source: u64, id: u64, aggregate: u64) -> Submission<Small, Do> {
    from_queue(source, add(id, aggregate, &[5]))
}

/// One that waits for snapshots.
pub fn slow(source: u64, id: u64, aggregate: u64) -> Submission<Small, Do> {
    from_queue(source, cold(add(id, aggregate, &[5])))
}

#[test]
fn the_command_queue_is_read_from_what_the_fold_says_is_drained_once_there_is_a_fence() {
    let mut driven = Driven::from(Limits::default(), Position { drained: 4, ..Position::start() });
    assert_eq!(
        (
            driven.writer.command_queue_next(),
            driven.writer.command_queue_has_room(),
            driven.writer.command_queue_drained()
        ),
        (None, false, 0)
    );
    driven.step(Input::Queued { offset: 4, submission: Some(new(4, 1, 1)) });
    driven.read(fence(1, 9));
    driven.read(Entry { drained: Some(7), ..record(1, 9, 0, Body::Barrier) });
    driven.fence();
    assert_eq!(
        (
            driven.writer.command_queue_next(),
            driven.writer.command_queue_has_room(),
            driven.writer.command_queue_drained()
        ),
        (Some(7), true, 7)
    );
    assert_eq!(driven.writer.command_queue_open(), 0);
}

#[test]
fn only_the_next_record_of_the_command_queue_is_taken() {
    let mut driven = Driven::serving(Limits::default());
    for offset in [1, 5] {
        driven.step(Input::Queued { offset, submission: Some(new(offset, 1, 1)) });
    }
    assert_eq!(
        (driven.writer.command_queue_next(), driven.writer.command_queue_open(), driven.out.len()),
        (Some(0), 0, 0)
    );
    driven.queued(new(0, 1, 1));
    driven.step(Input::Queued { offset: 0, submission: Some(new(0, 1, 1)) });
    assert_eq!(
        (
            driven.writer.command_queue_next(),
            driven.writer.command_queue_open(),
            driven.commands_out()
        ),
        (Some(1), 1, vec![1])
    );
}

#[test]
fn so_many_commands_are_taken_above_what_is_drained_and_so_many_are_open() {
    let mut driven = Driven::serving(Limits { command_queue_window: 3, ..Limits::default() });
    driven.queued(slow(0, 1, 1));
    driven.queued(new(1, 2, 2));
    driven.land();
    assert_eq!(
        (
            driven.writer.command_queue_open(),
            driven.writer.command_queue_drained(),
            driven.writer.command_queue_has_room()
        ),
        (1, 0, true)
    );
    driven.queued(new(2, 3, 3));
    driven.land();
    assert_eq!(
        (driven.writer.command_queue_open(), driven.writer.command_queue_has_room()),
        (1, false),
        "three above the first that is not drained"
    );
    driven.loaded_nothing(0);
    assert_eq!(
        (driven.writer.command_queue_drained(), driven.writer.command_queue_has_room()),
        (3, true)
    );
    driven.queued(new(3, 4, 4));
    driven.queued(new(4, 5, 5));
    assert_eq!(
        (
            driven.writer.command_queue_open(),
            driven.writer.command_queue_drained(),
            driven.writer.command_queue_has_room()
        ),
        (3, 5, false),
        "three are open"
    );
    driven.land();
    assert!(driven.writer.command_queue_has_room());
    driven.step(Input::Stop);
    assert!(!driven.writer.command_queue_has_room(), "a writer that stops takes nothing");
}

#[test]
fn commands_of_one_aggregate_have_their_turns_in_sequence_and_others_do_not_wait() {
    let mut driven = Driven::serving(Limits::default());
    driven.queued(slow(0, 1, 7));
    driven.queued(new(1, 2, 7));
    driven.queued(new(2, 3, 8));
    assert_eq!((driven.commands_out(), driven.asked()), (vec![3], vec![(vec![7], vec![1])]));
    driven.loaded_nothing(0);
    assert_eq!((driven.commands_out(), driven.versions_out()), (vec![3, 1, 2], vec![1, 1, 2]));
}

#[test]
fn a_command_that_could_not_be_decided_is_tried_again_after_a_second_and_before_those_behind_it() {
    let mut driven = Driven::serving(Limits::default());
    driven.queued(slow(0, 1, 7));
    driven.queued(new(1, 2, 7));
    driven.asked();
    driven.tick(100);
    driven.step(Input::LoadFailed);
    assert_eq!(
        (driven.heard(), driven.asked(), driven.writer.command_queue_open()),
        (vec![], vec![], 2)
    );
    driven.tick(1_099);
    assert_eq!((driven.asked(), driven.out.len()), (vec![], 0));
    driven.tick(1_100);
    assert_eq!((driven.asked(), driven.out.len()), (vec![(vec![7], vec![1])], 0));
    driven.loaded_nothing(0);
    assert_eq!((driven.commands_out(), driven.drained_out()), (vec![1, 2], vec![Some(1), Some(2)]));
    driven.land_all();
    assert_eq!(driven.writer.command_queue_open(), 0);
}

#[test]
fn what_was_tried_once_may_have_been_seen_since() {
    let mut driven =
        Driven::serving(Limits { cached_aggregates: 0, cached_outcomes: 0, ..Limits::default() });
    driven.submit(cold(add(100, 7, &[5])));
    driven.loaded(0, vec![(7, Snapshot::Unreadable { version: 1 })], Vec::new());
    driven.asked();
    // Never seen, as it says; but its aggregate cannot be read.
    driven.queued(from_queue(0, Submission { new_aggregate: false, ..add(1, 7, &[5]) }));
    assert_eq!(
        (driven.writer.command_queue_open(), driven.out.len(), driven.asked()),
        (1, 0, vec![])
    );
    driven.tick(1_000);
    assert_eq!(driven.asked(), [(vec![7], vec![1])]);
    driven.loaded(0, Vec::new(), vec![(1, recorded(7, accepted(2, 9, &[5])))]);
    assert_eq!(
        (
            driven.writer.command_queue_open(),
            driven.out.len(),
            driven.writer.command_queue_drained()
        ),
        (0, 0, 1)
    );
}

#[test]
fn a_command_that_is_queued_twice_is_done_once() {
    let mut driven = Driven::serving(Limits::default());
    driven.queued(new(0, 1, 1));
    driven.queued(new(1, 1, 1));
    driven.queued(new(2, 1, 2));
    assert_eq!((driven.commands_out(), driven.writer.command_queue_open()), (vec![1], 3));
    driven.land();
    assert_eq!(
        (
            driven.out.len(),
            driven.writer.command_queue_open(),
            driven.writer.command_queue_drained()
        ),
        (0, 0, 3),
        "with another body, too"
    );
    driven.queued(new(3, 1, 1));
    assert_eq!(
        (
            driven.out.len(),
            driven.writer.command_queue_open(),
            driven.writer.command_queue_drained()
        ),
        (0, 0, 4)
    );
}

#[test]
fn a_command_that_is_queued_and_sent_by_a_caller_is_done_once_whichever_is_first() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(add(1, 1, &[5]));
    driven.queued(new(0, 1, 1));
    assert_eq!(driven.commands_out(), [1]);
    driven.land();
    assert_eq!(
        (driven.heard(), driven.out.len(), driven.writer.command_queue_open()),
        (vec![(1, done(accepted(1, 2, &[5])))], 0, 0)
    );
    driven.queued(new(1, 2, 2));
    driven.submit(add(2, 2, &[5]));
    driven.submit(Submission { fingerprint: 9, token: 3, ..add(2, 2, &[6]) });
    assert_eq!(driven.commands_out(), [2]);
    driven.land();
    assert_eq!(driven.heard(), [(2, replayed(accepted(1, 3, &[5]))), (3, Answer::KeyReused)]);
}

/// Whether the command at `source` is looked up before it is decided; the aggregate is known.
fn is_looked_up(driven: &mut Driven) -> bool {
    !driven.asked().is_empty()
}

#[test]
fn a_command_whose_id_is_open_already_does_not_count_as_never_seen() {
    // In the command queue before it.
    let mut driven = Driven::serving(Limits::default());
    driven.queued(slow(0, 8, 7));
    driven.queued(new(1, 1, 7));
    driven.queued(new(2, 1, 9));
    assert_eq!((driven.asked(), driven.out.len()), (vec![(vec![7], vec![8])], 0));
    driven.step(Input::LoadFailed);
    assert_eq!(driven.asked(), [(vec![9], vec![1])]);
    // Sent by a caller who has no answer yet.
    let mut driven = Driven::serving(Limits::default());
    driven.submit(see(1, 9));
    driven.queued(new(0, 1, 9));
    driven.land();
    assert!(is_looked_up(&mut driven));
    // Neither.
    let mut driven = Driven::serving(Limits::default());
    driven.submit(see(2, 9));
    driven.queued(new(0, 1, 9));
    assert_eq!((driven.commands_out(), is_looked_up(&mut driven)), (vec![0, 1], false));
}

#[test]
fn once_it_has_its_outcome_the_id_of_a_queued_command_is_forgotten() {
    let mut driven = Driven::serving(Limits { cached_outcomes: 0, ..Limits::default() });
    driven.queued(new(0, 1, 1));
    driven.land_all();
    driven.checkpoint(9);
    // As fresh as it says.
    driven.queued(new(1, 1, 1));
    assert_eq!((driven.asked(), driven.commands_out()), (vec![], vec![1]));
}

#[test]
fn a_command_gives_its_turn_on_once_however_it_ends() {
    let mut driven = Driven::serving(Limits::default());
    driven.queued(new(0, 1, 7));
    driven.queued(slow(1, 2, 7));
    driven.queued(new(2, 3, 7));
    assert_eq!(driven.commands_out(), [1]);
    driven.land();
    assert_eq!(
        driven.commands_out(),
        [0; 0],
        "the first gave it to the second when it was appended, and has none to give now"
    );
    driven.loaded_nothing(0);
    assert_eq!(driven.commands_out(), [2, 3]);
}

#[test]
fn of_two_that_have_their_turn_because_they_are_overdue_both_are_decided_before_the_next() {
    let mut driven = Driven::serving(Limits { load_batch: 1, ..Limits::default() });
    driven.queued(from_queue(0, Submission { deadline_ms: 10, ..cold(add(1, 7, &[5])) }));
    driven.queued(from_queue(1, Submission { deadline_ms: 10, ..cold(add(2, 7, &[5])) }));
    driven.tick(11);
    driven.loaded_nothing(0);
    assert_eq!(driven.commands_out(), [1]);
    driven.queued(new(2, 3, 7));
    assert_eq!(driven.commands_out(), [1]);
    driven.loaded_nothing(0);
    assert_eq!(driven.commands_out(), [1, 2, 3]);
}

#[test]
fn half_of_a_queue_is_left_to_callers() {
    for (aggregate_queue, turns) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)] {
        let mut driven = Driven::serving(Limits { aggregate_queue, ..Limits::default() });
        for source in 0..9 {
            driven.queued(new(source, 1 + source, 7));
        }
        assert_eq!(
            (driven.out.len(), driven.heard()),
            (turns, vec![]),
            "{aggregate_queue} of an aggregate"
        );
    }
    for (partition_queue, turns) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)] {
        let mut driven = Driven::serving(Limits { partition_queue, ..Limits::default() });
        for source in 0..9 {
            driven.queued(new(source, 1 + source, 1 + source));
        }
        assert_eq!(
            (driven.out.len(), driven.heard()),
            (turns, vec![]),
            "{partition_queue} of the partition"
        );
    }
}

#[test]
fn what_waits_for_room_in_a_queue_has_its_turn_when_there_is_some() {
    let mut driven = Driven::serving(Limits { aggregate_queue: 2, ..Limits::default() });
    driven.submit(add(100, 7, &[5]));
    driven.queued(new(0, 1, 7));
    driven.queued(new(1, 2, 7));
    assert_eq!(driven.commands_out(), [100]);
    driven.land();
    assert_eq!(driven.commands_out(), [1]);
    driven.land();
    assert_eq!(driven.commands_out(), [2]);
}

#[test]
fn with_snapshots_behind_the_command_queue_waits_and_is_not_refused() {
    let mut driven = Driven::serving(Limits { max_tail_events: 2, ..Limits::default() });
    driven.queued(new(0, 1, 1));
    driven.land();
    assert_eq!(driven.writer.tail(), 2);
    driven.queued(new(1, 2, 2));
    driven.queued(slow(2, 3, 3));
    // The aggregate of a new command is in memory: it may wait twice as long.
    assert_eq!((driven.commands_out(), driven.asked()), (vec![2], vec![]));
    driven.land();
    driven.queued(new(3, 4, 1));
    driven.land();
    assert_eq!(driven.writer.tail(), 4);
    driven.queued(new(4, 5, 1));
    assert_eq!(driven.out.len(), 0);
    driven.checkpoint(3);
    driven.tick(1);
    assert_eq!(
        (driven.commands_out(), driven.asked(), driven.heard()),
        (vec![5], vec![(vec![3], vec![3])], vec![])
    );
}

#[test]
fn what_is_overdue_has_its_turn_whatever_holds_up_the_others() {
    let mut driven = Driven::serving(Limits { max_tail_events: 1, ..Limits::default() });
    driven.queued(from_queue(0, Submission { deadline_ms: 10, ..add(1, 1, &[5]) }));
    driven.land();
    driven.queued(from_queue(1, Submission { deadline_ms: 10, ..add(2, 1, &[5]) }));
    driven.queued(from_queue(2, Submission { deadline_ms: 11, ..add(3, 1, &[5]) }));
    driven.tick(10);
    assert_eq!(driven.out.len(), 0);
    driven.tick(11);
    assert_eq!(driven.commands_out(), [2]);
    assert!(matches!(&driven.out[0].body, Body::Outcome(_)));
}

#[test]
fn what_the_log_refuses_of_the_command_queue_is_tried_again_later() {
    let mut driven = Driven::serving(Limits { refused_ms: 2_000, ..Limits::default() });
    driven.queued(new(0, 1, 1));
    driven.report(0, AppendReport::Refused);
    driven.fence();
    assert_eq!(
        (
            driven.out.len(),
            driven.writer.command_queue_open(),
            driven.writer.command_queue_drained()
        ),
        (0, 1, 0)
    );
    driven.tick(1_000);
    driven.loaded_nothing(0);
    assert_eq!((driven.out.len(), driven.writer.command_queue_open()), (0, 1));
    driven.tick(2_000);
    driven.loaded_nothing(0);
    assert_eq!((driven.commands_out(), driven.heard()), (vec![1], vec![]));
}

#[test]
fn a_caller_is_refused_before_the_command_queue_loses_its_half() {
    let mut driven = Driven::serving(Limits { aggregate_queue: 2, ..Limits::default() });
    driven.queued(new(0, 1, 7));
    driven.queued(new(1, 2, 7));
    driven.submit(command(100, 7, Do::Nothing));
    driven.submit(command(101, 7, Do::Nothing));
    assert_eq!(driven.heard(), [(101, Answer::Busy(Busy::Aggregate))]);
    driven.queued(from_queue(2, Submission { payload: Err(Why::Malformed), ..add(3, 3, &[]) }));
    assert_eq!(driven.commands_out(), [1, 100, 3]);
}
