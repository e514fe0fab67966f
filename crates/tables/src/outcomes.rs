//! `outcomes`: what each command came to. A row is made of what the log says, and read as an owner
//! remembers it. Never fails for what a reason says.
//!
//! | module | what it owns |
//! |---|---|
//! | `table` | the statements |

mod table;

use std::{borrow::Cow, num::TryFromIntError};

use highwater_protocol::{
    entry::{self, CommandMetadata, OutcomeBody},
    fold::Commit,
    wire::{Fingerprint, Reason, Wire},
    writer::{Outcome, RecordedOutcome},
};
use serde_json::{Value, json};
use uuid::Uuid;

pub use self::table::{SeenIds, delete_partition, ids_since, insert, known};
use crate::columns::{Malformed, unsigned};

/// What a command came to, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// There was nothing to do.
    Unchanged,
    Rejected,
}

/// A row as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub command: Uuid,
    pub category: String,
    pub partition: i32,
    pub aggregate: Uuid,
    pub fingerprint_key: i32,
    pub fingerprint: Vec<u8>,
    /// The pseudonym of the sender.
    pub actor: Uuid,
    pub verdict: Verdict,
    /// Of the aggregate, after the command.
    pub version: i64,
    /// The offset after the last record of the outcome.
    pub next_offset: i64,
    /// `[{"type", "version"}]` of an accepted one.
    pub events: Option<Value>,
    /// Of the others, as it was recorded.
    pub reason: Option<Value>,
}

/// The columns of a row that an owner reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRow {
    pub command: Uuid,
    pub aggregate: Uuid,
    pub fingerprint_key: i32,
    pub fingerprint: Vec<u8>,
    pub verdict: String,
    pub version: i64,
    pub next_offset: i64,
    pub events: Option<Value>,
    pub reason: Option<Value>,
}

impl Verdict {
    /// As the column has it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unchanged => "unchanged",
            Self::Rejected => "rejected",
        }
    }

    /// `None`: this release does not know it.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Accepted, Self::Unchanged, Self::Rejected]
            .into_iter()
            .find(|verdict| verdict.text() == text)
    }
}

impl Row {
    /// `None`: a commit without an event is no outcome. Fails if no column holds its numbers.
    pub fn of_commit(
        category: &str,
        partition: u32,
        commit: &Commit<Wire>,
    ) -> Result<Option<Self>, TryFromIntError> {
        let Some(last) = commit.events.last() else { return Ok(None) };
        let (metadata, verdict) = (&last.metadata, Verdict::Accepted);
        let row = Self::new(category, partition, metadata, verdict, last.version, commit.end)?;
        let events = commit.events.iter().map(
            |event| json!({"type": without_nul(&event.event.event_type), "version": event.version}),
        );
        Ok(Some(Self { events: Some(events.collect()), ..row }))
    }

    /// Of a recorded "no" or "nothing to do", in the record at `offset`. Fails if no column holds
    /// its numbers.
    pub fn of_record(
        category: &str,
        partition: u32,
        offset: u64,
        body: &OutcomeBody<Wire>,
    ) -> Result<Self, TryFromIntError> {
        let verdict = match body.verdict {
            entry::Verdict::Rejected => Verdict::Rejected,
            entry::Verdict::Unchanged => Verdict::Unchanged,
        };
        let (metadata, version) = (&body.metadata, body.version);
        let row = Self::new(category, partition, metadata, verdict, version, offset + 1)?;
        Ok(Self { reason: Some(as_json(&body.reason.0)), ..row })
    }

    fn new(
        category: &str,
        partition: u32,
        metadata: &CommandMetadata<Wire>,
        verdict: Verdict,
        version: u64,
        next_offset: u64,
    ) -> Result<Self, TryFromIntError> {
        Ok(Self {
            command: metadata.command,
            category: category.to_owned(),
            partition: partition.try_into()?,
            aggregate: metadata.aggregate,
            fingerprint_key: metadata.fingerprint.key_number.into(),
            fingerprint: metadata.fingerprint.hmac.to_vec(),
            actor: metadata.meta.actor,
            verdict,
            version: version.try_into()?,
            next_offset: next_offset.try_into()?,
            events: None,
            reason: None,
        })
    }
}

impl OwnerRow {
    /// The command, and the outcome as its owner answers it again.
    pub fn recorded(self) -> Result<(Uuid, RecordedOutcome<Wire>), Malformed> {
        let (version, end) = (unsigned(self.version)?, unsigned(self.next_offset)?);
        let hmac = self.fingerprint.try_into().map_err(|_| Malformed::Fingerprint)?;
        let key_number = u16::try_from(self.fingerprint_key).map_err(|_| Malformed::KeyNumber)?;
        let verdict = Verdict::parse(&self.verdict).ok_or(Malformed::Verdict(self.verdict))?;
        let outcome = match verdict {
            Verdict::Accepted => {
                Outcome::Accepted { version, end, events: summaries(self.events)? }
            }
            Verdict::Unchanged => {
                Outcome::Unchanged { version, end, reason: as_recorded(self.reason.as_ref())? }
            }
            Verdict::Rejected => {
                Outcome::Rejected { version, end, reason: as_recorded(self.reason.as_ref())? }
            }
        };
        let fingerprint = Fingerprint { key_number, hmac };
        Ok((self.command, RecordedOutcome { aggregate: self.aggregate, fingerprint, outcome }))
    }
}

/// Name and version of each event.
fn summaries(events: Option<Value>) -> Result<Vec<(Cow<'static, str>, u64)>, Malformed> {
    #[derive(serde::Deserialize)]
    struct Summary {
        r#type: String,
        version: u64,
    }
    let events: Vec<Summary> = serde_json::from_value(events.ok_or(Malformed::Null)?)
        .map_err(|error| Malformed::Events(error.to_string()))?;
    Ok(events.into_iter().map(|event| (event.r#type.into(), event.version)).collect())
}

fn as_recorded(reason: Option<&Value>) -> Result<Reason, Malformed> {
    let bytes = serde_json::to_vec(&reason);
    bytes.map(Reason).map_err(|error| Malformed::Reason(error.to_string()))
}

/// The recorded reason as `jsonb` can hold it: NUL is replaced, and what is no JSON is kept as
/// text.
fn as_json(bytes: &[u8]) -> Value {
    match serde_json::from_slice(bytes) {
        Ok(value) => clean(value),
        Err(_) => {
            json!({"code": "unreadable", "detail": without_nul(&String::from_utf8_lossy(bytes))})
        }
    }
}

fn clean(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(&text)),
        Value::Array(items) => items.into_iter().map(clean).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (without_nul(&name), clean(value))).collect()
        }
        other => other,
    }
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests;
