//! Take-over, unknown outcomes, and the end of a writer.

use highwater_protocol::{
    entry::{Body, EventBody},
    writer::{Answer, AppendReport, Busy, Expected, Input, Limits, Outcome, StepDown, Submission},
};

use crate::{
    harness::{Driven, fence, record},
    small::{
        Do, NEWER, Small, Why, accepted, add, cold, command, done, event, expecting, from_queue,
        saw, see,
    },
};

fn one_out() -> Driven {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(add(1, 1, &[5]));
    driven
}

#[test]
fn a_fence_has_the_next_epoch_and_the_writer_serves_once_it_is_read() {
    let mut driven = Driven::new(Limits::default());
    driven.read(fence(1, 8));
    driven.read(fence(2, 9));
    driven.submit(add(1, 1, &[5]));
    driven.caught_up();
    assert_eq!(driven.out, [fence(3, 1)]);
    driven.report_fence(1, AppendReport::At(2));
    assert_eq!(
        (driven.writer.serving(), driven.out.len()),
        (None, 1),
        "a report is no proof that it is valid"
    );
    driven.land();
    assert_eq!((driven.writer.serving(), driven.fences.clone()), (Some((3, 1)), vec![(3, 1, 2)]));
    assert_eq!(driven.out, [record(3, 1, 0, Body::Event(event(1, 1, 1, 5)))]);
}

#[test]
fn being_caught_up_means_nothing_unless_it_was_asked_for() {
    let mut driven = one_out();
    driven.step(Input::CaughtUp { writer: 7 });
    assert_eq!(driven.commands_out(), [1]);
    let mut driven = Driven::new(Limits::default());
    driven.caught_up();
    driven.step(Input::CaughtUp { writer: 7 });
    assert_eq!(driven.out, [fence(1, 1)]);
}

#[test]
fn a_failed_fence_is_followed_by_another_and_either_may_be_the_one() {
    for (valid, writer) in [(1, 1), (2, 2)] {
        let mut driven = Driven::new(Limits::default());
        driven.caught_up();
        driven.report_fence(1, AppendReport::Failed);
        assert_eq!(driven.reads_to_end, 2);
        driven.report_fence(1, AppendReport::Failed);
        assert_eq!(driven.reads_to_end, 2, "it is known already");
        driven.caught_up();
        driven.read(fence(1, valid));
        assert_eq!((driven.fences, driven.ended), (vec![(1, writer, 0)], None));
    }
}

#[test]
fn a_failed_fence_that_is_read_before_the_next_is_adopted() {
    let mut driven = Driven::new(Limits::default());
    driven.caught_up();
    driven.report_fence(1, AppendReport::Failed);
    driven.land();
    assert_eq!((driven.fences, driven.ended), (vec![(1, 1, 0)], None));
}

#[test]
fn only_a_failed_fence_of_its_own_needs_another() {
    let mut driven = Driven::new(Limits::default());
    driven.report_fence(1, AppendReport::Failed);
    driven.caught_up();
    for (writer, reported) in [
        (1, AppendReport::At(4)),
        (1, AppendReport::Somewhere),
        (9, AppendReport::Failed),
        (9, AppendReport::At(0)),
    ] {
        driven.report_fence(writer, reported);
        assert_eq!(driven.reads_to_end, 1, "{writer}, {reported:?}");
    }
    driven.land();
    driven.report_fence(1, AppendReport::Failed);
    assert_eq!((driven.writer.serving(), driven.reads_to_end), (Some((1, 1)), 1));
}

#[test]
fn a_fence_that_was_never_sent_is_not_its_own() {
    let mut driven = Driven::new(Limits::default());
    driven.caught_up();
    driven.report_fence(1, AppendReport::Unsent);
    assert_eq!(driven.reads_to_end, 2);
    driven.caught_up();
    driven.read(fence(1, 1));
    assert_eq!(driven.ended, Some(StepDown::Deposed { epoch: 1 }));
}

#[test]
fn a_fence_that_was_never_sent_leaves_the_reading_where_it_was() {
    let mut driven = Driven::new(Limits::default());
    driven.caught_up();
    driven.report_fence(1, AppendReport::Unsent);
    driven.read(fence(1, 9));
    assert_eq!(driven.ended, None, "history, as nothing of its own is out");
    driven.fence();
    assert_eq!(driven.fences, [(2, 2, 1)]);
}

#[test]
fn a_foreign_fence_ends_a_writer_that_has_a_fence_out() {
    let mut driven = Driven::new(Limits::default());
    driven.caught_up();
    driven.read(fence(1, 9));
    assert_eq!(driven.ended, Some(StepDown::Deposed { epoch: 1 }));

    let mut driven = Driven::new(Limits::default());
    driven.caught_up();
    driven.report_fence(1, AppendReport::Failed);
    driven.read(fence(1, 9));
    assert_eq!(driven.ended, Some(StepDown::Deposed { epoch: 1 }));
}

