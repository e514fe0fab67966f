//! Rules that are taken away by name, where the writer has code of its own for that: the model
//! check asks which promise each of them keeps, and would learn nothing from a rule that stays.

use highwater_protocol::writer::{AppendReport, Limits, rules::Rules};

use crate::{
    harness::{Driven, fence},
    small::{accepted, add, done},
};

macro_rules! without {
    ($($lacking:ident: $rule:ident;)*) => {
        $(
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            struct $lacking;
            impl Rules for $lacking {
                const $rule: bool = false;
            }
        )*
    };
}

without! {
    OnAppend: WAITS_FOR_LOG;
    OutOfSequence: CONFIRMS_IN_SEQUENCE;
    NoOffset: SOMEWHERE_PROVES_NOTHING;
    Undeposed: FOREIGN_FENCE_DEPOSES;
    AggregatesGoEarly: AGGREGATES_STAY_ABOVE_CHECKPOINT;
    OutcomesGoEarly: OUTCOMES_STAY_ABOVE_CHECKPOINT;
}

/// The commands 1, 2, 3 on aggregates of the same numbers are out; nothing is kept without need.
fn three_out<R: Rules>() -> Driven<R> {
    let mut driven = Driven::<R>::serving_by(Limits {
        cached_aggregates: 0,
        cached_outcomes: 0,
        ..Limits::default()
    });
    for id in 1..=3 {
        driven.submit(add(id, id, &[5]));
    }
    driven
}

#[test]
fn who_does_not_wait_for_the_log_acknowledges_on_the_append() {
    let mut driven = three_out::<OnAppend>();
    assert_eq!(driven.heard(), [1, 2, 3].map(|id| (id, done(accepted(1, id + 1, &[5])))));
    assert_eq!((driven.writer.in_flight(), driven.out.len()), (0, 3));
}

#[test]
fn who_does_not_confirm_in_sequence_takes_a_report_for_all_before_it_and_none_behind_it() {
    let mut driven = three_out::<OutOfSequence>();
    driven.report(1, AppendReport::At(2));
    assert_eq!(driven.heard(), [1, 2].map(|id| (id, done(accepted(1, id + 1, &[5])))));
    assert_eq!(driven.writer.in_flight(), 1);
}

#[test]
fn who_trusts_a_report_without_an_offset_acknowledges_its_record_and_no_other() {
    let mut driven = three_out::<NoOffset>();
    driven.report(0, AppendReport::Somewhere);
    assert_eq!(
        (driven.heard(), driven.writer.in_flight()),
        (vec![(1, done(accepted(1, 2, &[5])))], 2)
    );
}

#[test]
fn who_is_not_deposed_by_the_fence_of_another_goes_on() {
    let mut driven = three_out::<Undeposed>();
    driven.read(fence(2, 9));
    assert_eq!((driven.ended.clone(), driven.writer.serving()), (None, Some((1, 1))));
    driven.land();
    assert_eq!(
        (driven.heard(), driven.unknown),
        (vec![], vec![]),
        "what it appended is void, and as good as the next of the other: no hole"
    );
}

#[test]
fn what_goes_early_goes_one_record_too_early() {
    // The records of the commands 1, 2, 3 lie at 1, 2, 3: a checkpoint of 2 is before the second.
    let mut driven = three_out::<AggregatesGoEarly>();
    driven.land_all();
    driven.checkpoint(2);
    assert_eq!(driven.writer.aggregates(), 1);
    let mut driven = three_out::<OutcomesGoEarly>();
    driven.land_all();
    driven.heard();
    driven.checkpoint(2);
    assert_eq!(driven.writer.aggregates(), 2);
    for id in 1..=3 {
        driven.submit(add(id, id, &[5]));
    }
    let remembered: Vec<_> = driven.heard().into_iter().map(|(token, _)| token).collect();
    assert_eq!(remembered, [3]);
}
