//! The ack rule: what confirms a record, and what only makes one wait (log-format.md, "How an owner
//! writes").

use highwater_protocol::{
    entry::Body,
    writer::{Answer, AppendReport, Busy, Expected, Input, Limits, StepDown},
};

use crate::{
    harness::{Driven, record},
    small::{Do, accepted, add, command, done, event, expecting, saw, see},
};

/// Records 0, 1, 2 are out, of the commands 1, 2, 3; with nothing foreign between, they come to lie
/// at 1, 2, 3.
fn three_out() -> Driven {
    let mut driven = Driven::serving(Limits::default());
    for id in 1..=3 {
        driven.submit(add(id, id, &[5]));
    }
    driven
}

fn tokens(driven: &mut Driven) -> Vec<u64> {
    driven.heard().into_iter().map(|(token, _)| token).collect()
}

#[test]
fn a_report_of_the_predicted_offset_confirms_before_anything_is_read() {
    let mut driven = three_out();
    driven.report(0, AppendReport::At(1));
    assert_eq!(driven.heard(), [(1, done(accepted(1, 2, &[5])))]);
    driven.report(1, AppendReport::At(2));
    assert_eq!(driven.heard(), [(2, done(accepted(1, 3, &[5])))]);
    driven.report(2, AppendReport::At(3));
    assert_eq!(driven.heard(), [(3, done(accepted(1, 4, &[5])))]);
    assert_eq!(driven.writer.in_flight(), 0);
    driven.land_all();
    driven.read_stale();
    assert_eq!(
        (driven.heard(), driven.ended),
        (Vec::new(), None),
        "what is read confirms it, tells no caller again, and is done with"
    );
}

#[test]
fn a_report_confirms_only_what_is_at_the_front() {
    let mut driven = three_out();
    driven.report(2, AppendReport::At(3));
    driven.report(1, AppendReport::At(2));
    assert_eq!(
        (driven.heard(), driven.writer.in_flight()),
        (Vec::new(), 3),
        "nothing is known of the first"
    );
    driven.report(0, AppendReport::At(1));
    assert_eq!((tokens(&mut driven), driven.writer.in_flight()), (vec![1, 2, 3], 0));
}

#[test]
fn a_report_confirms_nothing_before_its_record_either() {
    let mut driven = three_out();
    driven.report(1, AppendReport::At(2));
    assert_eq!((driven.heard(), driven.writer.in_flight()), (Vec::new(), 3));
    driven.land();
    assert_eq!(
        tokens(&mut driven),
        [1, 2],
        "the first is read, and that makes the report of the second a proof"
    );
    assert_eq!(driven.writer.in_flight(), 1);
}

#[test]
fn any_other_offset_proves_nothing_until_its_record_is_read() {
    for reported in [AppendReport::At(2), AppendReport::At(3), AppendReport::Somewhere] {
        let mut driven = three_out();
        driven.report(0, reported);
        assert_eq!((driven.heard(), driven.reads_to_end), (Vec::new(), 1), "{reported:?}");
        driven.read_stale();
        assert_eq!((driven.heard(), driven.reads_to_end), (Vec::new(), 1), "{reported:?}");
        if reported != AppendReport::At(3) {
            driven.land();
            assert_eq!(driven.heard(), [(1, done(accepted(1, 3, &[5])))], "{reported:?}");
        }
    }
}

#[test]
fn the_last_confirmed_record_is_the_anchor_of_the_next() {
    let mut driven = three_out();
    driven.read_stale();
    driven.land();
    driven.heard();
    driven.report(1, AppendReport::At(2));
    assert_eq!(
        driven.heard(),
        [],
        "as predicted from the fence, but a foreign record came between"
    );
    let mut driven = three_out();
    driven.read_stale();
    driven.land();
    driven.heard();
    driven.report(1, AppendReport::At(3));
    assert_eq!(driven.heard(), [(2, done(accepted(1, 4, &[5])))]);
    driven.report(2, AppendReport::At(4));
    assert_eq!(driven.heard(), [(3, done(accepted(1, 5, &[5])))]);
}

#[test]
fn a_report_of_an_offset_that_was_read_and_was_not_this_record_is_an_unknown_outcome() {
    // As predicted, but void where it lies.
    let mut driven = three_out();
    driven.read_stale();
    driven.report(0, AppendReport::At(1));
    assert_eq!((driven.heard(), driven.unknown), (Vec::new(), vec![3]));
    // Not as predicted.
    let mut driven = three_out();
    driven.read_stale();
    driven.read_stale();
    driven.report(0, AppendReport::At(2));
    assert_eq!((driven.heard(), driven.unknown), (Vec::new(), vec![3]));
    // Reported first, read later.
    let mut driven = three_out();
    driven.report(0, AppendReport::At(2));
    driven.read_stale();
    assert_eq!(
        (driven.heard(), driven.unknown.len()),
        (Vec::new(), 0),
        "it lies at 2, which was not read yet"
    );
    driven.read_stale();
    assert_eq!((driven.heard(), driven.unknown), (Vec::new(), vec![3]));
}

