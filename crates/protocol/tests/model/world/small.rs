//! The smallest vocabulary and the smallest domain in which every kind of answer can come about.

use highwater_protocol::{
    domain::{Decision, Domain, Unreadable},
    entry::Body,
    vocabulary::{Refusal, Vocabulary},
    writer::Expected,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Small;

impl Vocabulary for Small {
    type Writer = u8;
    type Command = u8;
    type Aggregate = u8;
    type Time = u8;
    type Fingerprint = u8;
    type Meta = ();
    type Event = ();
    type Reason = ();
    type Summary = ();

    fn size_bytes(_: &Body<Self>) -> usize {
        1
    }
    fn nothing_to_do() {}
    fn refused(_: &Refusal) {}
    fn summary((): &()) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Does {
    /// Creates, with a commit of so many events; "no", if it exists.
    Create(u8),
    /// One more event, if it exists.
    Add,
    /// Nothing, if it exists.
    Nothing,
}

/// Counts its events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Counter;

impl Domain<Small> for Counter {
    type State = u8;
    type Command = Does;

    fn must_exist(&self, does: &Does) -> bool {
        !matches!(does, Does::Create(_))
    }

    fn decide(&self, state: Option<&u8>, does: &Does, _: u8) -> Result<Decision<u8, ()>, ()> {
        match (state, does) {
            (None, Does::Create(events)) => {
                Ok(Decision::Change { events: vec![(); usize::from(*events)], state: *events })
            }
            (Some(_), Does::Create(_)) => Err(()),
            (state, Does::Add) => {
                Ok(Decision::Change { events: vec![()], state: state.map_or(1, |count| count + 1) })
            }
            (_, Does::Nothing) => Ok(Decision::Nothing),
        }
    }

    fn evolve(&self, state: Option<&u8>, (): &()) -> Result<u8, Unreadable> {
        Ok(state.map_or(1, |count| count + 1))
    }
}

/// What a command must come to where an aggregate has some version: the specification, written
/// without the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Due {
    NotFound,
    Mismatch,
    Rejected,
    Unchanged,
    Events(u64),
}

pub fn due(does: Does, expected: &Expected, version: u64) -> Due {
    let met = match expected {
        Expected::Anything => true,
        Expected::Exists => version > 0,
        Expected::OneOf(versions) => versions.contains(&version),
    };
    match does {
        Does::Add | Does::Nothing if version == 0 => Due::NotFound,
        _ if !met => Due::Mismatch,
        Does::Create(events) if version == 0 => Due::Events(u64::from(events)),
        Does::Create(_) => Due::Rejected,
        Does::Add => Due::Events(1),
        Does::Nothing => Due::Unchanged,
    }
}