#[test]
fn a_foreign_fence_ends_a_writer_that_had_served_before_its_next_fence_too() {
    let mut driven = one_out();
    driven.report(0, AppendReport::Failed);
    driven.read(fence(2, 9));
    assert_eq!(driven.ended, Some(StepDown::Deposed { epoch: 2 }));
    assert_eq!(driven.heard(), [(1, Answer::Moved)]);
}

#[test]
fn after_an_unknown_outcome_what_is_in_the_log_is_done_and_the_rest_is_decided_again() {
    let mut driven = one_out();
    driven.submit(add(2, 1, &[6]));
    driven.submit(add(3, 1, &[7]));
    driven.report(2, AppendReport::Failed);
    driven.land();
    assert_eq!(driven.heard(), [(1, done(accepted(1, 2, &[5])))]);
    driven.submit(add(4, 1, &[8]));
    assert_eq!(driven.out.len(), 2, "nothing is decided meanwhile");
    driven.fence();
    assert_eq!((driven.commands_out(), driven.versions_out()), (vec![2, 3, 4], vec![2, 3, 4]));
    assert_eq!(
        driven.out.iter().map(|entry| (entry.epoch, entry.writer, entry.seq)).collect::<Vec<_>>(),
        [(2, 2, Some(0)), (2, 2, Some(1)), (2, 2, Some(2))]
    );
    driven.report(0, AppendReport::At(3));
    assert_eq!(driven.heard(), [(2, done(accepted(2, 4, &[6])))], "the anchor is the new fence");
    driven.land_all();
    assert_eq!(driven.heard(), [(3, done(accepted(3, 5, &[7]))), (4, done(accepted(4, 6, &[8])))]);
}

#[test]
fn what_is_decided_again_keeps_the_sequence_it_came_in() {
    let mut driven = Driven::serving(Limits::default());
    for (token, id) in (1..).zip([30, 20, 10]) {
        driven.submit(Submission { token, ..add(id, 1, &[5]) });
    }
    driven.report(0, AppendReport::Failed);
    driven.fence();
    assert_eq!(driven.commands_out(), [30, 20, 10]);
}

#[test]
fn a_load_that_is_under_way_outlives_a_fence() {
    let mut driven = one_out();
    driven.submit(cold(add(2, 2, &[5])));
    assert_eq!(driven.asked(), [(vec![2], vec![2])]);
    driven.report(0, AppendReport::Failed);
    driven.fence();
    assert_eq!(
        (driven.asked(), driven.commands_out()),
        (vec![], vec![1]),
        "it is not asked for twice"
    );
    driven.loaded_nothing(0);
    assert_eq!((driven.asked(), driven.commands_out()), (vec![], vec![1, 2]), "and decided once");
}

#[test]
fn the_time_of_events_never_runs_backwards() {
    let at = |id, at| Submission { at, ..add(id, id, &[5]) };
    let times = |driven: &Driven| {
        let time = |body: &Body<Small>| {
            if let Body::Event(EventBody { time, .. }) = body { *time } else { 0 }
        };
        driven.out.iter().map(|entry| time(&entry.body)).collect::<Vec<u64>>()
    };
    // After a take-over: the log's last event is later than the clock.
    let mut driven = Driven::new(Limits::default());
    driven.read(fence(1, 9));
    driven.read(record(1, 9, 0, Body::Event(EventBody { time: 50, ..event(100, 100, 1, 5) })));
    driven.submit(at(1, 40));
    driven.fence();
    driven.submit(at(2, 60));
    driven.submit(at(3, 55));
    assert_eq!(times(&driven), [50, 60, 60]);
    driven.submit(Submission { at: 10, ..see(4, 4) });
    driven.land_all();
    let saw_at = |at| Outcome::Rejected { version: 0, end: 7, reason: Why::Saw { sum: None, at } };
    assert_eq!(
        driven.heard().last(),
        Some(&(4, done(saw_at(60)))),
        "a rule is asked at the time that its events would have"
    );
    // After an unknown outcome.
    driven.submit(at(5, 20));
    driven.report(4, AppendReport::Failed);
    driven.fence();
    assert_eq!(times(&driven), [60]);
}

#[test]
fn the_clock_of_ticks_does_not_step_back() {
    let mut driven = Driven::serving(Limits::default());
    driven.tick(100);
    driven.tick(50);
    driven.submit(Submission { deadline_ms: 99, ..add(1, 1, &[5]) });
    assert_eq!(driven.heard(), [(1, Answer::Busy(Busy::Deadline))]);
}

