//! Decisions: the sequence of checks, on the state that is in flight, and what one commit may be.

use highwater_protocol::{
    entry::Body,
    vocabulary::Refusal,
    writer::{
        Answer, AppendReport, Busy,
        Expected::{Anything, Exists, OneOf},
        Limits, Outcome, Snapshot, Submission,
    },
};

use crate::{
    harness::Driven,
    small::{
        Do, NEWER, Small, Why, accepted, add, cold, command, done, expecting, from_queue, saw, see,
    },
};

fn change(id: u64, aggregate: u64) -> Submission<Small, Do> {
    command(id, aggregate, Do::Change(vec![5]))
}

/// Aggregate 1 has version 3, and a commit of two is in flight.
pub fn at_version_five() -> Driven {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(add(100, 1, &[5, 5, 5]));
    driven.land_all();
    driven.submit(add(101, 1, &[5, 5]));
    driven.heard();
    driven
}

fn reasons_out(driven: &Driven) -> Vec<Why> {
    let reason = |body: &Body<Small>| {
        if let Body::Outcome(outcome) = body { Some(outcome.reason.clone()) } else { None }
    };
    driven.out.iter().filter_map(|entry| reason(&entry.body)).collect()
}

#[test]
fn of_two_commands_that_expect_the_same_version_one_is_done() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(add(100, 1, &[5]));
    driven.land();
    driven.heard();
    driven.submit(expecting(OneOf(vec![1]), add(1, 1, &[5])));
    driven.submit(expecting(OneOf(vec![1]), add(2, 1, &[5])));
    assert_eq!(driven.versions_out(), [2], "the version that is in flight is the one that counts");
    driven.land_all();
    assert_eq!(
        driven.heard(),
        [(1, done(accepted(2, 3, &[5]))), (2, Answer::VersionMismatch { current: 2 })]
    );
}

#[test]
fn a_version_that_is_in_flight_can_be_expected() {
    let mut driven = at_version_five();
    driven.submit(expecting(OneOf(vec![9, 5]), add(1, 1, &[5])));
    assert_eq!(driven.versions_out(), [4, 5, 6]);
}

#[test]
fn a_version_that_is_past_for_good_is_refused_at_once_and_any_other_when_it_is_sure() {
    let mut driven = at_version_five();
    driven.submit(expecting(OneOf(vec![1, 2]), add(1, 1, &[5])));
    assert_eq!(
        driven.heard(),
        [(1, Answer::VersionMismatch { current: 3 })],
        "no outcome of what is in flight makes it right"
    );
    for (token, versions) in [(2, vec![3]), (3, vec![1, 3]), (4, vec![4]), (5, vec![1, 6])] {
        driven.submit(expecting(OneOf(versions), add(token, 1, &[5])));
    }
    assert_eq!(driven.heard(), []);
    driven.land();
    driven.land();
    assert_eq!(driven.heard(), [(101, done(accepted(5, 6, &[5, 5])))]);
    driven.land();
    assert_eq!(
        driven.heard(),
        [2, 3, 4, 5].map(|token| (token, Answer::VersionMismatch { current: 5 }))
    );
}

#[test]
fn a_refused_version_is_right_after_all_when_what_was_in_flight_is_lost() {
    let mut driven = at_version_five();
    driven.submit(expecting(OneOf(vec![3]), add(1, 1, &[4])));
    driven.report(3, AppendReport::Refused);
    driven.fence();
    assert_eq!(
        (driven.heard(), driven.versions_out()),
        (vec![(101, Answer::Busy(Busy::Refused))], vec![4])
    );
}

