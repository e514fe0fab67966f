//! What is taken in: limits, dedupe, and callers that send the same again.

use highwater_protocol::{
    entry::{Body, EventBody},
    writer::{Answer, Busy, Limits, Outcome, RecordedOutcome, Snapshot, Submission},
};

use crate::{
    harness::{Driven, fence, record},
    small::{
        Do, Small, Why, accepted, add, cold, command, done, event, recorded, rejection, replayed,
        saw, see,
    },
};

const REUSED: Answer<Small> = Answer::KeyReused;

pub fn again(token: u64, submission: Submission<Small, Do>) -> Submission<Small, Do> {
    Submission { token, ..submission }
}

#[test]
fn an_aggregate_has_so_many_unanswered_commands_and_no_more() {
    let mut driven = Driven::serving(Limits { aggregate_queue: 2, ..Limits::default() });
    for id in 1..=3 {
        driven.submit(add(id, 7, &[5]));
    }
    driven.submit(add(4, 8, &[5]));
    assert_eq!(driven.heard(), [(3, Answer::Busy(Busy::Aggregate))]);
    driven.land();
    driven.submit(add(5, 7, &[5]));
    driven.submit(add(6, 7, &[5]));
    assert_eq!(
        driven.heard(),
        [(1, done(accepted(1, 2, &[5]))), (6, Answer::Busy(Busy::Aggregate))],
        "an answer makes room for one"
    );
}

#[test]
fn a_partition_has_so_many_unanswered_commands_and_no_more() {
    let mut driven = Driven::serving(Limits { partition_queue: 2, ..Limits::default() });
    for id in 1..=3 {
        driven.submit(add(id, id, &[5]));
    }
    assert_eq!(
        (driven.heard(), driven.writer.unanswered()),
        (vec![(3, Answer::Busy(Busy::Partition))], 2)
    );
    driven.land();
    driven.submit(add(4, 4, &[5]));
    driven.submit(add(5, 5, &[5]));
    assert_eq!(driven.heard()[1..], [(5, Answer::Busy(Busy::Partition))]);
}

#[test]
fn with_snapshots_behind_what_is_not_in_memory_waits_first_and_then_everything() {
    let mut driven = Driven::serving(Limits { max_tail_events: 3, ..Limits::default() });
    driven.submit(add(1, 1, &[5]));
    driven.land();
    assert_eq!(driven.writer.tail(), 2);
    driven.submit(add(2, 2, &[5]));
    driven.land();
    driven.heard();
    assert_eq!(driven.writer.tail(), 3);
    driven.submit(cold(add(3, 3, &[5])));
    driven.submit(add(4, 4, &[5]));
    assert_eq!(driven.heard(), [3, 4].map(|token| (token, Answer::Busy(Busy::SnapshotsBehind))));
    for id in 5..=7 {
        driven.submit(add(id, 1, &[5]));
        driven.land();
    }
    assert_eq!((driven.writer.tail(), driven.heard().len()), (6, 3));
    driven.submit(add(8, 1, &[5]));
    assert_eq!(driven.heard(), [(8, Answer::Busy(Busy::SnapshotsBehind))]);
    driven.checkpoint(4);
    driven.submit(add(8, 1, &[5]));
    driven.submit(add(9, 9, &[5]));
    assert_eq!((driven.heard(), driven.commands_out()), (vec![], vec![8, 9]));
}

#[test]
fn a_recorded_outcome_answers_without_a_queue_and_with_any_fingerprint_of_its_command() {
    let mut driven = Driven::serving(Limits {
        partition_queue: 1,
        aggregate_queue: 1,
        max_tail_events: 1,
        ..Limits::default()
    });
    driven.checkpoint(1);
    driven.submit(Submission { fingerprint: 4, ..add(1, 1, &[5]) });
    driven.land();
    driven.checkpoint(2);
    driven.submit(add(2, 1, &[5]));
    driven.heard();
    driven.submit(Submission { fingerprint: 4, ..again(10, add(1, 1, &[5])) });
    driven.submit(Submission {
        fingerprint: 5,
        older_fingerprints: vec![3, 4],
        ..again(11, add(1, 1, &[5]))
    });
    assert_eq!(driven.heard(), [10, 11].map(|token| (token, replayed(accepted(1, 2, &[5])))));
    driven.submit(Submission {
        fingerprint: 5,
        older_fingerprints: vec![3],
        ..again(12, add(1, 1, &[5]))
    });
    driven.submit(Submission { fingerprint: 4, ..again(13, add(1, 2, &[5])) });
    assert_eq!(driven.heard(), [12, 13].map(|token| (token, REUSED)));
    assert_eq!(driven.commands_out(), [2]);
}

#[test]
fn the_fingerprint_that_is_recorded_is_the_commands_own() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(Submission { fingerprint: 4, older_fingerprints: vec![3], ..add(1, 1, &[5]) });
    let metadata = driven.out[0].body.metadata().cloned().unwrap();
    assert_eq!(
        (metadata.command, metadata.aggregate, metadata.fingerprint, metadata.source),
        (1, 1, 4, None)
    );
}

#[test]
fn the_same_command_while_it_is_in_flight_is_done_once_and_answered_alike() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(add(1, 1, &[5]));
    driven.submit(again(2, add(1, 1, &[5])));
    driven.submit(again(3, add(1, 1, &[5])));
    assert_eq!((driven.commands_out(), driven.heard()), (vec![1], vec![]));
    driven.land();
    let outcome = accepted(1, 2, &[5]);
    assert_eq!(
        driven.heard(),
        [(1, done(outcome.clone())), (2, replayed(outcome.clone())), (3, replayed(outcome))]
    );
    assert_eq!((driven.out.len(), driven.writer.unanswered()), (0, 0));
}