#[test]
fn who_stops_confirms_what_is_out_and_sends_the_rest_to_the_next() {
    let mut driven = one_out();
    driven.submit(see(2, 1));
    driven.submit(cold(add(3, 3, &[5])));
    driven.step(Input::Stop);
    assert_eq!(driven.heard(), [(3, Answer::Moved)], "nothing of it is out");
    driven.submit(add(4, 4, &[5]));
    assert_eq!((driven.heard(), driven.ended.clone()), (vec![(4, Answer::Moved)], None));
    driven.loaded_nothing(0);
    driven.land();
    assert_eq!(driven.heard(), [(1, done(accepted(1, 2, &[5])))]);
    assert_eq!(
        (driven.writer.serving(), driven.ended.clone()),
        (Some((1, 1)), None),
        "one is held, and a barrier is out for it"
    );
    driven.land();
    assert_eq!(
        (driven.heard(), driven.ended),
        (vec![(2, saw(1, 3, Some(5)))], Some(StepDown::Drained))
    );
}

#[test]
fn a_writer_that_stops_waits_for_records_that_no_caller_waits_for() {
    let mut driven = Driven::serving(Limits { command_queue_silence_ms: 0, ..Limits::default() });
    driven.step(Input::Queued { offset: 0, submission: None });
    assert_eq!(driven.drained_out(), [Some(1)]);
    driven.step(Input::Stop);
    assert_eq!(driven.ended, None);
    driven.land();
    assert_eq!(driven.ended, Some(StepDown::Drained));
}

#[test]
fn a_writer_that_stops_waits_for_a_follower_of_what_left_no_outcome_also_while_nothing_is_out() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(see(1, 1));
    driven.submit(Submission { token: 2, ..cold(see(1, 1)) });
    driven.step(Input::Stop);
    driven.land();
    assert_eq!(
        (driven.heard(), driven.asked()),
        (vec![(1, saw(0, 2, None))], vec![(vec![1], vec![1])])
    );
    assert_eq!(
        (driven.writer.in_flight(), driven.ended.clone()),
        (0, None),
        "the second is looked up first"
    );
    driven.loaded_nothing(0);
    driven.land();
    assert_eq!(
        (driven.heard(), driven.ended),
        (vec![(2, saw(0, 3, None))], Some(StepDown::Drained))
    );
}

#[test]
fn who_stops_with_nothing_out_is_done_at_once() {
    for mut driven in [Driven::new(Limits::default()), Driven::serving(Limits::default())] {
        driven.step(Input::Stop);
        assert_eq!(driven.ended, Some(StepDown::Drained));
    }
}

#[test]
fn who_stops_while_an_outcome_is_unknown_leaves_it_to_the_next() {
    let mut driven = one_out();
    driven.report(0, AppendReport::Failed);
    driven.step(Input::Stop);
    assert_eq!((driven.heard(), driven.ended), (vec![(1, Answer::Moved)], Some(StepDown::Drained)));

    let mut driven = one_out();
    driven.step(Input::Stop);
    assert_eq!(driven.ended, None);
    driven.report(0, AppendReport::Failed);
    assert_eq!(
        (driven.heard(), driven.ended, driven.reads_to_end),
        (vec![(1, Answer::Moved)], Some(StepDown::Drained), 1)
    );
}

#[test]
fn who_drains_still_notices_that_a_record_is_not_read_back() {
    let mut driven = one_out();
    driven.report(0, AppendReport::Somewhere);
    driven.step(Input::Stop);
    driven.tick(Limits::default().read_back_deadline_ms);
    assert_eq!((driven.heard(), driven.ended), (vec![(1, Answer::Moved)], Some(StepDown::Drained)));
}

#[test]
fn while_the_outcome_is_unknown_no_deadline_of_the_reading_passes_again() {
    let mut driven = one_out();
    driven.report(0, AppendReport::Somewhere);
    driven.tick(40_000);
    driven.tick(90_000);
    assert_eq!((driven.unknown, driven.reads_to_end), (vec![1], 2));
}

#[test]
fn at_the_end_every_caller_is_answered_and_no_queued_command() {
    let mut driven = one_out();
    driven.queued(from_queue(0, add(2, 2, &[5])));
    driven.submit(add(1, 1, &[5]));
    driven.submit(see(3, 1));
    driven.submit(cold(add(4, 4, &[5])));
    driven.submit(Submission { token: 11, ..add(2, 2, &[5]) });
    driven.read(fence(2, 9));
    assert_eq!(driven.heard(), [1, 1, 11, 3, 4].map(|token| (token, Answer::Moved)));
}

#[test]
fn what_cannot_be_read_is_not_decided_on_after_a_fence_either() {
    let mut driven = Driven::new(Limits::default());
    driven.read(fence(1, 9));
    driven.read(record(1, 9, 0, Body::Event(event(100, 1, 1, NEWER))));
    driven.fence();
    driven.submit(add(1, 1, &[5]));
    assert_eq!(driven.heard(), [(1, Answer::Unreadable)]);
    driven.submit(expecting(Expected::Exists, command(2, 1, Do::Change(vec![5]))));
    assert_eq!((driven.heard(), driven.out.len()), (vec![(2, Answer::Unreadable)], 0));
}
