//! What the owner remembers: eviction to the very record, snapshots below what is remembered, and
//! states in flight.

use highwater_protocol::{
    entry::{Body, EventBody},
    position::Position,
    writer::{
        Answer, AppendReport, Expected, Input, Limits, Outcome, Snapshot, StepDown, Submission,
    },
};

use crate::{
    harness::{Driven, fence, record},
    small::{
        Do, NEWER, Small, Why, accepted, add, cold, command, done, event, expecting, from_queue,
        recorded, rejection, replayed, saw, see,
    },
};

/// Commands 1 to 3 on the aggregates 1 to 3; their records lie at 1, 2, 3.
fn three_done(limits: Limits) -> Driven {
    let mut driven = Driven::serving(limits);
    for id in 1..=3 {
        driven.submit(add(id, id, &[5]));
    }
    driven.land_all();
    driven.heard();
    driven
}

/// What nothing is kept of without need.
fn forgetful() -> Limits {
    Limits { cached_aggregates: 0, cached_outcomes: 0, ..Limits::default() }
}

/// Whether the outcome of a command is still remembered.
fn remembers(driven: &mut Driven, id: u64) -> bool {
    let before = driven.heard().len() + driven.writer.unanswered();
    assert_eq!(before, 0);
    driven.submit(Submission { token: 1_000, ..cold(add(id, id, &[5])) });
    if driven.heard().is_empty() {
        driven.step(Input::LoadFailed);
        driven.heard();
        return false;
    }
    true
}

#[test]
fn an_outcome_is_kept_until_snapshots_have_its_last_record() {
    // The record of command 2 lies at 2: a checkpoint of 2 is before it, one of 3 behind it.
    for (checkpoint, kept) in [
        (1, [true, true, true]),
        (2, [false, true, true]),
        (3, [false, false, true]),
        (4, [false; 3]),
    ] {
        let mut driven = three_done(forgetful());
        driven.checkpoint(checkpoint);
        assert_eq!([1, 2, 3].map(|id| remembers(&mut driven, id)), kept, "{checkpoint}");
    }
}

#[test]
fn snapshots_that_lack_what_was_forgotten_end_the_writer() {
    // Of what was forgotten there are outcomes alone, and aggregates alone: the third command
    // again, or another one, on its aggregate.
    let outcomes = (Limits { cached_outcomes: 0, ..Limits::default() }, 3);
    let aggregates = (Limits { cached_aggregates: 0, ..Limits::default() }, 4);
    for (limits, command) in [outcomes, aggregates] {
        for (checkpoint, ended) in
            [(4, None), (3, Some(StepDown::BelowEvictionWatermark { checkpoint: 3, watermark: 4 }))]
        {
            let mut driven = three_done(limits);
            driven.checkpoint(4);
            driven.submit(cold(add(command, 3, &[5])));
            assert_eq!(driven.asked(), [(vec![3], vec![command])]);
            driven.loaded(checkpoint, Vec::new(), Vec::new());
            assert_eq!(
                (driven.ended, driven.out.is_empty()),
                (ended.clone(), ended.is_some()),
                "command {command}"
            );
        }
    }
}

#[test]
fn of_the_outcomes_that_snapshots_have_so_many_are_kept_the_latest() {
    let mut driven = three_done(Limits { cached_outcomes: 2, ..Limits::default() });
    driven.checkpoint(4);
    assert_eq!([1, 2, 3].map(|id| remembers(&mut driven, id)), [false, true, true]);
}

#[test]
fn an_aggregate_is_kept_until_snapshots_have_its_last_record() {
    for (checkpoint, kept) in [(1, 3), (2, 2), (3, 1), (4, 0)] {
        let mut driven = three_done(forgetful());
        driven.checkpoint(checkpoint);
        assert_eq!(driven.writer.aggregates(), kept, "{checkpoint}");
    }
}

#[test]
fn of_the_aggregates_that_snapshots_have_so_many_are_kept_the_last_touched() {
    let mut driven = three_done(Limits { cached_aggregates: 2, ..Limits::default() });
    driven.submit(add(4, 1, &[5]));
    driven.land();
    driven.heard();
    driven.checkpoint(5);
    assert_eq!(driven.writer.aggregates(), 2);
    for (id, aggregate, version) in [(5, 1, 3), (6, 3, 2)] {
        driven.submit(Submission { new_aggregate: false, ..add(id, aggregate, &[5]) });
        assert_eq!((driven.asked(), driven.versions_out().pop()), (vec![], Some(version)));
    }
    driven.submit(Submission { new_aggregate: false, ..add(7, 2, &[5]) });
    assert_eq!(driven.asked(), [(vec![2], vec![7])], "the one that no command had used");
}

