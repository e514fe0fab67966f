//! The rules of one category: what a command does to an aggregate, and what an event makes of it.

use highwater_protocol::{domain::Unreadable, vocabulary::Value};
use uuid::Uuid;

use crate::{command::Command, data::Data, event::Event, rejection::Rejection, value::Timestamp};

/// An aggregate, as far as decisions ask about it. Pure: no I/O, no clock, no randomness.
pub trait Aggregate: State {
    /// Its commands, in their latest versions.
    type Command: Command;
    /// Its events, in their latest versions.
    type Event: Event;
    /// Every rule that a command can break.
    type Rejection: Rejection;

    /// Decides. `state` is `None` only for a command that `creates`, which is asked for nothing
    /// else, or `begins`; any other is answered 404 before, and a rule may say
    /// `state.ok_or(Missing)?`.
    fn decide(state: Option<&Self>, command: &Self::Command, context: &Context) -> Decision<Self>;

    /// Applies an event. It happened, whatever this release would have decided: refuse only what
    /// cannot be applied, as an event before the first one.
    fn evolve(state: Option<&Self>, event: &Self::Event) -> Result<Self, Unreadable>;
}

/// A state in snapshots: `#[derive(State)]`. Clones must be cheap, since the writer keeps one for
/// each commit in flight: put what is large into a [`crate::Text`], [`crate::List`], [`crate::Map`]
/// or an `Arc`.
pub trait State: Data + Value {
    /// The number of the state's present form. Snapshots of another form are folded again.
    const FORMAT: i16;
}

/// What a rule says: events, none at all ("nothing to do"), or why not.
pub type Decision<A> =
    Result<Events<<A as Aggregate>::Event>, Refusal<<A as Aggregate>::Rejection>>;

/// What happened, in sequence: one commit. None: there was nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events<E>(Vec<E>);

/// Why a command does nothing. Rules return their own rejections with `?`, or [`Missing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal<R> {
    /// A rule is broken: 409.
    Rejected(R),
    /// The aggregate does not exist: 404.
    Missing,
}

/// The aggregate does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing;

/// What is known of the command beside what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    time: Timestamp,
    principal: Uuid,
    command_id: Uuid,
}

/// One event: `accept(Redeemed { .. })`, the payload of a variant or the variant.
pub fn accept<E, R>(event: impl Into<E>) -> Result<Events<E>, Refusal<R>> {
    accept_all([event.into()])
}

/// Several events, which become visible together.
pub fn accept_all<E, R>(events: impl IntoIterator<Item = E>) -> Result<Events<E>, Refusal<R>> {
    Ok(Events(events.into_iter().collect()))
}

/// Nothing to do: 200 with the current version.
pub fn nothing<E, R>() -> Result<Events<E>, Refusal<R>> {
    Ok(Events(Vec::new()))
}

/// A rule is broken.
pub fn reject<E, R: Rejection>(rejection: R) -> Result<Events<E>, Refusal<R>> {
    Err(Refusal::Rejected(rejection))
}

impl<E> Events<E> {
    /// What happened.
    pub fn into_vec(self) -> Vec<E> {
        self.0
    }
}

impl<R: Rejection> From<R> for Refusal<R> {
    fn from(rejection: R) -> Self {
        Self::Rejected(rejection)
    }
}

impl<R: Rejection> From<Missing> for Refusal<R> {
    fn from(_: Missing) -> Self {
        Self::Missing
    }
}

impl Context {
    pub(crate) const fn new(time: Timestamp, principal: Uuid, command_id: Uuid) -> Self {
        Self { time, principal, command_id }
    }

    /// When it is decided: the time that the events will carry.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Who sent it: the pseudonymous subject that records carry as actor.
    pub fn principal(&self) -> Uuid {
        self.principal
    }

    /// The command's id; the same for each retry with the same key.
    pub fn command_id(&self) -> Uuid {
        self.command_id
    }
}
