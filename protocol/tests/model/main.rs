//! The write protocol under a model checker: two owners, two commands, a crash, a log that delays, loses, or reports nothing of use.
//!
//! The checker drives the very [`protocol::writer::Writer`] that production runs. What it checks in every reachable state is in
//! [`world::World::broken_promise`]; each mutant below takes one rule away and must be caught.

mod world;

use stateright::{Checker, HasDiscoveries, Model, Property};
use world::{Action, Mutant, Setup, World};

impl Model for Setup {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        state.possible(self, actions);
    }

    fn next_state(&self, state: &World, action: Action) -> Option<World> {
        let mut next = state.clone();
        next.act(self, action);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no promise is broken", |setup: &Setup, world: &World| world.broken_promise(setup).is_none()),
            Property::sometimes("every command has come to its end", |setup: &Setup, world: &World| {
                let sent = setup.submissions.iter().filter(|count| **count > 0).count();
                world.acknowledged() == sent && world.lane_is_drained(setup)
            }),
            Property::sometimes("an owner is deposed while it has records in flight", |_, world: &World| world.deposed_in_flight),
        ]
    }
}

fn check(setup: Setup) -> (usize, Option<String>) {
    let checker = setup.clone().checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    let broken = checker.discovery("no promise is broken").map(|path| {
        let last = path.last_state().broken_promise(&setup).unwrap_or_default();
        format!("{last}\n{:?}", path.into_actions())
    });
    if broken.is_none() {
        checker.assert_any_discovery("every command has come to its end");
        checker.assert_any_discovery("an owner is deposed while it has records in flight");
    }
    (checker.unique_state_count(), broken)
}

/// Every interleaving, with a command that is sent again, and a process that dies with records on their way.
#[test]
fn two_owners_two_commands_and_a_crash_break_no_promise() {
    breaks_no_promise(Setup { faults: 0, log_records: 7, ..Setup::default() });
}

/// Every interleaving in which the log reports one thing wrongly, or loses it.
#[test]
fn two_owners_and_a_faulty_log_break_no_promise() {
    breaks_no_promise(Setup { crashes: 0, submissions: [1, 1], log_records: 7, ..Setup::default() });
}

/// Every interleaving of two commands of the lane, with a process that dies in the middle and its successor. The first command needs
/// a look-up, so that the second overtakes it.
#[test]
fn a_lane_a_crash_and_a_take_over_break_no_promise() {
    breaks_no_promise(lane());
}

/// A command that lies in the lane twice, and is sent synchronously, too, with a crash and a take-over.
#[test]
fn a_command_by_both_lanes_breaks_no_promise() {
    breaks_no_promise(Setup { submissions: [1, 0], lane: vec![0, 0], ..lane() });
}

fn lane() -> Setup {
    Setup { faults: 0, submissions: [0, 0], lane: vec![0, 1], log_records: 6, ..Setup::default() }
}

fn breaks_no_promise(setup: Setup) {
    let (states, broken) = check(setup);
    println!("{states} states");
    assert_eq!(broken, None);
    assert!(states > 10_000, "only {states} states: the model has lost its actions");
}

#[track_caller]
fn is_caught(mutant: Mutant) {
    is_caught_in(mutant, Setup::default());
}

#[track_caller]
fn is_caught_in(mutant: Mutant, setup: Setup) {
    let (_, broken) = check(Setup { mutant: Some(mutant), ..setup });
    assert!(broken.is_some(), "{mutant:?} breaks no promise that the checker knows");
}

#[test]
fn acknowledging_on_append_is_caught() {
    is_caught(Mutant::AcknowledgeOnAppend);
}

#[test]
fn leaving_out_the_offset_check_is_caught() {
    is_caught(Mutant::NoOffsetCheck);
}

#[test]
fn taking_a_report_without_offset_as_confirmation_is_caught() {
    is_caught(Mutant::SomewhereConfirms);
}

#[test]
fn a_fold_without_sequences_is_caught() {
    is_caught(Mutant::FoldIgnoresSequence);
}

#[test]
fn forgetting_outcomes_at_take_over_is_caught() {
    is_caught(Mutant::ForgetsOutcomes);
}

#[test]
fn forgetting_outcomes_of_the_lane_at_take_over_is_caught() {
    is_caught_in(Mutant::ForgetsOutcomes, lane());
}

#[test]
fn resuming_the_lane_after_the_largest_source_is_caught() {
    is_caught_in(Mutant::ResumesAfterLargestSource, lane());
}