#[test]
fn where_nothing_exists_a_command_that_needs_something_is_not_found_before_its_version_is_looked_at()
 {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(expecting(Exists, change(1, 1)));
    driven.submit(expecting(OneOf(vec![7]), change(2, 1)));
    driven.submit(change(3, 1));
    driven.submit(expecting(Exists, add(4, 1, &[5])));
    driven.submit(expecting(OneOf(vec![7]), add(5, 1, &[5])));
    driven.land();
    driven.land();
    let mismatch = Answer::VersionMismatch { current: 0 };
    let answers =
        [Answer::NotFound, Answer::NotFound, Answer::NotFound, mismatch.clone(), mismatch];
    let heard = driven.heard();
    assert_eq!(heard, (1..).zip(answers).collect::<Vec<_>>());
    assert_eq!(driven.writer.aggregates(), 1);
    driven.submit(expecting(OneOf(vec![0]), add(6, 1, &[5])));
    assert_eq!(driven.versions_out(), [1], "0 is the version of what does not exist");
}

#[test]
fn where_something_exists_it_can_be_changed_and_expected() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(expecting(Anything, add(1, 1, &[5])));
    driven.submit(change(2, 1));
    driven.submit(expecting(Exists, add(3, 1, &[5])));
    driven.submit(expecting(Exists, change(4, 1)));
    assert_eq!(driven.versions_out(), [1, 2, 3, 4], "although it is in flight");
    assert_eq!(driven.heard(), []);
}

#[test]
fn each_command_is_decided_on_the_state_after_those_before_it() {
    let mut driven = at_version_five();
    driven.submit(see(1, 1));
    driven.land();
    driven.land();
    driven.submit(see(2, 1));
    driven.land();
    assert_eq!(driven.heard()[1..], [(1, saw(5, 7, Some(25)))]);
    driven.land();
    assert_eq!(driven.heard(), [(2, saw(5, 8, Some(25)))]);
}

#[test]
fn no_and_nothing_to_do_are_recorded_if_the_caller_chose_the_key_and_held_if_not() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(command(1, 1, Do::Nothing));
    driven.submit(command(2, 1, Do::See));
    let saw_nothing = Why::Saw { sum: None, at: 0 };
    assert_eq!(reasons_out(&driven), [Why::Nothing, saw_nothing.clone()]);
    driven.submit(Submission { caller_key: false, ..command(3, 1, Do::Nothing) });
    driven.submit(see(4, 1));
    assert_eq!(driven.out.len(), 2);
    driven.land_all();
    let unchanged = |end| done(Outcome::Unchanged { version: 0, end, reason: Why::Nothing });
    let rejected = |end| done(Outcome::Rejected { version: 0, end, reason: saw_nothing.clone() });
    assert_eq!(
        driven.heard(),
        [(1, unchanged(2)), (2, rejected(3)), (3, unchanged(4)), (4, rejected(4))]
    );
}

#[test]
fn an_outcome_says_the_version_it_was_decided_at() {
    let mut driven = at_version_five();
    driven.submit(command(1, 1, Do::Nothing));
    driven.land_all();
    assert_eq!(
        driven.heard()[1..],
        [(1, done(Outcome::Unchanged { version: 5, end: 7, reason: Why::Nothing }))]
    );
    driven.submit(add(2, 1, &[1]));
    assert_eq!(driven.versions_out(), [6], "and does not count as a version");
}

#[test]
fn an_outcome_of_a_size_that_the_log_refuses_is_not_sent_again() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(command(1, 1, Do::Nothing));
    driven.report(0, AppendReport::Refused);
    driven.fence();
    driven.submit(command(2, 2, Do::See));
    assert_eq!(driven.heard(), [1, 2].map(|token| (token, Answer::Busy(Busy::Refused))));
}

#[test]
fn what_is_past_its_deadline_when_its_turn_comes_is_not_decided() {
    let mut driven = Driven::serving(Limits::default());
    driven.tick(10);
    driven.submit(Submission { deadline_ms: 10, ..add(1, 1, &[5]) });
    driven.submit(Submission { deadline_ms: 9, ..add(2, 2, &[5]) });
    driven.submit(Submission { deadline_ms: 11, ..add(3, 3, &[5]) });
    assert_eq!(
        (driven.commands_out(), driven.heard()),
        (vec![1, 3], vec![(2, Answer::Busy(Busy::Deadline))])
    );
}

