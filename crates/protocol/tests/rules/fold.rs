//! The verdicts of the fold, each at the edge of its rule (log-format.md, "Fold").

use highwater_protocol::{
    entry::{Body, Entry, EventBody, Part},
    fold::{Commit, Effect, Fold, Gap, Void},
    position::{Position, Witness},
    wire::Defect,
};

use crate::{
    harness::{fence, record},
    small::{Small, event, rejection},
};

type Folded = Fold<Small>;

fn apply(fold: &mut Folded, entry: Entry<Small>) -> Effect<Small> {
    fold.apply(fold.next_offset(), Ok(entry)).unwrap()
}

/// Writer 1 has epoch 1.
fn fenced() -> Folded {
    let mut fold = Fold::new();
    apply(&mut fold, fence(1, 1));
    fold
}

fn part(index: u32, of: u32, version: u64) -> EventBody<Small> {
    EventBody { part: Part { index, of }, ..event(1, 1, version, 5) }
}

#[test]
fn only_the_next_offset_is_applied() {
    let mut fold = fenced();
    let before = fold.clone();
    for found in [0, 2] {
        assert_eq!(
            fold.apply(found, Ok(record(1, 1, 0, Body::Barrier))),
            Err(Gap { expected: 1, found })
        );
        assert_eq!(fold, before, "a gap changes nothing");
    }
}

#[test]
fn a_record_that_cannot_be_decoded_changes_the_offset_alone() {
    let mut fold = fenced();
    let before = fold.head().clone();
    assert_eq!(fold.apply(1, Err(Defect::Key)), Ok(Effect::Void(Void::Undecodable(Defect::Key))));
    assert_eq!(*fold.head(), Position { offset: 2, ..before });
}

#[test]
fn a_fence_is_valid_with_the_next_epoch_only() {
    let mut fold = fenced();
    for epoch in [0, 1, 3] {
        assert_eq!(apply(&mut fold, fence(epoch, 2)), Effect::Void(Void::StaleFence));
    }
    assert_eq!(fold.head().writer, Some(1));
    assert_eq!(apply(&mut fold, fence(2, 2)), Effect::Fence { epoch: 2, writer: 2 });
    let head = fold.head();
    assert_eq!(
        (head.epoch, head.writer, head.next_seq, head.identity),
        (2, Some(2), 0, Some(1)),
        "the identity is the first fence's"
    );
    assert_eq!(head.witness, Some(Witness { offset: 4, epoch: 2, writer: 2, seq: None }));
}

#[test]
fn after_the_largest_epoch_there_is_no_fence() {
    let mut fold =
        Folded::resume(Position { epoch: u64::MAX, writer: Some(1), ..Position::start() });
    for epoch in [0, u64::MAX] {
        assert_eq!(apply(&mut fold, fence(epoch, 2)), Effect::Void(Void::StaleFence));
    }
}

#[test]
fn a_record_is_valid_with_the_epoch_the_writer_and_the_next_sequence_only() {
    let mut fold = fenced();
    apply(&mut fold, record(1, 1, 0, Body::Barrier));
    for (epoch, writer, seq) in [(0, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 0), (1, 1, 2)] {
        let effect = apply(&mut fold, record(epoch, writer, seq, Body::Barrier));
        assert_eq!(effect, Effect::Void(Void::Unexpected), "{epoch}, {writer}, {seq}");
    }
    assert_eq!(
        apply(&mut fold, Entry { seq: None, ..record(1, 1, 0, Body::Barrier) }),
        Effect::Void(Void::Unexpected)
    );
    assert_eq!(apply(&mut fold, record(1, 1, 1, Body::Barrier)), Effect::Barrier);
    assert_eq!(fold.head().next_seq, 2);
    assert_eq!(fold.head().witness, Some(Witness { offset: 8, epoch: 1, writer: 1, seq: Some(1) }));
}

#[test]
fn nothing_is_valid_before_the_first_fence() {
    assert_eq!(
        apply(&mut Fold::default(), record(0, 0, 0, Body::Barrier)),
        Effect::Void(Void::Unexpected)
    );
}

#[test]
fn what_is_drained_never_falls() {
    let mut fold = fenced();
    for (seq, (says, drained)) in (0..).zip([(Some(7), 7), (None, 7), (Some(3), 7), (Some(8), 8)]) {
        apply(&mut fold, Entry { drained: says, ..record(1, 1, seq, Body::Barrier) });
        assert_eq!(fold.head().drained, drained);
    }
}

#[test]
fn the_last_time_is_that_of_the_latest_event_and_never_falls() {
    let mut fold = fenced();
    for (seq, (time, last)) in (0..).zip([(7, 7), (3, 7), (8, 8)]) {
        apply(&mut fold, record(1, 1, seq, Body::Event(EventBody { time, ..event(1, 1, 1, 5) })));
        assert_eq!(fold.head().last_time, Some(last));
    }
}

#[test]
fn after_sealed_everything_is_void_fences_too() {
    let mut fold = fenced();
    assert_eq!(apply(&mut fold, record(1, 1, 0, Body::Sealed)), Effect::Sealed);
    let before = fold.head().clone();
    assert_eq!(apply(&mut fold, record(1, 1, 1, Body::Barrier)), Effect::Void(Void::Sealed));
    assert_eq!(apply(&mut fold, fence(2, 2)), Effect::Void(Void::Sealed));
    assert_eq!(*fold.head(), Position { offset: 4, ..before });
}

