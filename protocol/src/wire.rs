//! The vocabulary of real logs, and the codec between records and entries (log-format.md, "Record").
//!
//! Integers are decimal ASCII without sign or leading zeros, at most 2^63 - 1; ids in `hw-` headers are the 16 bytes of the UUID;
//! keys and CloudEvents attributes are text. A header that a kind neither demands nor may carry is not looked at.

use std::borrow::Cow;

use uuid::Uuid;

use crate::{
    entry::{Body, Entry, EventBody, Origin, OutcomeBody, Part, Verdict},
    record::{Header, Record},
    time::Micros,
    vocabulary::Vocabulary,
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
    type Event = Fact;
    type Reason = Reason;
    type Summary = Cow<'static, str>;

    fn size_bytes(body: &Body<Self>) -> usize {
        match body {
            Body::Event(event) => EVENT_OVERHEAD_BYTES + event.event.event_type.len() + event.event.schema.len() + event.event.data.len(),
            Body::Outcome(outcome) => CONTROL_OVERHEAD_BYTES + outcome.reason.0.len(),
            Body::Fence | Body::Barrier | Body::Sealed | Body::Unknown => CONTROL_OVERHEAD_BYTES,
        }
    }

    fn nothing_to_do() -> Reason {
        Reason(br#"{"code":"nothing-to-do","detail":"the command would change nothing"}"#.to_vec())
    }

    fn summary(event: &Fact) -> Cow<'static, str> {
        event.event_type.clone()
    }
}

/// Names and values of all headers but `ce_type`, `ce_dataschema`, with room for a long `ce_source`.
const EVENT_OVERHEAD_BYTES: usize = 1024;
const CONTROL_OVERHEAD_BYTES: usize = 512;

/// `hw-fingerprint`: which deployment key, and HMAC-SHA-256 of command name and canonical body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    pub key_number: u16,
    pub hmac: [u8; 32],
}

