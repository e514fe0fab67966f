//! What a store plugs into the machinery: pure rules, and a durable form of their state.

use crate::{
    vocabulary::{Value, Vocabulary},
    wire::Wire,
};

/// The rules of one aggregate category. Pure: no I/O, no clock, no randomness.
pub trait Domain<V: Vocabulary>: Value {
    type State: Value;
    type Command: Value;

    /// Whether a missing aggregate answers 404 before any rule is asked.
    fn must_exist(&self, command: &Self::Command) -> bool;

    /// Decides at `at`, the time that the events will carry. `None`: the aggregate does not exist.
    fn decide(
        &self,
        state: Option<&Self::State>,
        command: &Self::Command,
        at: V::Time,
    ) -> Result<Decision<Self::State, V::Event>, V::Reason>;

    /// [`Domain::decide`], for rules that ask who sent the command. The writer calls this one.
    fn decide_in(
        &self,
        state: Option<&Self::State>,
        command: &Self::Command,
        context: Context<'_, V>,
    ) -> Result<Decision<Self::State, V::Event>, V::Reason> {
        self.decide(state, command, context.at)
    }

    /// Applies one stored event, of any version ever published.
    fn evolve(
        &self,
        state: Option<&Self::State>,
        event: &V::Event,
    ) -> Result<Self::State, Unreadable>;
}

/// What a decision may depend on beside state and command.
#[derive(Debug)]
pub struct Context<'a, V: Vocabulary> {
    /// The time that the events will carry.
    pub at: V::Time,
    /// The command's id.
    pub command: V::Command,
    /// What its records will carry.
    pub meta: &'a V::Meta,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decision<S, E> {
    /// The events in order (never empty) and the state after the last of them.
    Change { events: Vec<E>, state: S },
    /// Nothing to do: 200 with the current version and no events.
    Nothing,
}

/// A domain whose states can be kept in snapshots.
pub trait Durable: Domain<Wire> {
    /// The number of the state's present form. A snapshot of another format is folded again.
    const FORMAT: i16;

    fn serialize(&self, state: &Self::State) -> Vec<u8>;
    fn deserialize(&self, serialized: &[u8]) -> Result<Self::State, Unreadable>;
}

/// An event or a state that this release cannot read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unreadable {
    /// Published by a newer release: upgrade readers first.
    #[error("{what} is newer than this release: upgrade readers first")]
    Newer { what: String },
    #[error("{what}: {why}")]
    Malformed { what: String, why: String },
}