#[test]
fn an_outcome_says_what_it_holds_and_an_unknown_kind_counts() {
    let mut fold = fenced();
    let Body::Outcome(outcome) = rejection(1, 1, 4) else { return };
    assert_eq!(
        apply(&mut fold, record(1, 1, 0, Body::Outcome(outcome.clone()))),
        Effect::Outcome(outcome)
    );
    assert_eq!(apply(&mut fold, record(1, 1, 1, Body::Unknown)), Effect::Unknown);
    assert_eq!(fold.head().next_seq, 2);
}

#[test]
fn a_commit_is_visible_with_its_last_record_and_a_position_is_never_inside() {
    let mut fold = fenced();
    let before = fold.head().clone();
    let parts = [part(1, 3, 4), part(2, 3, 5), part(3, 3, 6)];
    for (seq, event) in (0..2).zip(&parts) {
        assert_eq!(apply(&mut fold, record(1, 1, seq, Body::Event(event.clone()))), Effect::Opened);
        assert_eq!(
            (fold.position(), fold.head().offset, fold.head().next_seq),
            (&before, seq + 2, seq + 1)
        );
    }
    let effect = apply(&mut fold, record(1, 1, 2, Body::Event(parts[2].clone())));
    assert_eq!(
        effect,
        Effect::Commit(Commit { first: 1, end: 4, last_seq: 2, events: parts.to_vec() })
    );
    assert_eq!(fold.position(), fold.head());
}

#[test]
fn only_the_next_part_of_the_same_command_continues_a_commit() {
    let next = part(2, 3, 5);
    let other_command = EventBody { metadata: event(2, 1, 1, 5).metadata, ..next.clone() };
    let other_aggregate = EventBody { metadata: event(1, 2, 1, 5).metadata, ..next.clone() };
    for other in [
        other_command,
        other_aggregate,
        part(2, 4, 5),
        part(3, 3, 5),
        part(2, 3, 4),
        part(2, 3, 6),
        part(3, 4, 6),
    ] {
        let mut fold = fenced();
        apply(&mut fold, record(1, 1, 0, Body::Event(part(1, 3, 4))));
        assert_eq!(
            apply(&mut fold, record(1, 1, 1, Body::Event(other.clone()))),
            Effect::Ineffective,
            "{other:?}"
        );
        assert_eq!(fold.position(), fold.head(), "the open commit is dropped");
        assert_eq!(
            apply(&mut fold, record(1, 1, 2, Body::Event(next.clone()))),
            Effect::Ineffective,
            "and does not come back"
        );
    }
}

#[test]
fn a_first_part_begins_anew_whatever_is_open() {
    let mut fold = fenced();
    apply(&mut fold, record(1, 1, 0, Body::Event(part(1, 2, 4))));
    let start = fold.head().clone();
    assert_eq!(apply(&mut fold, record(1, 1, 1, Body::Event(part(1, 2, 7)))), Effect::Opened);
    assert_eq!(*fold.position(), start);
    let events = vec![part(1, 2, 7), part(2, 2, 8)];
    let effect = apply(&mut fold, record(1, 1, 2, Body::Event(part(2, 2, 8))));
    assert_eq!(effect, Effect::Commit(Commit { first: 2, end: 4, last_seq: 2, events }));
}

#[test]
fn every_other_valid_record_drops_an_open_commit_and_a_void_one_does_not() {
    for body in [Body::Barrier, rejection(9, 9, 0), Body::Unknown] {
        let mut fold = fenced();
        apply(&mut fold, record(1, 1, 0, Body::Event(part(1, 2, 4))));
        apply(&mut fold, record(1, 1, 1, body));
        assert_eq!(
            apply(&mut fold, record(1, 1, 2, Body::Event(part(2, 2, 5)))),
            Effect::Ineffective
        );
    }
    let mut fold = fenced();
    apply(&mut fold, record(1, 1, 0, Body::Event(part(1, 2, 4))));
    apply(&mut fold, fence(2, 2));
    assert_eq!(apply(&mut fold, record(2, 2, 0, Body::Event(part(2, 2, 5)))), Effect::Ineffective);

    let mut fold = fenced();
    apply(&mut fold, record(1, 1, 0, Body::Event(part(1, 2, 4))));
    apply(&mut fold, record(1, 2, 1, Body::Barrier));
    apply(&mut fold, fence(1, 2));
    assert!(matches!(
        apply(&mut fold, record(1, 1, 1, Body::Event(part(2, 2, 5)))),
        Effect::Commit(_)
    ));
}

#[test]
fn the_largest_sequence_and_version_are_no_panic() {
    let mut fold = Folded::resume(Position {
        epoch: 1,
        writer: Some(1),
        next_seq: u64::MAX,
        ..Position::start()
    });
    assert_eq!(
        apply(&mut fold, record(1, 1, u64::MAX, Body::Event(part(1, 2, u64::MAX)))),
        Effect::Opened
    );
    assert_eq!(fold.head().next_seq, u64::MAX);
    assert_eq!(
        apply(&mut fold, record(1, 1, u64::MAX, Body::Event(part(2, 2, 0)))),
        Effect::Ineffective
    );
}
