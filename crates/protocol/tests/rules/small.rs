//! A vocabulary of small numbers, and a domain whose rules do what the command says.

use std::sync::Arc;

use highwater_protocol::{
    domain::{Decision, Domain, Unreadable},
    entry::{Body, CommandMetadata, EventBody, OutcomeBody, Part, Verdict},
    vocabulary::{Refusal, Vocabulary},
    writer::{Answer, Expected, Outcome, QueuedCommand, RecordedOutcome, Submission},
};

/// An event is a number, and takes so many bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Small;

impl Vocabulary for Small {
    type Writer = u32;
    type Command = u64;
    type Aggregate = u64;
    type Time = u64;
    type Fingerprint = u8;
    type Meta = ();
    type Event = usize;
    type Reason = Why;
    type Summary = usize;

    fn size_bytes(body: &Body<Self>) -> usize {
        match body {
            Body::Event(event) => event.event,
            Body::Outcome(_) => OUTCOME_BYTES,
            _ => 1,
        }
    }
    fn nothing_to_do() -> Why {
        Why::Nothing
    }
    fn refused(refusal: &Refusal) -> Why {
        Why::Refused(*refusal)
    }
    fn summary(event: &usize) -> usize {
        *event
    }
}

pub const OUTCOME_BYTES: usize = 3;

/// The event that this release cannot read.
pub const NEWER: usize = 777;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    Nothing,
    Refused(Refusal),
    Missing,
    Malformed,
    /// What the rule saw.
    Saw {
        sum: Option<usize>,
        at: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Do {
    /// These events, whether the aggregate exists or not.
    Add(Vec<usize>),
    /// These events, if the aggregate exists.
    Change(Vec<usize>),
    Nothing,
    /// Is rejected, and the reason says what the rule saw.
    See,
}

/// The state is the sum of the events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sums;

impl Domain<Small> for Sums {
    type State = usize;
    type Command = Do;

    fn must_exist(&self, command: &Do) -> bool {
        matches!(command, Do::Change(_))
    }

    fn decide(
        &self,
        state: Option<&usize>,
        command: &Do,
        at: u64,
    ) -> Result<Decision<usize, usize>, Why> {
        match command {
            Do::Add(events) | Do::Change(events) => {
                let sum = state.copied().unwrap_or(0) + events.iter().sum::<usize>();
                Ok(Decision::Change { events: events.clone(), state: sum })
            }
            Do::Nothing => Ok(Decision::Nothing),
            Do::See => Err(Why::Saw { sum: state.copied(), at }),
        }
    }

    fn evolve(&self, state: Option<&usize>, event: &usize) -> Result<usize, Unreadable> {
        match *event {
            NEWER => Err(Unreadable::Newer { what: "event".into() }),
            event => Ok(state.copied().unwrap_or(0) + event),
        }
    }
}

/// A command on an aggregate that cannot exist before, under an id that was made for it: nothing
/// has to be looked up.
pub fn command(command: u64, aggregate: u64, what: Do) -> Submission<Small, Do> {
    Submission {
        token: command,
        command,
        aggregate,
        fingerprint: 0,
        older_fingerprints: Vec::new(),
        expected: Expected::Anything,
        payload: Ok(Arc::new(what)),
        caller_key: true,
        fresh: true,
        new_aggregate: true,
        meta: (),
        at: 0,
        deadline_ms: u64::MAX,
        queued: None,
    }
}

/// One that adds these events.
pub fn add(id: u64, aggregate: u64, events: &[usize]) -> Submission<Small, Do> {
    command(id, aggregate, Do::Add(events.to_vec()))
}

/// One whose answer is not recorded, and says what its rule saw.
pub fn see(id: u64, aggregate: u64) -> Submission<Small, Do> {
    Submission { caller_key: false, ..command(id, aggregate, Do::See) }
}

/// The same, but its id or its aggregate may have been seen before.
pub fn cold(submission: Submission<Small, Do>) -> Submission<Small, Do> {
    Submission { fresh: false, new_aggregate: false, ..submission }
}

pub fn expecting(expected: Expected, submission: Submission<Small, Do>) -> Submission<Small, Do> {
    Submission { expected, ..submission }
}

/// As it lies at `source` of the command queue.
pub fn from_queue(source: u64, submission: Submission<Small, Do>) -> Submission<Small, Do> {
    Submission {
        token: 1_000 + source,
        queued: Some(QueuedCommand { source, missing: Why::Missing }),
        ..submission
    }
}

/// The only event of a command.
pub fn event(command: u64, aggregate: u64, version: u64, event: usize) -> EventBody<Small> {
    EventBody { metadata: metadata(command, aggregate), version, part: Part::WHOLE, time: 0, event }
}

pub fn metadata(command: u64, aggregate: u64) -> CommandMetadata<Small> {
    CommandMetadata { aggregate, command, fingerprint: 0, meta: (), source: None }
}

pub fn rejection(command: u64, aggregate: u64, version: u64) -> Body<Small> {
    Body::Outcome(OutcomeBody {
        metadata: metadata(command, aggregate),
        version,
        verdict: Verdict::Rejected,
        reason: Why::Malformed,
    })
}

/// The outcome of a command whose events made the aggregate's last versions, up to `version`.
pub fn accepted(version: u64, end: u64, events: &[usize]) -> Outcome<Small> {
    let first = version + 1 - events.len() as u64;
    Outcome::Accepted { version, end, events: events.iter().copied().zip(first..).collect() }
}

pub fn done(outcome: Outcome<Small>) -> Answer<Small> {
    Answer::Done { outcome, replayed: false }
}

pub fn replayed(outcome: Outcome<Small>) -> Answer<Small> {
    Answer::Done { outcome, replayed: true }
}

/// The answer to [`see`].
pub fn saw(version: u64, end: u64, sum: Option<usize>) -> Answer<Small> {
    done(Outcome::Rejected { version, end, reason: Why::Saw { sum, at: 0 } })
}

pub fn recorded(aggregate: u64, outcome: Outcome<Small>) -> RecordedOutcome<Small> {
    RecordedOutcome { aggregate, fingerprint: 0, outcome }
}
