//! What is read back: holes, foreign fences, gaps, and the history before the own fence.

use highwater_protocol::{
    entry::{Body, Entry, EventBody, Part},
    position::{Position, Witness},
    writer::{Answer, AppendReport, Busy, Input, Limits, Outcome, StepDown},
};

use crate::{
    harness::{Driven, fence, record},
    small::{Do, Why, accepted, add, cold, command, done, event, rejection, replayed, saw, see},
};

fn two_out() -> Driven {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(add(1, 1, &[5]));
    driven.submit(add(2, 2, &[5]));
    driven
}

#[test]
fn a_hole_is_an_unknown_outcome() {
    let mut driven = two_out();
    let second = driven.out[1].clone();
    driven.read(second);
    assert_eq!(
        (driven.unknown.clone(), driven.reads_to_end, driven.heard()),
        (vec![2], 2, Vec::new())
    );
    driven.fence();
    assert_eq!(driven.commands_out(), [1, 2], "both are decided again");
    driven.land_all();
    assert_eq!(driven.heard(), [(1, done(accepted(1, 4, &[5]))), (2, done(accepted(1, 5, &[5])))]);
}

#[test]
fn a_hole_is_noticed_once() {
    let mut driven = two_out();
    driven.submit(add(3, 3, &[5]));
    for at in [1, 2] {
        let entry = driven.out[at].clone();
        driven.read(entry);
    }
    assert_eq!((driven.unknown, driven.reads_to_end), (vec![3], 2));
}

#[test]
fn a_hole_ends_a_writer_that_drains() {
    let mut driven = two_out();
    driven.step(Input::Stop);
    let second = driven.out[1].clone();
    driven.read(second);
    assert_eq!(driven.ended, Some(StepDown::Drained));
    assert_eq!(driven.heard(), [1, 2].map(|token| (token, Answer::Moved)));
}

#[test]
fn a_void_record_of_another_writer_is_no_hole() {
    let mut driven = two_out();
    for entry in [
        record(0, 1, 40, Body::Barrier),
        record(1, 9, 40, Body::Barrier),
        record(9, 1, 40, Body::Barrier),
        fence(1, 1),
    ] {
        driven.read(entry);
        assert_eq!((driven.unknown.len(), driven.reads_to_end), (0, 1));
    }
    driven.read(Entry { seq: Some(40), ..fence(1, 1) });
    driven.read_damaged();
    driven.read(Entry { seq: None, ..record(1, 1, 0, Body::Barrier) });
    assert_eq!((driven.unknown.len(), driven.reads_to_end), (0, 1));
    driven.land_all();
    assert_eq!(driven.heard(), [(1, done(accepted(1, 9, &[5]))), (2, done(accepted(1, 10, &[5])))]);
}

#[test]
fn a_foreign_fence_ends_the_writer_and_callers_are_sent_to_the_next() {
    let mut driven = two_out();
    driven.read(fence(2, 9));
    assert_eq!(driven.ended, Some(StepDown::Deposed { epoch: 2 }));
    assert_eq!(driven.heard(), [1, 2].map(|token| (token, Answer::Moved)));
    driven.submit(add(3, 3, &[5]));
    assert_eq!(driven.heard(), [(3, Answer::Moved)]);
    driven.step(Input::CaughtUp { writer: 3 });
    driven.land();
    assert_eq!(
        (driven.heard(), driven.writer.serving(), driven.reads_to_end),
        (Vec::new(), None, 1),
        "nothing goes on"
    );
}

#[test]
fn a_gap_in_the_log_ends_the_writer() {
    let mut driven = two_out();
    driven.step(Input::Read { offset: 2, entry: Ok(record(1, 1, 0, Body::Barrier)) });
    assert_eq!(driven.ended, Some(StepDown::Gap { expected: 1, found: 2 }));
    assert_eq!(
        driven.heard(),
        [1, 2].map(|token| (token, Answer::Busy(Busy::Partition))),
        "the next owner may be this instance"
    );
}

