//! What is answered without a decision: past its deadline, or of a size that the log refuses.

use highwater_protocol::writer::{Answer, AppendReport, Busy, Input, Limits, Submission};

use crate::{
    harness::Driven,
    intake::again,
    small::{accepted, add, cold, done, from_queue},
};

#[test]
fn what_waits_past_its_deadline_is_given_up_and_what_is_in_flight_is_not() {
    let by = |deadline_ms, submission| Submission { deadline_ms, ..submission };
    let mut driven =
        Driven::serving(Limits { in_flight_records: 1, load_batch: 1, ..Limits::default() });
    driven.submit(by(10, cold(add(4, 4, &[5]))));
    driven.submit(by(10, cold(add(5, 5, &[5]))));
    driven.submit(by(11, cold(add(6, 6, &[5]))));
    driven.submit(by(10, add(1, 1, &[5])));
    driven.submit(by(10, add(2, 2, &[5])));
    driven.submit(by(11, add(3, 3, &[5])));
    driven.tick(10);
    assert_eq!(driven.heard(), [], "not before it has passed");
    driven.tick(11);
    assert_eq!(driven.heard(), [2, 5].map(|token| (token, Answer::Busy(Busy::Deadline))));
    assert_eq!((driven.asked(), driven.commands_out()), (vec![(vec![4], vec![4])], vec![1]));
    driven.loaded_nothing(0);
    assert_eq!(
        (driven.heard(), driven.asked()),
        (vec![], vec![(vec![6], vec![6])]),
        "of two that wait to be looked up one is left"
    );
    driven.land();
    assert_eq!(
        driven.heard(),
        [(1, done(accepted(1, 2, &[5]))), (4, Answer::Busy(Busy::Deadline))]
    );
    assert_eq!(driven.commands_out(), [3]);
}

#[test]
fn a_follower_of_a_command_that_is_given_up_has_a_deadline_of_its_own() {
    let mut driven = Driven::new(Limits::default());
    driven.submit(Submission { deadline_ms: 10, ..add(1, 1, &[5]) });
    driven.submit(again(2, add(1, 1, &[5])));
    driven.tick(11);
    assert_eq!(driven.heard(), [(1, Answer::Busy(Busy::Deadline))]);
    driven.fence();
    driven.land_all();
    assert_eq!(driven.heard(), [(2, done(accepted(1, 2, &[5])))]);
}

#[test]
fn a_queued_command_is_never_given_up() {
    let mut driven = Driven::serving(Limits { in_flight_records: 1, ..Limits::default() });
    driven.submit(add(1, 1, &[5]));
    driven.queued(from_queue(0, Submission { deadline_ms: 10, ..add(2, 2, &[5]) }));
    driven.tick(11);
    driven.land_all();
    driven.step(Input::Tick { now_ms: 12 });
    driven.land_all();
    assert_eq!(
        (driven.heard(), driven.writer.command_queue_open()),
        (vec![(1, done(accepted(1, 2, &[5])))], 0)
    );
}

#[test]
fn what_the_log_refused_is_told_after_the_fence_and_its_size_is_not_sent_again_for_a_while() {
    let mut driven = Driven::serving(Limits { refused_ms: 100, ..Limits::default() });
    driven.tick(1_000);
    driven.submit(add(1, 1, &[5]));
    driven.submit(add(2, 2, &[7, 50, 7]));
    driven.report(2, AppendReport::Refused);
    assert_eq!((driven.heard(), driven.unknown.clone()), (vec![], vec![4]));
    driven.fence();
    assert_eq!(
        (driven.heard(), driven.commands_out()),
        (vec![(2, Answer::Busy(Busy::Refused))], vec![1])
    );
    driven.tick(1_099);
    driven.submit(add(3, 3, &[49]));
    driven.submit(add(4, 4, &[7, 50]));
    assert_eq!(
        (driven.heard(), driven.commands_out()),
        (vec![(4, Answer::Busy(Busy::Refused))], vec![1, 3])
    );
    driven.tick(1_100);
    driven.submit(add(5, 5, &[50]));
    assert_eq!(driven.commands_out(), [1, 3, 5]);
}

#[test]
fn of_records_that_are_refused_together_the_largest_counts_and_later_the_last() {
    let mut driven = Driven::serving(Limits::default());
    for (id, bytes) in [(1, 20), (2, 50), (3, 30)] {
        driven.submit(add(id, id, &[bytes]));
    }
    for seq in 0..3 {
        driven.report(seq, AppendReport::Refused);
    }
    driven.fence();
    assert_eq!(driven.heard(), [1, 2, 3].map(|token| (token, Answer::Busy(Busy::Refused))));
    driven.submit(add(4, 4, &[49]));
    driven.submit(add(5, 5, &[50]));
    assert_eq!(
        (driven.heard(), driven.commands_out()),
        (vec![(5, Answer::Busy(Busy::Refused))], vec![4])
    );
    driven.submit(add(6, 6, &[40]));
    driven.report(1, AppendReport::Refused);
    driven.fence();
    driven.heard();
    driven.submit(add(7, 7, &[39]));
    driven.submit(add(8, 8, &[40]));
    assert_eq!(
        (driven.heard(), driven.commands_out()),
        (vec![(8, Answer::Busy(Busy::Refused))], vec![7])
    );
}

#[test]
fn what_was_refused_twice_in_a_row_or_long_confirmed_is_put_down_to_no_other() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(add(1, 1, &[50]));
    driven.submit(add(2, 2, &[5]));
    driven.land();
    driven.report(0, AppendReport::Refused);
    driven.report(9, AppendReport::Refused);
    driven.land();
    driven.submit(add(3, 3, &[60]));
    assert_eq!(driven.commands_out(), [3]);
}
