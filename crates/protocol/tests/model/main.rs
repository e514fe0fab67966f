//! The write protocol under a model checker: owners that crash, stop and take over from each other,
//! a log that delays, loses, doubles, or reports nothing of use, `snapshots` that are late or fall
//! back, clients that send again and expect versions.
//!
//! The checker drives the very [`highwater_protocol::writer::Writer`] that production runs.
//!
//! | module | what it owns |
//! |---|---|
//! | `setup` | how large a world is, and what may happen in it |
//! | `world` | the states, what can happen in each, and what happens then |
//! | `world::log` | the promises about what lies in the log |
//! | `world::client` | the promises about answers: linearizability |
//! | `world::owner` | an owner, and which reports may come to it when |
//! | `setups` | the worlds that are walked through whole |
//! | `world::reduced` | what makes no difference in the largest of them |
//! | `covered` | whether it makes none |
//! | `cost` | what a world costs |
//! | `walk` | random walks through what is larger |
//! | `mutants` | writers that lack one rule each, and how each is found out |

mod cost;
mod covered;
mod mutants;
mod setup;
mod setups;
mod trace;
mod walk;
mod world;

use std::time::{Duration, Instant};

use setup::{Fault, Setup};
use stateright::{Checker, HasDiscoveries, Model, Property};
use world::{Action, World};

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
            Property::always(PROMISES, |setup: &Setup, world: &World| {
                world.broken_promise(setup).is_none()
            }),
            Property::sometimes(END, |setup: &Setup, world: &World| world.is_at_its_end(setup)),
            Property::sometimes(ZOMBIE, |_, world: &World| world.has_a_zombie()),
        ]
    }
}

const PROMISES: &str = "no promise is broken";
const END: &str = "every command has come to its end";
const ZOMBIE: &str = "an owner with records in flight is deposed and does not know";

/// Walks through every state within the bounds, if there is time, and says how far that went: the
/// states, and whether they are all.
#[expect(clippy::disallowed_methods, reason = "says how long it took")]
fn explores(name: &str, setup: &Setup, within: Duration) -> (usize, bool) {
    let (began, cost) = (Instant::now(), cost::Cost::from_now());
    let checker = setup
        .clone()
        .checker()
        .threads(2)
        .timeout(within)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
        .join();
    let took = began.elapsed();
    let (states, exhausted) = (checker.unique_state_count(), took < within);
    println!("{name}: {}", setup.bounds());
    println!(
        "{name}: {states} states, {} steps, {} s, {cost}, exhausted: {exhausted}",
        checker.state_count(),
        took.as_secs()
    );
    if let Some(path) = checker.discovery(PROMISES) {
        let broken = trace::told(setup, &path.into_actions());
        panic!("{name}: {broken}");
    }
    if exhausted {
        checker.assert_any_discovery(END);
        checker.assert_any_discovery(ZOMBIE);
    }
    (states, exhausted)
}

/// A world that is small enough, and not so small that it has lost its actions.
fn exhausts(name: &str, setup: &Setup) {
    let cost = cost::Cost::from_now();
    let (states, exhausted) = explores(name, setup, PATIENCE);
    assert!(exhausted && states > 10_000, "{name}: {states} states");
    assert!(cost.seconds() < SECONDS_OF_PROCESSORS, "{name}: {cost}");
}

const MINUTE: Duration = Duration::from_secs(60);
/// What a world may cost: three minutes, whatever else the machine does meanwhile.
const SECONDS_OF_PROCESSORS: u64 = 180;
/// In which a machine that does other things besides must give it those.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// With a command that is sent again, and a process that dies with records on their way.
#[test]
fn two_owners_two_commands_and_a_crash_break_no_promise() {
    exhausts("crash", &setups::two_commands());
}

/// The log reports one thing wrongly, or loses it.
#[test]
fn two_owners_and_a_faulty_log_break_no_promise() {
    exhausts("faults", &setups::faulty());
}

#[test]
fn eviction_and_snapshots_that_fall_back_break_no_promise() {
    exhausts("eviction", &setups::evicting());
}

#[test]
fn stopping_in_the_middle_and_loads_that_fail_break_no_promise() {
    exhausts("stop", &setups::stopping());
}

#[test]
fn expected_versions_break_no_promise() {
    exhausts("expected", &setups::expecting());
}

/// Every interleaving of two queued commands, with a process that dies in the middle and its
/// successor.
#[test]
fn a_command_queue_a_crash_and_a_take_over_break_no_promise() {
    exhausts("queue", &setups::command_queue());
}

/// A command that lies in the command queue twice, and is sent synchronously, too, with a crash and
/// a take-over.
#[test]
fn a_command_sent_both_ways_breaks_no_promise() {
    exhausts("both ways", &setups::both_ways());
}

/// One that is in the command queue is sent synchronously, too.
#[test]
fn a_command_queue_and_a_caller_with_the_same_key_break_no_promise() {
    exhausts("command queue and caller", &setups::command_queue_and_caller());
}

#[test]
#[ignore = "bin/long: minutes"]
fn three_owners_three_fences_and_a_crash_break_no_promise() {
    exhausts("three owners", &setups::three_owners().reduced());
}

/// A run has one fault at most, so these are, one by one, the world in which all of them can
/// happen.
#[test]
#[ignore = "bin/long: minutes"]
fn three_fences_a_crash_and_a_lost_record_break_no_promise() {
    exhausts("three fences, lost", &setups::three_fences(&[Fault::Lost]).reduced());
}