#[test]
fn an_aggregate_that_a_command_waits_for_is_kept() {
    // In flight.
    let mut driven = three_done(forgetful());
    driven.submit(add(4, 1, &[5]));
    driven.checkpoint(9);
    assert_eq!(driven.writer.aggregates(), 1);
    driven.submit(add(5, 1, &[5]));
    assert_eq!(driven.versions_out(), [2, 3]);
    driven.land_all();
    driven.heard();
    driven.checkpoint(9);
    assert_eq!(driven.writer.aggregates(), 0);
    // Held, with nothing in flight of its own.
    driven.submit(see(6, 1));
    driven.checkpoint(9);
    assert_eq!(driven.writer.aggregates(), 1);
    driven.land_all();
    driven.checkpoint(9);
    assert_eq!(driven.writer.aggregates(), 0);
    // Open in the command queue, before and after its turn.
    driven.queued(from_queue(0, cold(add(7, 7, &[5]))));
    driven.queued(from_queue(1, cold(add(8, 7, &[5]))));
    driven.checkpoint(9);
    assert_eq!(driven.writer.aggregates(), 1);
    driven.step(Input::LoadFailed);
    driven.checkpoint(9);
    assert_eq!(
        (driven.writer.aggregates(), driven.writer.unanswered()),
        (1, 0),
        "no caller waits for an answer, but it has its turn again"
    );
}

#[test]
fn an_aggregate_of_the_command_queue_is_kept_no_longer_than_it_is_open() {
    let mut driven = Driven::serving(forgetful());
    driven.queued(from_queue(0, add(1, 1, &[5])));
    driven.queued(from_queue(1, add(2, 1, &[5])));
    driven.land_all();
    assert_eq!(driven.writer.command_queue_open(), 0);
    driven.checkpoint(9);
    assert_eq!(driven.writer.aggregates(), 0);
}

#[test]
fn what_was_looked_up_is_kept_as_long_as_the_checkpoint_that_it_came_with() {
    let mut driven = three_done(forgetful());
    driven.checkpoint(4);
    driven.submit(cold(see(9, 9)));
    driven.loaded(6, vec![(9, Snapshot::State { version: 2, state: 8 })], Vec::new());
    driven.land_all();
    assert_eq!(driven.heard(), [(9, saw(2, 5, Some(8)))]);
    driven.checkpoint(5);
    assert_eq!(driven.writer.aggregates(), 1, "snapshots at 5 may not have it");
    driven.checkpoint(6);
    assert_eq!(driven.writer.aggregates(), 0);
}

#[test]
fn an_outcome_that_was_looked_up_is_kept_as_long_as_the_checkpoint_that_it_came_with() {
    let mut driven = three_done(Limits { cached_outcomes: 1, ..forgetful() });
    driven.checkpoint(4);
    assert!(remembers(&mut driven, 3));
    driven.submit(cold(add(1, 1, &[5])));
    driven.loaded(6, Vec::new(), vec![(1, recorded(1, accepted(1, 2, &[5])))]);
    driven.heard();
    assert_eq!(
        [1, 3].map(|id| remembers(&mut driven, id)),
        [true, false],
        "of two the older one went"
    );
}

#[test]
fn a_snapshot_goes_below_the_events_that_are_remembered() {
    // The log from 10 on has the versions 4 and 5 of an aggregate whose snapshot may be anywhere
    // from 3 on.
    for (version, state) in [(3, 30), (4, 34), (5, 39)] {
        let mut driven =
            Driven::from(Limits::default(), Position { offset: 10, ..Position::start() });
        driven.read(fence(1, 9));
        driven.read(record(1, 9, 0, Body::Event(event(101, 7, 4, 4))));
        driven.read(record(1, 9, 1, Body::Event(event(102, 7, 5, 5))));
        driven.fence();
        driven.submit(cold(see(1, 7)));
        assert_eq!(driven.asked(), [(vec![7], vec![1])]);
        driven.loaded(10, vec![(7, Snapshot::State { version, state })], Vec::new());
        driven.land_all();
        assert_eq!(driven.heard(), [(1, saw(5, 15, Some(39)))], "from version {version}");
    }
}

#[test]
fn events_that_do_not_fit_their_snapshot_make_the_aggregate_unreadable() {
    for version in [1, 2] {
        let mut driven =
            Driven::from(Limits::default(), Position { offset: 10, ..Position::start() });
        driven.read(fence(1, 9));
        driven.read(record(1, 9, 0, Body::Event(event(101, 7, 4, 4))));
        driven.fence();
        driven.submit(cold(see(1, 7)));
        driven.loaded(10, vec![(7, Snapshot::State { version, state: 1 })], Vec::new());
        assert_eq!(driven.heard(), [(1, Answer::Unreadable)], "from version {version}");
    }
}

/// The log has these events as the versions `first`, ... of aggregate 7.
fn with_events(first: u64, events: &[usize]) -> Driven {
    let mut driven = Driven::new(Limits::default());
    driven.read(fence(1, 9));
    for (at, bytes) in (0..).zip(events) {
        driven.read(record(1, 9, at, Body::Event(event(101 + at, 7, first + at, *bytes))));
    }
    driven.fence();
    driven
}

