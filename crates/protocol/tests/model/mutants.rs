//! Writers that lack one rule each, and a world in which that breaks a promise; as small as may be,
//! for short traces.

use highwater_protocol::writer::rules::Rules;

use crate::{
    setup::{Begin, Fault, Sent, Setup, begin},
    world::small::Does,
};

pub struct Mutant {
    pub name: &'static str,
    pub setup: Setup,
}

macro_rules! without {
    ($($lacking:ident: $rule:ident in $setup:expr;)*) => {
        $(
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            struct $lacking;
            impl Rules for $lacking {
                const $rule: bool = false;
            }
        )*

        /// Each named after the rule that it lacks.
        pub fn of_the_writer() -> Vec<Mutant> {
            vec![
                $(Mutant {
                    name: stringify!($rule),
                    setup: Setup { begin: begin::<$lacking> as Begin, ..$setup },
                }),*
            ]
        }
    };
}

without! {
    OnAppend: WAITS_FOR_LOG in alone(vec![create()]);
    Unfenced: FENCES in Setup { fences: 2, ..alone(vec![create().times(2)]) };
    AnyOffset: ANCHOR_PREDICTS in Setup::calm(vec![create()], 4);
    NoOffset: SOMEWHERE_PROVES_NOTHING in Setup {
        faults: 1,
        kinds: &[Fault::Somewhere],
        ..Setup::calm(vec![create()], 4)
    };
    OutOfSequence: CONFIRMS_IN_SEQUENCE in Setup {
        faults: 1,
        kinds: &[Fault::Lost],
        ..Setup::calm(vec![create(), other()], 5)
    };
    Unheld: HOLDS in Setup::calm(vec![create(), add()], 5);
    HeldForAny: HOLDS_FOR_LATER_RECORD in Setup::calm(vec![create(), other(), add()], 6);
    Holes: HOLE_STOPS in Setup {
        faults: 1,
        kinds: &[Fault::Lost],
        ..alone(vec![create(), other()])
    };
    Undeposed: FOREIGN_FENCE_DEPOSES in Setup::calm(vec![create()], 5);
    LostBelowFence: ACKNOWLEDGED_IS_READ in crate::setups::lying();
    Voided: ACKNOWLEDGED_IS_VALID in crate::setups::lying();
    KeptAhead: ROLLS_BACK in unknown(vec![create()]);
    ConfirmedVersion: EXPECTS_IN_FLIGHT in alone(vec![create(), add().expecting(&[0])]);
    AnyMismatchIsFinal: FINAL_ONLY_BELOW in Setup::calm(
        vec![create(), add(), Sent::new(3, 1, Does::Add).expecting(&[2]).told_new()],
        5,
    );
    NoLookUp: LOOKS_UP in Setup {
        snapshots: 1,
        crashes: 1,
        ..Setup::calm(vec![create().times(2), Sent::new(1, 1, Does::Add)], 5)
    };
    FoundAndForgotten: FOUND_ANSWERS in Setup {
        snapshots: 1,
        crashes: 1,
        ..Setup::calm(vec![create().times(2)], 5)
    };
    AnyFingerprint: COMPARES_FINGERPRINTS in alone(vec![create(), create().otherwise(7)]);
    AnyFollower: COMPARES_FOLLOWERS in alone(vec![create(), create().otherwise(7)]);
    AggregatesGoEarly: AGGREGATES_STAY_ABOVE_CHECKPOINT in evicting(vec![create(), add()]);
    OutcomesGoEarly: OUTCOMES_STAY_ABOVE_CHECKPOINT in evicting(vec![create().times(2)]);
    GoesInUse: STAYS_WHILE_IN_USE in Setup {
        cached: 1,
        ..evicting(vec![
            Sent::new(0, 1, Does::Create(1)),
            Sent::new(1, 1, Does::Add),
            Sent::new(2, 2, Does::Create(1)),
        ])
    };
    NoEvictionWatermark: EVICTION_WATERMARK in Setup {
        falls: 1,
        ..evicting(vec![create().times(2)])
    };
    FreshAgain: QUEUED_AGAIN_MAY_BE_SEEN in Setup {
        command_queue: vec![0],
        load_failures: 1,
        ticks: 1,
        ..evicting(vec![Sent::new(0, 1, Does::Create(1)).told_fresh()])
    };
    FreshThoughSent: SENT_MEANWHILE_MAY_BE_SEEN in Setup {
        command_queue: vec![1, 0],
        load_failures: 1,
        ticks: 1,
        ..evicting(vec![
            Sent::new(0, 1, Does::Create(1)).told_fresh(),
            Sent::new(1, 1, Does::Add).times(0).told_fresh(),
        ])
    };
    FreshTwice: TWICE_QUEUED_MAY_BE_SEEN in Setup {
        command_queue: vec![0, 0],
        snapshots: 2,
        ticks: 1,
        max_tail: 1,
        queue: 1,
        ..evicting(vec![Sent::new(0, 1, Does::Create(2)).times(0).told_fresh()])
    };
    TimesOfClocks: TIMES_RISE in Setup {
        clocks: [2; 6],
        ..alone(vec![create(), other().behind(1)])
    };
    TimesOfOwners: TIMES_RISE_OVER_TAKE_OVERS in Setup {
        clocks: [2, 1, 0, 0, 0, 0],
        crashes: 1,
        ..Setup::calm(vec![create(), other()], 5)
    };
    DrainedIsTaken: DRAINED_IS_DECIDED in Setup {
        command_queue: vec![0, 1],
        ..alone(vec![Sent::new(0, 1, Does::Create(1)).times(0), other().times(0)])
    };
    DrainedThoughLost: FENCE_UNDECIDES in Setup {
        command_queue: vec![0, 1],
        ..unknown(vec![create().times(0), other().times(0)])
    };
}

/// What readers may lack.
pub fn of_readers() -> Vec<Mutant> {
    let hole = Setup { faults: 1, kinds: &[Fault::Lost], ..alone(vec![create(), add()]) };
    let taken_over =
        || Setup { snapshots: 1, crashes: 1, ..Setup::calm(vec![create().times(2)], 5) };
    vec![
        Mutant {
            name: "a_fold_that_ignores_sequences",
            setup: Setup { ignores_sequence: true, ..hole },
        },
        Mutant {
            name: "the_command_queue_after_the_largest_source",
            setup: Setup { resumes_after_source: true, ..crate::setups::command_queue() },
        },
        Mutant {
            name: "outcomes_forgotten",
            setup: Setup { forgets_outcomes: true, ..taken_over() },
        },
        Mutant {
            name: "outcomes_of_queued_commands_forgotten",
            setup: Setup {
                forgets_outcomes: true,
                command_queue: vec![0, 0],
                ..taken_over().without_callers()
            },
        },
    ]
}

fn create() -> Sent {
    Sent::new(0, 1, Does::Create(1)).told_new()
}

fn add() -> Sent {
    Sent::new(1, 1, Does::Add).told_new()
}

fn other() -> Sent {
    Sent::new(2, 2, Does::Create(1)).told_new()
}

/// One owner.
fn alone(commands: Vec<Sent>) -> Setup {
    Setup { starts: 1, fences: 1, ..Setup::calm(commands, 4) }
}

/// One owner, and a log that loses two records.
fn unknown(commands: Vec<Sent>) -> Setup {
    Setup { starts: 1, fences: 2, faults: 2, kinds: &[Fault::Lost], ..Setup::calm(commands, 5) }
}

/// One owner that keeps nothing that `snapshots` has.
fn evicting(commands: Vec<Sent>) -> Setup {
    Setup { snapshots: 1, hears: true, ..alone(commands) }
}