#[test]
fn a_sealed_partition_has_no_writer() {
    let mut driven = Driven::new(Limits::default());
    driven.read(fence(1, 9));
    driven.read(record(1, 9, 0, Body::Sealed));
    assert_eq!(driven.ended, Some(StepDown::Sealed));
}

#[test]
fn what_an_earlier_writer_did_is_the_state_that_commands_are_decided_on() {
    let mut driven = Driven::new(Limits::default());
    driven.read(fence(1, 9));
    driven.read(record(1, 9, 0, Body::Event(event(1, 7, 1, 5))));
    let parts = [(1, 2), (2, 3)].map(|(index, version)| EventBody {
        part: Part { index, of: 2 },
        ..event(2, 7, version, 6)
    });
    for (seq, part) in (1..).zip(parts) {
        driven.read(record(1, 9, seq, Body::Event(part)));
    }
    driven.read(record(1, 9, 3, rejection(3, 7, 3)));
    driven.fence();
    // The state, and each outcome with the offset after its last record.
    driven.submit(cold(add(1, 7, &[5])));
    driven.submit(cold(add(2, 7, &[6, 6])));
    driven.submit(cold(add(3, 7, &[1])));
    let outcomes = [
        accepted(1, 2, &[5]),
        accepted(3, 4, &[6, 6]),
        Outcome::Rejected { version: 3, end: 5, reason: Why::Malformed },
    ];
    assert_eq!(
        driven.heard(),
        [1, 2, 3].into_iter().zip(outcomes.map(replayed)).collect::<Vec<_>>()
    );
    driven.submit(see(4, 7));
    driven.land_all();
    assert_eq!(driven.heard(), [(4, saw(3, 7, Some(17)))]);
}

#[test]
fn a_commit_that_was_never_finished_is_nothing() {
    let mut driven = Driven::new(Limits::default());
    driven.read(fence(1, 9));
    driven.read(record(
        1,
        9,
        0,
        Body::Event(EventBody { part: Part { index: 1, of: 2 }, ..event(1, 7, 1, 5) }),
    ));
    driven.fence();
    driven.submit(add(1, 7, &[5]));
    assert_eq!(driven.versions_out(), [1]);
}

#[test]
fn history_before_the_own_fence_does_not_depose() {
    let mut driven = Driven::new(Limits::default());
    for epoch in 1..=3 {
        driven.read(fence(epoch, 8));
    }
    driven.fence();
    assert_eq!(driven.fences, [(4, 1, 3)]);
}

#[test]
fn the_reading_goes_on_from_the_stored_position() {
    let position = Position {
        identity: Some(8),
        offset: 40,
        epoch: 6,
        writer: Some(9),
        next_seq: 5,
        drained: 12,
        last_time: Some(70),
        witness: Some(Witness { offset: 39, epoch: 6, writer: 9, seq: Some(4) }),
        ..Position::start()
    };
    let mut driven = Driven::from(Limits::default(), position);
    assert_eq!(driven.next_offset(), 40);
    driven.fence();
    assert_eq!(
        (driven.fences.clone(), driven.writer.command_queue_next(), driven.writer.tail()),
        (vec![(7, 1, 40)], Some(12), 1)
    );
    let head = driven.writer.fold().head();
    assert_eq!(
        (head.identity, head.witness.clone()),
        (Some(8), Some(Witness { offset: 40, epoch: 7, writer: 1, seq: None }))
    );
    driven.submit(add(1, 1, &[5]));
    assert!(
        matches!(&driven.out[0].body, Body::Event(event) if event.time == 70),
        "not before the last event of the log"
    );
    driven.land();
    let head = driven.writer.fold().head();
    assert_eq!(
        head.witness,
        Some(Witness { offset: 41, epoch: 7, writer: 1, seq: Some(0) }),
        "the witness names its sequence"
    );
    driven.report(0, AppendReport::At(41));
    driven.submit(command(2, 1, Do::Nothing));
    driven.land();
    let nothing = Outcome::Unchanged { version: 1, end: 43, reason: Why::Nothing };
    assert_eq!(driven.heard(), [(1, done(accepted(1, 42, &[5]))), (2, done(nothing))]);
}
