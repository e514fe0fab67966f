//! The vocabulary of real logs, and the codec between records and entries (log-format.md,
//! "Record").
//!
//! Integers are decimal ASCII without sign or leading zeros, at most 2^63 - 1; ids in `hw-` headers
//! are the 16 bytes of the UUID; keys and CloudEvents attributes are text. A header that a kind
//! neither demands nor may carry is not looked at.

pub(crate) mod decode;
pub(crate) mod encode;

use std::borrow::Cow;

use uuid::Uuid;

pub use self::{
    decode::{Defect, decode},
    encode::encode,
};
use crate::{
    entry::Body,
    time::Micros,
    vocabulary::{Refusal, Vocabulary},
};

/// The vocabulary of real logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wire;

impl Vocabulary for Wire {
    type Writer = Uuid;
    type Command = Uuid;
    type Aggregate = Uuid;
    type Time = Micros;
    type Fingerprint = Fingerprint;
    type Meta = Meta;
    type Event = RecordedEvent;
    type Reason = Reason;
    type Summary = Cow<'static, str>;

    fn size_bytes(body: &Body<Self>) -> usize {
        match body {
            Body::Event(event) => {
                EVENT_OVERHEAD_BYTES
                    + event.event.event_type.len()
                    + event.event.schema.len()
                    + event.event.data.len()
            }
            Body::Outcome(outcome) => CONTROL_OVERHEAD_BYTES + outcome.reason.0.len(),
            Body::Fence | Body::Barrier | Body::Sealed | Body::Unknown => CONTROL_OVERHEAD_BYTES,
        }
    }

    fn nothing_to_do() -> Reason {
        Reason(br#"{"code":"nothing-to-do","detail":"the command would change nothing"}"#.to_vec())
    }

    fn refused(refusal: &Refusal) -> Reason {
        let text = match refusal {
            Refusal::Expired => concat!(
                r#"{"code":"operation.expired","#,
                r#""detail":"the command was not decided before its deadline"}"#
            )
            .to_owned(),
            Refusal::VersionMismatch { current } => {
                let said = format!(r#""detail":"the current version is {current}","status":412"#);
                format!(r#"{{"code":"version.mismatch",{said},"version":{current}}}"#)
            }
            Refusal::TooLarge { events, bytes } => {
                let detail = format!(
                    "the command would make {events} events of {bytes} bytes, more than one commit \
                     may have"
                );
                format!(r#"{{"code":"commit.too-large","detail":"{detail}","status":413}}"#)
            }
        };
        Reason(text.into_bytes())
    }

    fn summary(event: &RecordedEvent) -> Cow<'static, str> {
        event.event_type.clone()
    }
}

/// Names and values of all headers but `ce_type`, `ce_dataschema`, with room for a long
/// `ce_source`.
const EVENT_OVERHEAD_BYTES: usize = 1024;
const CONTROL_OVERHEAD_BYTES: usize = 512;

/// `hw-fingerprint`: which deployment key, and HMAC-SHA-256 of command name and canonical body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    pub key_number: u16,
    pub hmac: [u8; 32],
}

/// What a record carries about its command and the protocol does not decide on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Meta {
    /// `ce_id` (UUIDv7) of an event that was read. Nil on one that is not appended yet, and on
    /// outcomes.
    pub event_id: Uuid,
    /// `hw-actor`: the pseudonymous subject.
    pub actor: Uuid,
    /// `hw-correlation`: the request tree.
    pub correlation: Uuid,
    /// `hw-causation`: the event or command that caused this one.
    pub causation: Uuid,
    /// W3C Trace Context, level 1 (55 characters); on events only. One that is malformed or
    /// repeated reads as absent.
    pub traceparent: Option<String>,
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordedEvent {
    /// `ce_type`, as `order.placed`.
    pub event_type: Cow<'static, str>,
    /// The schema's file stem, as `order.placed.v2`.
    pub schema: Cow<'static, str>,
    /// JSON.
    pub data: Vec<u8>,
}

/// Why nothing changed: a JSON object with at least `code` and `detail`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason(pub Vec<u8>);

/// The most events of one command. Part of the format, so that every reader can hold an open commit
/// in bounded memory.
pub const MAX_COMMIT_EVENTS: u32 = 256;

/// The names of all headers of this format, the command queue's included.
const HEADER_NAMES: [&str; 27] = [
    "content-type",
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_time",
    "ce_dataschema",
    "traceparent",
    "hw-kind",
    "hw-epoch",
    "hw-writer",
    "hw-seq",
    "hw-version",
    "hw-commit",
    "hw-command",
    "hw-fingerprint",
    "hw-actor",
    "hw-correlation",
    "hw-causation",
    "hw-source",
    "hw-drained",
    "hw-schema",
    "hw-key",
    "hw-expected",
    "hw-scopes",
    "hw-deadline",
];

/// A header's name without an allocation, if it is one of this format.
pub fn header_name(name: &str) -> Cow<'static, str> {
    HEADER_NAMES
        .iter()
        .find(|known| **known == name)
        .map_or_else(|| Cow::Owned(name.to_owned()), |known| Cow::Borrowed(*known))
}

const SCHEMA_PREFIX: &str = "urn:highwater:schema:";
