//! A record as the fold sees it: decoded, every header that its kind demands present once and in
//! its encoding.

use crate::vocabulary::Vocabulary;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry<V: Vocabulary> {
    pub epoch: u64,
    pub writer: V::Writer,
    /// The place after the writer's fence: 0, 1, 2 ... `None` on the fence itself.
    pub seq: Option<u64>,
    /// Every queued command below this offset has its outcome at or before this record.
    pub drained: Option<u64>,
    pub body: Body<V>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body<V: Vocabulary> {
    Fence,
    Barrier,
    Sealed,
    /// A kind that this release does not know: it counts in the sequence and does nothing else.
    Unknown,
    Event(EventBody<V>),
    /// The command changed nothing: a recorded rejection, or a recorded "nothing to do".
    Outcome(OutcomeBody<V>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventBody<V: Vocabulary> {
    pub metadata: CommandMetadata<V>,
    /// The aggregate's version after this event; the first has 1.
    pub version: u64,
    pub part: Part,
    pub time: V::Time,
    pub event: V::Event,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutcomeBody<V: Vocabulary> {
    pub metadata: CommandMetadata<V>,
    /// The version it was decided at; 0 where the aggregate did not exist.
    pub version: u64,
    pub verdict: Verdict,
    pub reason: V::Reason,
}

/// Whether nothing changed because of a rule, or because there was nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    Rejected,
    Unchanged,
}

/// The command that a record answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandMetadata<V: Vocabulary> {
    pub aggregate: V::Aggregate,
    pub command: V::Command,
    pub fingerprint: V::Fingerprint,
    pub meta: V::Meta,
    /// Its own offset in `commands`, when it came through the command queue.
    pub source: Option<u64>,
}

/// `hw-commit`: the `index`-th of the `of` events of one command, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    pub index: u32,
    pub of: u32,
}

impl Part {
    pub const WHOLE: Part = Part { index: 1, of: 1 };
}

impl<V: Vocabulary> Body<V> {
    pub fn metadata(&self) -> Option<&CommandMetadata<V>> {
        match self {
            Body::Event(event) => Some(&event.metadata),
            Body::Outcome(outcome) => Some(&outcome.metadata),
            Body::Fence | Body::Barrier | Body::Sealed | Body::Unknown => None,
        }
    }
}