/// What a record carries about its command and nobody decides on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Meta {
    /// `ce_id` (UUIDv7) of an event that was read. Nil on one that is not appended yet, and on outcomes.
    pub event_id: Uuid,
    /// `hw-actor`: the pseudonymous subject.
    pub actor: Uuid,
    /// `hw-correlation`: the request tree.
    pub correlation: Uuid,
    /// `hw-causation`: the event or command that caused this one.
    pub causation: Uuid,
    /// W3C Trace Context, level 1 (55 characters); on events only. One that is malformed or repeated reads as absent.
    pub traceparent: Option<String>,
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fact {
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

/// Why a record is not an entry (rule 0).
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Defect {
    #[error("header {0} is missing")]
    Missing(&'static str),
    #[error("header {0} is there more than once")]
    Repeated(&'static str),
    #[error("header {0} is not in its encoding")]
    Malformed(&'static str),
    #[error("the key is not the aggregate id in its encoding")]
    Key,
    #[error("the value is missing")]
    Value,
}

/// The most events of one command. Part of the format, so that every reader can hold an open commit in bounded memory.
pub const MAX_COMMIT_EVENTS: u32 = 256;

const SCHEMA_PREFIX: &str = "urn:highwater:schema:";

/// Encodes `entry` for the category whose `ce_source` is `source`. `event_id` becomes `ce_id` of an event.
pub fn encode(entry: &Entry<Wire>, source: &str, event_id: Uuid) -> Record {
    let mut record = Record::default();
    if let Body::Event(event) = &entry.body {
        cloud_event(&mut record.headers, event, source, event_id);
    }
    let kind = kind_of(&entry.body);
    put(&mut record.headers, "hw-kind", kind);
    put_number(&mut record.headers, "hw-epoch", entry.epoch);
    put(&mut record.headers, "hw-writer", *entry.writer.as_bytes());
    if let Some(seq) = entry.seq {
        put_number(&mut record.headers, "hw-seq", seq);
    }
    if let Some(drained) = entry.drained {
        put_number(&mut record.headers, "hw-drained", drained);
    }
    if let Some(origin) = entry.body.origin() {
        record.key = Some(origin.aggregate.hyphenated().to_string().into_bytes());
        put_origin(&mut record.headers, origin);
    }
    match &entry.body {
        Body::Event(event) => {
            put_number(&mut record.headers, "hw-version", event.version);
            if event.part != Part::WHOLE {
                put(&mut record.headers, "hw-commit", format!("{}/{}", event.part.index, event.part.of));
            }
            record.value = Some(event.event.data.clone());
        }
        Body::Outcome(outcome) => {
            put_number(&mut record.headers, "hw-version", outcome.version);
            record.value = Some(outcome.reason.0.clone());
        }
        Body::Fence | Body::Barrier | Body::Sealed | Body::Unknown => {}
    }
    record
}

/// Rule 0: an entry, or why the record is void.
pub fn decode(record: Record) -> Result<Entry<Wire>, Defect> {
    let headers = Headers(&record.headers);
    let kind = kind(headers.one("hw-kind")?)?;
    let (epoch, writer) = (headers.number("hw-epoch")?, headers.id("hw-writer")?);
    if kind == b"fence" {
        return Ok(Entry { epoch, writer, seq: None, drained: None, body: Body::Fence });
    }
    let (seq, drained) = (headers.number("hw-seq")?, headers.optional("hw-drained")?.map(|value| number("hw-drained", value)).transpose()?);
    let body = match kind {
        b"barrier" => Body::Barrier,
        b"sealed" => Body::Sealed,
        b"event" => event(&record)?,
        b"rejected" => outcome(&record, Verdict::Rejected)?,
        b"unchanged" => outcome(&record, Verdict::Unchanged)?,
        _ => Body::Unknown,
    };
    let body = match body {
        Body::Event(mut event) => {
            event.event.data = record.value.ok_or(Defect::Value)?;
            Body::Event(event)
        }
        Body::Outcome(mut outcome) => {
            outcome.reason = Reason(record.value.ok_or(Defect::Value)?);
            Body::Outcome(outcome)
        }
        other => other,
    };
    Ok(Entry { epoch, writer, seq: Some(seq), drained, body })
}

fn kind_of(body: &Body<Wire>) -> &'static str {
    match body {
        Body::Fence => "fence",
        Body::Barrier => "barrier",
        Body::Sealed => "sealed",
        Body::Unknown => "unknown",
        Body::Event(_) => "event",
        Body::Outcome(OutcomeBody { verdict: Verdict::Rejected, .. }) => "rejected",
        Body::Outcome(OutcomeBody { verdict: Verdict::Unchanged, .. }) => "unchanged",
    }
}

fn cloud_event(headers: &mut Vec<Header>, event: &EventBody<Wire>, source: &str, event_id: Uuid) {
    put(headers, "content-type", "application/json");
    put(headers, "ce_specversion", "1.0");
    put(headers, "ce_id", event_id.hyphenated().to_string());
    put(headers, "ce_source", source);
    put(headers, "ce_type", event.event.event_type.as_bytes());
    put(headers, "ce_subject", event.origin.aggregate.hyphenated().to_string());
    put(headers, "ce_time", event.time.to_text());
    put(headers, "ce_dataschema", format!("{SCHEMA_PREFIX}{}", event.event.schema));
    if let Some(traceparent) = &event.origin.meta.traceparent {
        put(headers, "traceparent", traceparent.as_bytes());
    }
}

fn put_origin(headers: &mut Vec<Header>, origin: &Origin<Wire>) {
    put(headers, "hw-command", *origin.command.as_bytes());
    let mut fingerprint = origin.fingerprint.key_number.to_be_bytes().to_vec();
    fingerprint.extend(origin.fingerprint.hmac);
    put(headers, "hw-fingerprint", fingerprint);
    put(headers, "hw-actor", *origin.meta.actor.as_bytes());
    put(headers, "hw-correlation", *origin.meta.correlation.as_bytes());
    put(headers, "hw-causation", *origin.meta.causation.as_bytes());
    if let Some(source) = origin.source {
        put_number(headers, "hw-source", source);
    }
}

fn put(headers: &mut Vec<Header>, name: &'static str, value: impl Into<Vec<u8>>) {
    headers.push(Header::new(name, value));
}

fn put_number(headers: &mut Vec<Header>, name: &'static str, value: u64) {
    put(headers, name, value.to_string());
}

fn event(record: &Record) -> Result<Body<Wire>, Defect> {
    let headers = Headers(&record.headers);
    let origin = origin(record)?;
    let version = headers.number("hw-version")?;
    if version == 0 {
        return Err(Defect::Malformed("hw-version"));
    }
    let part = headers.optional("hw-commit")?.map_or(Ok(Part::WHOLE), part)?;
    for (name, value) in [("content-type", "application/json"), ("ce_specversion", "1.0")] {
        if headers.one(name)? != value.as_bytes() {
            return Err(Defect::Malformed(name));
        }
    }
    headers.text("ce_source")?;
    if record.key.as_deref() != Some(headers.one("ce_subject")?) {
        return Err(Defect::Malformed("ce_subject"));
    }
    let time = Micros::from_text(headers.one("ce_time")?).ok_or(Defect::Malformed("ce_time"))?;
    let schema = headers.text("ce_dataschema")?.strip_prefix(SCHEMA_PREFIX).filter(|stem| !stem.is_empty());
    let schema = schema.ok_or(Defect::Malformed("ce_dataschema"))?;
    let fact = Fact { event_type: headers.text("ce_type")?.to_owned().into(), schema: schema.to_owned().into(), data: Vec::new() };
    let event_id = uuid_text(headers.one("ce_id")?).ok_or(Defect::Malformed("ce_id"))?;
    let traceparent = headers.optional("traceparent").ok().flatten().and_then(traceparent);
    let origin = Origin { meta: Meta { event_id, traceparent, ..origin.meta }, ..origin };
    Ok(Body::Event(EventBody { origin, version, part, time, event: fact }))
}

fn outcome(record: &Record, verdict: Verdict) -> Result<Body<Wire>, Defect> {
    let (origin, version) = (origin(record)?, Headers(&record.headers).number("hw-version")?);
    Ok(Body::Outcome(OutcomeBody { origin, version, verdict, reason: Reason(Vec::new()) }))
}

fn origin(record: &Record) -> Result<Origin<Wire>, Defect> {
    let headers = Headers(&record.headers);
    let aggregate = record.key.as_deref().and_then(uuid_text).ok_or(Defect::Key)?;
    let fingerprint: &[u8; 34] = headers.one("hw-fingerprint")?.try_into().map_err(|_| Defect::Malformed("hw-fingerprint"))?;
    let (key_number, hmac) = fingerprint.split_at(2);
    let fingerprint = Fingerprint {
        key_number: u16::from_be_bytes([key_number[0], key_number[1]]),
        hmac: hmac.try_into().map_err(|_| Defect::Malformed("hw-fingerprint"))?,
    };
    let meta = Meta {
        event_id: Uuid::nil(),
        actor: headers.id("hw-actor")?,
        correlation: headers.id("hw-correlation")?,
        causation: headers.id("hw-causation")?,
        traceparent: None,
    };
    let source = headers.optional("hw-source")?.map(|value| number("hw-source", value)).transpose()?;
    Ok(Origin { aggregate, command: headers.id("hw-command")?, fingerprint, meta, source })
}

/// Lower-case ASCII letters and hyphens, also of a kind that this release does not know.
fn kind(value: &[u8]) -> Result<&[u8], Defect> {
    let lower = !value.is_empty() && value.iter().all(|b| b.is_ascii_lowercase() || *b == b'-');
    lower.then_some(value).ok_or(Defect::Malformed("hw-kind"))
}

/// `i/n` with 1 <= i <= n, 2 <= n <= [`MAX_COMMIT_EVENTS`]: a commit of one event has no such header.
fn part(value: &[u8]) -> Result<Part, Defect> {
    let malformed = Defect::Malformed("hw-commit");
    let slash = value.iter().position(|b| *b == b'/').ok_or(malformed.clone())?;
    let small = |digits: &[u8]| u32::try_from(number("hw-commit", digits)?).map_err(|_| Defect::Malformed("hw-commit"));
    let (index, of) = (small(&value[..slash])?, small(&value[slash + 1..])?);
    if index >= 1 && index <= of && (2..=MAX_COMMIT_EVENTS).contains(&of) { Ok(Part { index, of }) } else { Err(malformed) }
}

fn number(name: &'static str, value: &[u8]) -> Result<u64, Defect> {
    let canonical = !value.is_empty() && value.iter().all(u8::is_ascii_digit) && (value.len() == 1 || value[0] != b'0');
    let parsed = std::str::from_utf8(value).ok().filter(|_| canonical).and_then(|digits| digits.parse::<i64>().ok());
    parsed.and_then(|n| u64::try_from(n).ok()).ok_or(Defect::Malformed(name))
}

fn text<'a>(name: &'static str, value: &'a [u8]) -> Result<&'a str, Defect> {
    std::str::from_utf8(value).ok().filter(|text| !text.is_empty()).ok_or(Defect::Malformed(name))
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, lower case. No verdict depends on a trace, so anything else is as good as none.
fn traceparent(value: &[u8]) -> Option<String> {
    let shaped = value.len() == 55
        && value.starts_with(b"00")
        && value.iter().enumerate().all(|(at, b)| match at {
            2 | 35 | 52 => *b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(b),
        });
    String::from_utf8(value.to_vec()).ok().filter(|_| shaped)
}

/// Lower-case, hyphenated: the only form in the log.
fn uuid_text(value: &[u8]) -> Option<Uuid> {
    let id = Uuid::try_parse_ascii(value).ok()?;
    (id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes() == value).then_some(id)
}

struct Headers<'a>(&'a [Header]);

impl<'a> Headers<'a> {
    fn optional(&self, name: &'static str) -> Result<Option<&'a [u8]>, Defect> {
        let mut found = self.0.iter().filter(|header| header.name == name);
        let first = found.next();
        if found.next().is_some() { Err(Defect::Repeated(name)) } else { Ok(first.map(|header| header.value.as_slice())) }
    }

    fn one(&self, name: &'static str) -> Result<&'a [u8], Defect> {
        self.optional(name)?.ok_or(Defect::Missing(name))
    }

    fn number(&self, name: &'static str) -> Result<u64, Defect> {
        number(name, self.one(name)?)
    }

    fn text(&self, name: &'static str) -> Result<&'a str, Defect> {
        text(name, self.one(name)?)
    }

    fn id(&self, name: &'static str) -> Result<Uuid, Defect> {
        Uuid::from_slice(self.one(name)?).map_err(|_| Defect::Malformed(name))
    }
}
