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
            Property::sometimes("both commands are acknowledged", |_, world: &World| world.acknowledged() == 2),
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
        checker.assert_any_discovery("both commands are acknowledged");
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

fn breaks_no_promise(setup: Setup) {
    let (states, broken) = check(setup);
    println!("{states} states");
    assert_eq!(broken, None);
    assert!(states > 10_000, "only {states} states: the model has lost its actions");
}

#[track_caller]
fn is_caught(mutant: Mutant) {
    let (_, broken) = check(Setup { mutant: Some(mutant), ..Setup::default() });
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
