//! Whether the reduced world has a counterpart to every step of the whole one: `world::reduced` is
//! checked, not only argued.

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::{
    setup::Setup,
    trace,
    world::{Action, World},
};

/// The whole world, each state of which is compared with the reduced one.
#[derive(Clone)]
struct Whole(Setup);

const COVERED: &str = "every step has its counterpart in the reduced world";

impl Model for Whole {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        self.0.init_states()
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        self.0.actions(state, actions);
        // When submissions to owners that do not serve are sent is the one thing that only the
        // argument speaks of.
        actions.retain(|action| {
            !matches!(
                action,
                Action::Submit(i, _) if !state.may_be_asked(&reduced(&self.0), *i)
            )
        });
    }

    fn next_state(&self, state: &World, action: Action) -> Option<World> {
        self.0.next_state(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(COVERED, |whole: &Whole, state: &World| {
            whole.uncovered(state).is_none()
        })]
    }
}

impl Whole {
    fn uncovered(&self, state: &World) -> Option<Action> {
        let reduced = reduced(&self.0);
        let same = reduce(&reduced, state);
        if same.is_over(&reduced) {
            return None;
        }
        let (mut steps, mut counterparts) = (Vec::new(), Vec::new());
        reduced.actions(&same, &mut counterparts);
        let counterparts: Vec<_> = counterparts
            .into_iter()
            .filter_map(|action| reduced.next_state(&same, action))
            .collect();
        self.actions(state, &mut steps);
        steps.into_iter().find(|step| {
            let next = self.next_state(state, *step).map(|next| reduce(&reduced, &next));
            next.is_some_and(|next| next != same && !counterparts.contains(&next))
        })
    }
}

fn reduced(setup: &Setup) -> Setup {
    Setup { reduced: true, ..setup.clone() }
}

fn reduce(setup: &Setup, state: &World) -> World {
    let mut state = state.clone();
    state.reduce(setup);
    state
}

/// The states that were compared; `Err`: the shortest way to a step without a counterpart.
pub fn is_covered(setup: &Setup) -> Result<usize, String> {
    let checker = Whole(setup.clone())
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let Some(path) = checker.discovery(COVERED) else { return Ok(checker.unique_state_count()) };
    let uncovered = Whole(setup.clone()).uncovered(path.last_state());
    Err(format!(
        "{uncovered:?} has no counterpart after\n{}",
        trace::told(setup, &path.into_actions())
    ))
}