#[test]
#[ignore = "bin/long: minutes"]
fn three_fences_a_crash_and_an_unsent_record_break_no_promise() {
    exhausts("three fences, unsent", &setups::three_fences(&[Fault::Unsent]).reduced());
}

#[test]
#[ignore = "bin/long: minutes"]
fn three_fences_a_crash_and_a_record_that_is_said_to_have_failed_break_no_promise() {
    exhausts("three fences, failed", &setups::three_fences(&[Fault::Failed]).reduced());
}

#[test]
#[ignore = "bin/long: minutes"]
fn three_fences_a_crash_and_a_report_without_an_offset_break_no_promise() {
    exhausts("three fences, somewhere", &setups::three_fences(&[Fault::Somewhere]).reduced());
}

#[test]
#[ignore = "bin/long: minutes"]
fn three_fences_a_crash_and_a_record_that_comes_twice_break_no_promise() {
    exhausts("three fences, twice", &setups::three_fences(&[Fault::Twice]).reduced());
}

#[test]
#[ignore = "bin/long: minutes"]
fn eviction_over_three_fences_breaks_no_promise() {
    exhausts("eviction, three fences", &setups::evicting_with_three_fences().reduced());
}

#[test]
#[ignore = "bin/long: minutes"]
fn a_command_queue_and_two_crashes_break_no_promise() {
    exhausts("command queue, two crashes", &setups::command_queue_and_two_crashes().reduced());
}

#[test]
#[ignore = "bin/long: minutes"]
fn a_command_sent_both_ways_and_two_crashes_break_no_promise() {
    exhausts("both ways, two crashes", &setups::both_ways_and_two_crashes().reduced());
}

/// What `world::reduced` says makes no difference makes none, in worlds that are small enough to be
/// walked through without it.
#[test]
#[ignore = "bin/long: minutes"]
fn the_reduced_worlds_lack_no_step() {
    for (name, setup) in [
        ("crash", setups::two_commands()),
        ("faults", setups::faulty()),
        ("eviction", setups::evicting()),
        ("stop", setups::stopping()),
        ("expected", setups::expecting()),
        ("queue", setups::command_queue()),
        ("both ways", setups::both_ways()),
    ] {
        let states =
            covered::is_covered(&setup).unwrap_or_else(|uncovered| panic!("{name}: {uncovered}"));
        println!("{name}: {states} states compared");
    }
}

/// The reductions hide no fault that a missing rule is.
#[test]
fn without_any_one_rule_a_promise_is_broken_in_the_reduced_world_too() {
    let mutants = mutants::of_the_writer().into_iter().chain(mutants::of_readers());
    let missed: Vec<_> = mutants
        .filter(|mutant| trace::shortest(&mutant.setup.clone().reduced()).1.is_none())
        .map(|mutant| mutant.name)
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// Each rule is needed: without it the checker finds a promise broken, by the trace that is written
/// down.
#[test]
fn without_any_one_rule_a_promise_is_broken() {
    all_are_found(&mutants::of_the_writer());
}

fn all_are_found(mutants: &[mutants::Mutant]) {
    let missed: Vec<_> =
        mutants.iter().filter_map(|mutant| trace::is_found(mutant).err()).collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[track_caller]
fn is_caught(name: &str) {
    let mutants = mutants::of_the_writer().into_iter().chain(mutants::of_readers());
    let found: Vec<_> = mutants
        .filter(|mutant| mutant.name == name)
        .map(|mutant| trace::is_found(&mutant))
        .collect();
    assert_eq!(found, [Ok(())]);
}

#[test]
fn acknowledging_on_append_is_caught() {
    is_caught("WAITS_FOR_LOG");
}

#[test]
fn leaving_out_the_offset_check_is_caught() {
    is_caught("ANCHOR_PREDICTS");
}

#[test]
fn taking_a_report_without_offset_as_confirmation_is_caught() {
    is_caught("SOMEWHERE_PROVES_NOTHING");
}

#[test]
fn a_fold_without_sequences_is_caught() {
    is_caught("a_fold_that_ignores_sequences");
}

#[test]
fn forgetting_outcomes_at_take_over_is_caught() {
    is_caught("outcomes_forgotten");
}

#[test]
fn forgetting_outcomes_of_queued_commands_at_take_over_is_caught() {
    is_caught("outcomes_of_queued_commands_forgotten");
}

#[test]
fn resuming_the_command_queue_after_the_largest_source_is_caught() {
    is_caught("the_command_queue_after_the_largest_source");
}

/// Everything at once, by walks from a seed that every run has, and from one that no other has.
#[test]
fn random_walks_break_no_promise() {
    walks(Duration::from_secs(5), 1);
}

#[test]
#[ignore = "bin/long: ten minutes"]
fn long_random_walks_break_no_promise() {
    let fresh = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    std::thread::scope(|scope| {
        for seed in [fresh, fresh ^ 1] {
            scope.spawn(move || walks(10 * MINUTE, seed));
        }
    });
}

fn walks(within: Duration, seed: u64) {
    match walk::walk(&setups::everything(), seed, within) {
        Ok(walked) => println!("seed {seed}: {walked}"),
        Err(broken) => panic!("{broken}"),
    }
}

/// A log that lies breaks promises; its owner notices, and ends.
#[test]
fn an_owner_whose_log_lost_what_it_acknowledged_does_not_go_on() {
    let (states, broken) = trace::shortest(&setups::lying());
    assert!(broken.is_none() && states > 1_000, "{states} states: {broken:?}");
}
