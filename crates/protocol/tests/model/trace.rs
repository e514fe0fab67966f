//! A sequence of actions, as a person reads it, and the shortest that breaks a promise.

use std::{fmt::Write, path::PathBuf, time::Duration};

use stateright::{Checker, HasDiscoveries, Model};

use crate::{
    PROMISES,
    mutants::Mutant,
    setup::Setup,
    world::{Action, World},
};

/// The actions by number, what they break, and the log at the end.
pub fn told(setup: &Setup, actions: &[Action]) -> String {
    let mut world = World::new(setup);
    let mut said = String::new();
    for (number, action) in (1..).zip(actions) {
        world.act(setup, *action);
        let _ = writeln!(said, "{number:>3} {action:?}");
    }
    let broken = world.broken_promise(setup).unwrap_or("nothing is broken");
    format!("{broken}\n\n{said}\nthe log:\n{}\n", world.describe_log())
}

/// Whatever takes longer counts as not found.
const LONGEST: Duration = Duration::from_secs(60);

/// Breadth first, by one thread: the same trace each time.
pub fn shortest(setup: &Setup) -> (usize, Option<Vec<Action>>) {
    let checker = setup
        .clone()
        .checker()
        .threads(1)
        .timeout(LONGEST)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    (checker.unique_state_count(), checker.discovery(PROMISES).map(stateright::Path::into_actions))
}

/// Whether the checker finds what the mutant breaks, by the trace that is written down.
/// `HIGHWATER_TRACES=write` writes it down.
pub fn is_found(mutant: &Mutant) -> Result<(), String> {
    let (states, found) = shortest(&mutant.setup);
    let Some(actions) = found else {
        return Err(format!(
            "{}: breaks no promise that the checker knows, in {states} states",
            mutant.name
        ));
    };
    println!("{}: found by {} actions, {states} states", mutant.name, actions.len());
    let told = format!("without {}: {}", mutant.name, told(&mutant.setup, &actions));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/model/traces")
        .join(format!("{}.txt", mutant.name.to_lowercase()));
    if std::env::var_os("HIGHWATER_TRACES").is_some() {
        return std::fs::write(&path, told).map_err(|error| error.to_string());
    }
    let written =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if written == told {
        Ok(())
    } else {
        Err(format!("{} is not the shortest trace any more:\n{told}", path.display()))
    }
}