#[test]
fn a_report_that_is_late_or_of_another_writer_changes_nothing() {
    let mut driven = three_out();
    driven.land();
    driven.heard();
    driven.report(0, AppendReport::Failed);
    driven.report(9, AppendReport::At(10));
    driven.step(Input::Report { writer: 9, seq: Some(1), reported: AppendReport::At(2) });
    driven.step(Input::Report { writer: 9, seq: Some(1), reported: AppendReport::Failed });
    assert_eq!(
        (driven.heard(), driven.writer.in_flight(), driven.reads_to_end),
        (Vec::new(), 2, 1)
    );
}

#[test]
fn after_a_failed_report_no_report_confirms_anything_but_reading_does() {
    for failed in [AppendReport::Failed, AppendReport::Unsent] {
        let mut driven = three_out();
        driven.report(2, failed);
        assert_eq!((driven.unknown.clone(), driven.reads_to_end), (vec![3], 2));
        driven.report(0, AppendReport::At(1));
        assert_eq!((driven.heard(), driven.writer.in_flight()), (Vec::new(), 3));
        driven.land();
        assert_eq!((tokens(&mut driven), driven.writer.in_flight()), (vec![1], 2));
        driven.report(2, failed);
        assert_eq!(driven.unknown, [3], "once");
    }
}

#[test]
fn what_was_reported_before_an_unknown_outcome_is_no_proof_after_it() {
    let mut driven = three_out();
    driven.report(1, AppendReport::At(2));
    driven.report(2, AppendReport::Failed);
    driven.land();
    assert_eq!((tokens(&mut driven), driven.writer.in_flight()), (vec![1], 2));
}

#[test]
fn of_a_commit_only_the_last_record_completes_the_command() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(add(1, 1, &[5, 6, 7]));
    driven.report(0, AppendReport::At(1));
    driven.report(1, AppendReport::At(2));
    assert_eq!((driven.heard(), driven.writer.in_flight()), (Vec::new(), 1));
    driven.report(2, AppendReport::At(3));
    assert_eq!(driven.heard(), [(1, done(accepted(3, 4, &[5, 6, 7])))]);
}

#[test]
fn a_held_answer_is_released_by_a_record_appended_after_it_and_not_by_an_older_one() {
    for held in [
        command(4, 4, Do::Change(vec![1])),
        expecting(Expected::OneOf(vec![9]), add(4, 4, &[1])),
        see(4, 4),
    ] {
        let mut driven = three_out();
        driven.submit(held);
        assert_eq!(driven.out.len(), 3, "what is in flight may show who the writer is");
        for _ in 0..3 {
            driven.land();
        }
        assert_eq!(tokens(&mut driven), [1, 2, 3], "they were appended before");
        assert_eq!(
            driven.out.iter().map(|entry| &entry.body).collect::<Vec<_>>(),
            [&Body::Barrier]
        );
        driven.land();
        assert_eq!(tokens(&mut driven), [4]);
        assert_eq!(
            (driven.out.len(), driven.writer.in_flight(), driven.writer.unanswered()),
            (0, 0, 0)
        );
    }
}

#[test]
fn any_later_record_releases_what_is_held_and_its_end_is_the_position() {
    let mut driven = three_out();
    driven.submit(see(4, 1));
    driven.submit(see(5, 9));
    driven.submit(add(6, 6, &[5]));
    driven.submit(see(7, 9));
    for (seq, at) in (0..4).zip(1..) {
        driven.report(seq, AppendReport::At(at));
    }
    let heard = driven.heard();
    assert_eq!(
        heard[3..],
        [(6, done(accepted(1, 5, &[5]))), (4, saw(1, 5, Some(5))), (5, saw(0, 5, None))]
    );
    assert_eq!(driven.out.len(), 5, "one barrier for the last");
    driven.report(4, AppendReport::At(5));
    assert_eq!(driven.heard(), [(7, saw(0, 6, None))]);
}

#[test]
fn one_barrier_serves_all_that_are_held() {
    let mut driven = Driven::serving(Limits::default());
    for id in 1..=3 {
        driven.submit(see(id, id));
    }
    assert_eq!(driven.out.len(), 1);
    driven.submit(see(4, 4));
    driven.land();
    assert_eq!(
        (tokens(&mut driven), driven.out.len()),
        (vec![1], 1),
        "the barrier was appended for the first"
    );
    driven.land();
    assert_eq!((tokens(&mut driven), driven.out.len()), (vec![2, 3, 4], 0));
}