#[test]
fn of_queued_commands_everything_is_recorded_and_in_the_same_sequence_of_checks() {
    let mut driven = Driven::serving(Limits { commit_events: 1, ..Limits::default() });
    driven.tick(10);
    let malformed = Submission { payload: Err(Why::Malformed), ..add(6, 6, &[]) };
    let commands = [
        (change(1, 1), Why::Missing),
        (expecting(Exists, add(2, 2, &[5])), Why::Refused(Refusal::VersionMismatch { current: 0 })),
        (
            expecting(OneOf(vec![7]), add(3, 3, &[5])),
            Why::Refused(Refusal::VersionMismatch { current: 0 }),
        ),
        (add(4, 4, &[5, 5]), Why::Refused(Refusal::TooLarge { events: 2, bytes: 10 })),
        (Submission { deadline_ms: 9, ..add(5, 5, &[5]) }, Why::Refused(Refusal::Expired)),
        (malformed.clone(), Why::Malformed),
        (Submission { deadline_ms: 9, ..malformed }, Why::Malformed),
        (Submission { caller_key: false, ..command(8, 8, Do::Nothing) }, Why::Nothing),
        (see(9, 9), Why::Saw { sum: None, at: 0 }),
    ];
    for (source, (submission, why)) in (0..).zip(commands) {
        driven.queued(from_queue(source, Submission { command: source + 1, ..submission }));
        let metadata = driven.out[0].body.metadata().cloned().unwrap();
        assert_eq!(
            (reasons_out(&driven), metadata.source, driven.out.len()),
            (vec![why], Some(source), 1)
        );
        driven.land();
    }
    driven.queued(from_queue(9, Submission { deadline_ms: 10, ..add(10, 10, &[5]) }));
    assert_eq!(
        (driven.versions_out(), driven.out[0].body.metadata().and_then(|metadata| metadata.source)),
        (vec![1], Some(9))
    );
    assert_eq!(driven.heard(), []);
}

#[test]
fn of_queued_commands_a_version_that_is_past_is_recorded_with_the_one_in_flight() {
    let mut driven = at_version_five();
    driven.queued(from_queue(0, expecting(OneOf(vec![1]), add(1, 1, &[5]))));
    assert_eq!(reasons_out(&driven), [Why::Refused(Refusal::VersionMismatch { current: 5 })]);
}

#[test]
fn what_cannot_be_read_is_refused_and_no_version_is_made() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(cold(add(1, 1, &[5])));
    driven.loaded(0, vec![(1, Snapshot::Unreadable { version: 4 })], Vec::new());
    assert_eq!((driven.heard(), driven.out.len()), (vec![(1, Answer::Unreadable)], 0));
    driven.queued(from_queue(0, add(2, 1, &[NEWER])));
    assert_eq!(
        (driven.out.len(), driven.writer.command_queue_open()),
        (0, 1),
        "a queued command waits for a release that can read it"
    );
    driven.tick(1_000);
    driven.queued(from_queue(1, Submission { payload: Err(Why::Malformed), ..add(3, 3, &[]) }));
    assert_eq!(reasons_out(&driven), [Why::Malformed]);
}

#[test]
fn of_queued_commands_what_is_past_its_deadline_is_recorded_even_where_nothing_can_be_read() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(cold(add(1, 1, &[5])));
    driven.loaded(0, vec![(1, Snapshot::Unreadable { version: 4 })], Vec::new());
    driven.queued(from_queue(0, Submission { deadline_ms: 5_000, ..add(2, 1, &[5]) }));
    driven.tick(5_000);
    driven.loaded_nothing(0);
    assert_eq!(driven.out.len(), 0);
    driven.asked();
    driven.tick(5_999);
    assert_eq!(driven.asked(), [], "overdue, and tried a moment ago");
    driven.tick(6_000);
    driven.loaded_nothing(0);
    assert_eq!(reasons_out(&driven), [Why::Refused(Refusal::Expired)]);
    let Body::Outcome(outcome) = &driven.out[0].body else { return };
    assert_eq!(outcome.version, 4);
}
