//! From an [`Aggregate`] to what the protocol asks: encoded events, serialized states.

use std::{
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
};

use highwater_protocol::{
    domain::{self, Domain, Durable, Unreadable},
    time::Micros,
    wire::{Reason, RecordedEvent, Wire},
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    aggregate::{Aggregate, Context, Refusal},
    command::{ALREADY_EXISTS, Command, Target},
    event::{Event, article},
    finding::FieldError,
    rejection::{Rejection, reason},
};

/// The rules of `A`, as writer and readers of the log ask them.
pub struct Rules<A>(PhantomData<fn() -> A>);

impl<A: Aggregate> Rules<A> {
    /// As in topics, positions and names: `voucher`.
    pub const CATEGORY: &'static str = A::Event::CATEGORY;

    /// The rules of `A`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Reads a body that passed its schema; any other is refused as well.
    pub fn parse(
        name: &str,
        version: u32,
        body: &Value,
        now: Micros,
    ) -> Result<A::Command, Vec<FieldError>> {
        let kinds = A::Command::kinds().iter();
        let served = |kind| matches!(kind, Some(versions) if (1..=versions).contains(&version));
        if served(kinds.filter(|kind| kind.name == name).map(|kind| kind.versions).next()) {
            return A::Command::parse(name, version, body, now.into());
        }
        let category = Self::CATEGORY;
        let detail = format!("{category} has no command {name} in version {version}");
        Err(vec![FieldError::new("", detail)])
    }

    fn decide_at(
        state: Option<&A>,
        command: &A::Command,
        context: &Context,
    ) -> Result<domain::Decision<A, RecordedEvent>, Reason> {
        let category = Self::CATEGORY;
        let missing = || reason(category, "not-found", format!("there is no such {category}"), &[]);
        match (command.kind().target, state) {
            (Target::Creates, Some(_)) => {
                let article = article(category);
                let detail = format!("there is {article} {category} with this id already");
                return Err(reason(category, ALREADY_EXISTS, detail, &[]));
            }
            // For a caller that did not ask `must_exist`.
            (Target::Needs, None) => return Err(missing()),
            _ => {}
        }
        let events = A::decide(state, command, context).map_err(|refused| match refused {
            Refusal::Rejected(broken) => {
                reason(category, broken.code(), &broken, &broken.members())
            }
            Refusal::Missing => missing(),
        })?;
        let events = events.into_vec();
        let mut after: Option<A> = None;
        for event in &events {
            let before = after.as_ref().or(state);
            after = Some(A::evolve(before, event).map_err(|error| inconsistent(category, &error))?);
        }
        Ok(after.map_or(domain::Decision::Nothing, |state| domain::Decision::Change {
            events: events.iter().map(Event::encode).collect(),
            state,
        }))
    }
}

/// A fault of the rules, found before anything is written.
fn inconsistent(category: &str, error: &Unreadable) -> Reason {
    let detail = format!("the rules cannot apply what they decided: {error}");
    reason(category, "inconsistent", detail, &[])
}

impl<A: Aggregate> Domain<Wire> for Rules<A> {
    type State = A;
    type Command = A::Command;

    fn must_exist(&self, command: &A::Command) -> bool {
        command.kind().target == Target::Needs
    }

    /// By no principal, and as a command without an id.
    fn decide(
        &self,
        state: Option<&A>,
        command: &A::Command,
        at: Micros,
    ) -> Result<domain::Decision<A, RecordedEvent>, Reason> {
        Self::decide_at(state, command, &Context::new(at.into(), Uuid::nil(), Uuid::nil()))
    }

    fn decide_in(
        &self,
        state: Option<&A>,
        command: &A::Command,
        context: domain::Context<'_, Wire>,
    ) -> Result<domain::Decision<A, RecordedEvent>, Reason> {
        let domain::Context { at, command: id, meta } = context;
        Self::decide_at(state, command, &Context::new(at.into(), meta.actor, id))
    }

    fn evolve(&self, state: Option<&A>, stored: &RecordedEvent) -> Result<A, Unreadable> {
        A::evolve(state, &A::Event::decode(stored)?)
    }
}

impl<A: Aggregate> Durable for Rules<A> {
    const FORMAT: i16 = A::FORMAT;

    fn serialize(&self, state: &A) -> Vec<u8> {
        #[expect(
            clippy::expect_used,
            reason = "states are structs, strings and integers, which JSON can always hold"
        )]
        serde_json::to_vec(state).expect("a state is JSON")
    }

    fn deserialize(&self, serialized: &[u8]) -> Result<A, Unreadable> {
        serde_json::from_slice(serialized).map_err(|error| Unreadable::Malformed {
            what: format!("{} state", Self::CATEGORY),
            why: error.to_string(),
        })
    }
}

impl<A: Aggregate> Default for Rules<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> Clone for Rules<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Rules<A> {}

impl<A> PartialEq for Rules<A> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<A> Eq for Rules<A> {}

impl<A> Hash for Rules<A> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<A: Aggregate> fmt::Debug for Rules<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rules({})", Self::CATEGORY)
    }
}