#[test]
fn another_command_with_the_id_of_one_in_flight_hears_that_its_key_is_used() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(add(1, 1, &[5]));
    driven.submit(Submission { fingerprint: 9, ..again(2, add(1, 1, &[6])) });
    driven.submit(again(3, add(1, 2, &[5])));
    assert_eq!(driven.commands_out(), [1]);
    driven.land();
    assert_eq!(driven.heard(), [(1, done(accepted(1, 2, &[5]))), (2, REUSED), (3, REUSED)]);
}

#[test]
fn a_follower_of_a_command_that_left_no_outcome_is_decided_in_turn() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(see(1, 1));
    driven.submit(again(2, see(1, 1)));
    driven.submit(again(3, see(1, 1)));
    driven.land();
    assert_eq!(driven.heard(), [(1, saw(0, 2, None))]);
    driven.land();
    assert_eq!(driven.heard(), [(2, saw(0, 3, None))]);
    driven.land();
    assert_eq!(driven.heard(), [(3, saw(0, 4, None))]);
    assert_eq!((driven.out.len(), driven.writer.unanswered()), (0, 0));
}

#[test]
fn a_follower_counts_in_the_queue_of_its_aggregate() {
    let mut driven = Driven::serving(Limits { aggregate_queue: 2, ..Limits::default() });
    driven.submit(add(1, 1, &[5]));
    driven.submit(again(2, add(1, 1, &[5])));
    driven.submit(again(3, add(1, 1, &[5])));
    assert_eq!(driven.heard(), [(3, Answer::Busy(Busy::Aggregate))]);
    driven.land();
    driven.submit(add(4, 1, &[5]));
    driven.submit(add(5, 1, &[5]));
    assert_eq!(driven.heard().len(), 2, "both are answered, and there is room for two again");
}

#[test]
fn what_came_during_a_take_over_and_is_in_the_log_gets_its_first_outcome() {
    let mut driven = Driven::new(Limits::default());
    driven.submit(cold(add(1, 1, &[5])));
    driven.submit(cold(add(2, 1, &[5])));
    driven.submit(cold(Submission { fingerprint: 9, ..add(3, 1, &[5]) }));
    driven.read(fence(1, 9));
    driven.read(record(1, 9, 0, Body::Event(event(1, 1, 1, 5))));
    driven.read(record(1, 9, 1, rejection(2, 1, 1)));
    driven.read(record(1, 9, 2, Body::Event(event(3, 1, 2, 5))));
    assert_eq!(driven.heard(), []);
    driven.fence();
    let rejected = Outcome::Rejected { version: 1, end: 3, reason: Why::Malformed };
    assert_eq!(
        driven.heard(),
        [(1, replayed(accepted(1, 2, &[5]))), (2, replayed(rejected)), (3, REUSED)]
    );
    assert_eq!(driven.out.len(), 0);
}

#[test]
fn an_id_that_may_have_been_seen_is_looked_up_before_it_is_decided() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(Submission { fresh: false, ..add(1, 1, &[5]) });
    assert_eq!(
        (driven.asked(), driven.out.len()),
        (vec![(vec![1], vec![1])], 0),
        "although its aggregate is known"
    );
    driven.loaded(0, Vec::new(), vec![(1, recorded(1, accepted(8, 4, &[5])))]);
    assert_eq!((driven.heard(), driven.out.len()), (vec![(1, replayed(accepted(8, 4, &[5])))], 0));
    driven.submit(Submission { new_aggregate: false, ..add(2, 2, &[5]) });
    assert_eq!(driven.asked(), [(vec![2], vec![2])], "an aggregate that may exist is, too");
    driven.loaded(0, vec![(2, Snapshot::State { version: 6, state: 30 })], Vec::new());
    assert_eq!(driven.versions_out(), [7]);
}

#[test]
fn a_follower_of_a_command_that_was_never_seen_is_looked_up_all_the_same() {
    let mut driven =
        Driven::serving(Limits { cached_outcomes: 0, cached_aggregates: 0, ..Limits::default() });
    driven.submit(command(1, 1, Do::Change(vec![1])));
    driven.submit(again(2, cold(command(1, 1, Do::Change(vec![1])))));
    driven.land();
    assert_eq!(driven.heard(), [(1, Answer::NotFound)]);
    assert_eq!(driven.asked(), [(vec![1], vec![1])]);
}

#[test]
fn an_outcome_of_another_aggregate_or_body_that_was_looked_up_is_a_used_key() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(cold(add(1, 1, &[5])));
    driven.submit(cold(add(2, 2, &[5])));
    driven.submit(cold(add(3, 3, &[5])));
    driven.loaded_nothing(0);
    assert_eq!(driven.asked(), [(vec![1], vec![1]), (vec![2, 3], vec![2, 3])]);
    let other_body = RecordedOutcome { fingerprint: 9, ..recorded(2, accepted(1, 1, &[5])) };
    driven.loaded(0, Vec::new(), vec![(2, other_body), (3, recorded(9, accepted(1, 1, &[5])))]);
    assert_eq!((driven.heard(), driven.commands_out()), (vec![(2, REUSED), (3, REUSED)], vec![1]));
}

#[test]
fn an_event_time_is_the_commands() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(Submission { at: 30, ..add(1, 1, &[5, 6]) });
    let times: Vec<_> = driven
        .out
        .iter()
        .map(|entry| if let Body::Event(EventBody { time, .. }) = entry.body { time } else { 0 })
        .collect();
    assert_eq!(times, [30, 30]);
}