#[test]
fn a_held_answer_is_decided_again_when_the_outcome_of_what_it_saw_is_unknown() {
    let mut driven = three_out();
    driven.submit(see(4, 1));
    driven.report(0, AppendReport::Failed);
    for _ in 0..3 {
        driven.read_stale();
    }
    assert_eq!(driven.heard(), []);
    driven.fence();
    assert_eq!(driven.commands_out(), [1, 2, 3]);
    driven.land_all();
    assert_eq!(
        driven.heard().last(),
        Some(&(4, saw(1, 9, Some(5)))),
        "the first was appended again, under another writer"
    );
}

#[test]
fn what_was_held_before_an_own_fence_is_told_as_it_is_after_it() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(add(1, 1, &[9]));
    driven.submit(add(2, 2, &[5]));
    driven.submit(see(3, 1));
    driven.report(0, AppendReport::Refused);
    driven.fence();
    assert_eq!(
        (driven.heard(), driven.commands_out()),
        (vec![(1, Answer::Busy(Busy::Refused))], vec![2])
    );
    driven.land();
    assert_eq!((tokens(&mut driven), driven.out.len()), (vec![2], 1));
    driven.land();
    assert_eq!(
        driven.heard(),
        [(3, saw(0, 4, None))],
        "it is decided again, by what is in the log, and released by the first later record"
    );
    assert_eq!((driven.out.len(), driven.writer.unanswered()), (0, 0));
}

#[test]
fn no_barrier_is_appended_while_the_outcome_is_unknown() {
    let mut driven = three_out();
    driven.submit(see(4, 4));
    driven.report(0, AppendReport::Failed);
    let out = driven.out.clone();
    for entry in out {
        driven.read(entry);
    }
    assert_eq!(
        (driven.writer.in_flight(), driven.out.len(), tokens(&mut driven)),
        (0, 3, vec![1, 2, 3])
    );
}

#[test]
fn what_a_report_confirmed_must_be_read_where_it_was_said_to_lie() {
    let what = "an acknowledged record is void";
    let mut driven = three_out();
    driven.report(0, AppendReport::At(1));
    driven.read_stale();
    assert_eq!(driven.ended, Some(StepDown::Diverged { offset: 1, what }));
    assert_eq!(driven.heard()[1..], [2, 3].map(|token| (token, Answer::Busy(Busy::Partition))));

    let mut driven = three_out();
    driven.report(0, AppendReport::At(1));
    driven.read_damaged();
    assert_eq!(driven.ended, Some(StepDown::Diverged { offset: 1, what }));

    // The own fence after an unknown outcome comes before it.
    let mut driven = three_out();
    driven.report(0, AppendReport::At(1));
    driven.report(1, AppendReport::Failed);
    driven.caught_up();
    driven.land();
    let what = "an acknowledged record is missing below the own fence";
    assert_eq!(driven.ended, Some(StepDown::Diverged { offset: 1, what }));
}

#[test]
fn a_report_that_proves_nothing_waits_for_the_reading_until_the_deadline_and_no_longer() {
    for reported in [AppendReport::At(7), AppendReport::Somewhere] {
        let mut driven =
            Driven::serving(Limits { read_back_deadline_ms: 100, ..Limits::default() });
        driven.submit(add(1, 1, &[5]));
        driven.tick(10_000);
        driven.report(0, reported);
        driven.tick(10_099);
        // Whatever else is read meanwhile does not begin the wait anew.
        driven.read_stale();
        assert_eq!(driven.unknown.len(), 0);
        driven.tick(10_100);
        assert_eq!((driven.unknown, driven.reads_to_end), (vec![1], 2));
    }
    let mut driven = Driven::serving(Limits { read_back_deadline_ms: 100, ..Limits::default() });
    driven.submit(add(1, 1, &[5]));
    driven.tick(1_000_000);
    assert_eq!(
        driven.unknown.len(),
        0,
        "without a report there is nothing to wait for: the producer has a deadline of its own"
    );
}

#[test]
fn a_record_that_was_read_twice_counts_once() {
    let mut driven = three_out();
    driven.land();
    driven.heard();
    driven.read(record(1, 1, 0, Body::Event(event(1, 1, 1, 5))));
    assert_eq!(
        (driven.heard(), driven.writer.in_flight(), driven.reads_to_end),
        (Vec::new(), 2, 1)
    );
    driven.land_all();
    assert_eq!(tokens(&mut driven), [2, 3]);
}