#[test]
fn an_aggregate_whose_first_event_is_remembered_needs_no_snapshot() {
    let mut driven = with_events(1, &[4, 5]);
    driven.submit(Submission { new_aggregate: false, ..see(1, 7) });
    assert_eq!(driven.asked(), []);
    driven.land_all();
    assert_eq!(driven.heard(), [(1, saw(2, 5, Some(9)))]);
    let mut driven = with_events(2, &[4, 5]);
    driven.submit(Submission { new_aggregate: false, ..see(1, 7) });
    assert_eq!(driven.asked(), [(vec![7], vec![1])]);
}

#[test]
fn an_aggregate_that_was_seen_is_not_new_whatever_the_caller_says() {
    let mut driven = with_events(2, &[4, 5]);
    driven.submit(add(1, 7, &[5]));
    assert_eq!((driven.asked(), driven.out.len()), (vec![(vec![7], vec![1])], 0));
    let mut driven = with_events(1, &[4, 5]);
    driven.submit(add(1, 7, &[5]));
    assert_eq!(driven.versions_out(), [3]);
}

#[test]
fn an_event_that_cannot_be_read_spoils_its_aggregate_up_to_a_later_snapshot() {
    let mut driven = with_events(1, &[4, NEWER, 5]);
    driven.submit(expecting(Expected::OneOf(vec![3]), command(1, 7, Do::Change(vec![1]))));
    assert_eq!(driven.heard(), [(1, Answer::Unreadable)]);
    driven.queued(from_queue(0, Submission { payload: Err(Why::Malformed), ..add(2, 7, &[]) }));
    let Body::Outcome(outcome) = &driven.out[0].body else { return };
    assert_eq!(outcome.version, 3, "its version is known all the same");

    let mut driven = with_events(2, &[NEWER, 5]);
    driven.submit(cold(see(1, 7)));
    driven.loaded(0, vec![(7, Snapshot::State { version: 2, state: 8 })], Vec::new());
    driven.land_all();
    assert_eq!(
        driven.heard(),
        [(1, saw(3, 5, Some(13)))],
        "the projector that made the snapshot could read it"
    );

    let mut driven = with_events(2, &[NEWER, 5]);
    driven.submit(cold(see(1, 7)));
    driven.loaded(0, vec![(7, Snapshot::Unreadable { version: 3 })], Vec::new());
    assert_eq!(driven.heard(), [(1, Answer::Unreadable)]);
}

#[test]
fn what_is_in_flight_becomes_the_state_when_it_is_confirmed_and_is_forgotten_when_it_is_lost() {
    let mut driven = three_done(Limits::default());
    driven.submit(add(4, 1, &[7]));
    driven.submit(add(5, 1, &[8]));
    driven.land();
    driven.report(4, AppendReport::Failed);
    driven.fence();
    assert_eq!(
        (driven.commands_out(), driven.versions_out()),
        (vec![5], vec![3]),
        "on top of what was confirmed"
    );
    driven.submit(see(6, 1));
    driven.land_all();
    assert_eq!(driven.heard()[2..], [(6, saw(3, 8, Some(20)))]);
}

#[test]
fn a_recorded_rejection_leaves_the_state_as_it_was() {
    let mut driven = three_done(Limits::default());
    driven.submit(command(4, 1, Do::Nothing));
    driven.submit(add(5, 1, &[7]));
    driven.land();
    driven.submit(see(6, 1));
    assert_eq!(driven.versions_out(), [2]);
    driven.land_all();
    let nothing = Outcome::Unchanged { version: 1, end: 5, reason: Why::Nothing };
    assert_eq!(
        driven.heard(),
        [(4, done(nothing)), (5, done(accepted(2, 6, &[7]))), (6, saw(2, 7, Some(12)))]
    );
}

#[test]
fn an_outcome_that_is_read_twice_is_kept_as_long_as_the_later_record() {
    let mut driven = Driven::new(forgetful());
    driven.read(fence(1, 9));
    driven.read(record(1, 9, 0, rejection(1, 1, 0)));
    driven.read(record(1, 9, 1, rejection(1, 1, 0)));
    driven.fence();
    driven.checkpoint(2);
    assert!(remembers(&mut driven, 1));
    driven.checkpoint(3);
    assert!(!remembers(&mut driven, 1));
}

#[test]
fn what_an_earlier_writer_did_is_kept_until_snapshots_have_it() {
    let mut driven = Driven::new(forgetful());
    driven.read(fence(1, 9));
    driven.read(record(1, 9, 0, Body::Event(EventBody { time: 1, ..event(1, 1, 1, 5) })));
    driven.fence();
    driven.checkpoint(1);
    assert_eq!((driven.writer.aggregates(), remembers(&mut driven, 1)), (1, true));
    driven.checkpoint(2);
    assert_eq!((driven.writer.aggregates(), remembers(&mut driven, 1)), (0, false));
}

#[test]
fn what_is_answered_from_memory_is_the_same_for_ever() {
    let mut driven = three_done(Limits::default());
    driven.checkpoint(4);
    let once: Vec<(u64, Answer<Small>)> = vec![(1, replayed(accepted(1, 2, &[5])))];
    driven.submit(cold(add(1, 1, &[5])));
    assert_eq!(driven.heard(), once);
    driven.submit(cold(add(1, 1, &[5])));
    assert_eq!(driven.heard(), once);
}
