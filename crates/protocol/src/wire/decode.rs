//! From records to entries: rule 0 of the fold. No bytes make it panic.

use uuid::Uuid;

use super::{Fingerprint, MAX_COMMIT_EVENTS, Meta, Reason, RecordedEvent, SCHEMA_PREFIX, Wire};
use crate::{
    entry::{Body, CommandMetadata, Entry, EventBody, OutcomeBody, Part, Verdict},
    record::{Header, Record},
    time::Micros,
};

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

/// Rule 0: an entry, or why the record is void.
pub fn decode(record: Record) -> Result<Entry<Wire>, Defect> {
    let headers = Headers(&record.headers);
    let kind = kind(headers.one("hw-kind")?)?;
    let (epoch, writer) = (headers.number("hw-epoch")?, headers.id("hw-writer")?);
    if kind == b"fence" {
        return Ok(Entry { epoch, writer, seq: None, drained: None, body: Body::Fence });
    }
    let (seq, drained) = (
        headers.number("hw-seq")?,
        headers.optional("hw-drained")?.map(|value| number("hw-drained", value)).transpose()?,
    );
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

fn event(record: &Record) -> Result<Body<Wire>, Defect> {
    let headers = Headers(&record.headers);
    let metadata = metadata(record)?;
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
    let schema =
        headers.text("ce_dataschema")?.strip_prefix(SCHEMA_PREFIX).filter(|stem| !stem.is_empty());
    let schema = schema.ok_or(Defect::Malformed("ce_dataschema"))?;
    let event = RecordedEvent {
        event_type: headers.text("ce_type")?.to_owned().into(),
        schema: schema.to_owned().into(),
        data: Vec::new(),
    };
    let event_id = uuid_text(headers.one("ce_id")?).ok_or(Defect::Malformed("ce_id"))?;
    let traceparent = headers.optional("traceparent").ok().flatten().and_then(traceparent);
    let metadata =
        CommandMetadata { meta: Meta { event_id, traceparent, ..metadata.meta }, ..metadata };
    Ok(Body::Event(EventBody { metadata, version, part, time, event }))
}

fn outcome(record: &Record, verdict: Verdict) -> Result<Body<Wire>, Defect> {
    let (metadata, version) = (metadata(record)?, Headers(&record.headers).number("hw-version")?);
    Ok(Body::Outcome(OutcomeBody { metadata, version, verdict, reason: Reason(Vec::new()) }))
}

fn metadata(record: &Record) -> Result<CommandMetadata<Wire>, Defect> {
    let headers = Headers(&record.headers);
    let aggregate = record.key.as_deref().and_then(uuid_text).ok_or(Defect::Key)?;
    let fingerprint = fingerprint(headers.one("hw-fingerprint")?)?;
    let meta = Meta {
        event_id: Uuid::nil(),
        actor: headers.id("hw-actor")?,
        correlation: headers.id("hw-correlation")?,
        causation: headers.id("hw-causation")?,
        traceparent: None,
    };
    let source =
        headers.optional("hw-source")?.map(|value| number("hw-source", value)).transpose()?;
    Ok(CommandMetadata { aggregate, command: headers.id("hw-command")?, fingerprint, meta, source })
}

pub(crate) fn fingerprint(value: &[u8]) -> Result<Fingerprint, Defect> {
    let malformed = |_| Defect::Malformed("hw-fingerprint");
    let bytes: &[u8; 34] = value.try_into().map_err(malformed)?;
    let (key_number, hmac) = bytes.split_at(2);
    Ok(Fingerprint {
        key_number: u16::from_be_bytes([key_number[0], key_number[1]]),
        hmac: hmac.try_into().map_err(malformed)?,
    })
}

/// Lower-case ASCII letters and hyphens, also of a kind that this release does not know.
pub(crate) fn kind(value: &[u8]) -> Result<&[u8], Defect> {
    let lower = !value.is_empty() && value.iter().all(|b| b.is_ascii_lowercase() || *b == b'-');
    lower.then_some(value).ok_or(Defect::Malformed("hw-kind"))
}

/// `i/n` with 1 <= i <= n, 2 <= n <= [`MAX_COMMIT_EVENTS`]: a commit of one event has no such
/// header.
fn part(value: &[u8]) -> Result<Part, Defect> {
    let malformed = Defect::Malformed("hw-commit");
    let slash = value.iter().position(|b| *b == b'/').ok_or(malformed.clone())?;
    let small = |digits: &[u8]| {
        u32::try_from(number("hw-commit", digits)?).map_err(|_| Defect::Malformed("hw-commit"))
    };
    let (index, of) = (small(&value[..slash])?, small(&value[slash + 1..])?);
    if index >= 1 && index <= of && (2..=MAX_COMMIT_EVENTS).contains(&of) {
        Ok(Part { index, of })
    } else {
        Err(malformed)
    }
}

pub(crate) fn number(name: &'static str, value: &[u8]) -> Result<u64, Defect> {
    let canonical = !value.is_empty()
        && value.iter().all(u8::is_ascii_digit)
        && (value.len() == 1 || value[0] != b'0');
    let parsed = std::str::from_utf8(value)
        .ok()
        .filter(|_| canonical)
        .and_then(|digits| digits.parse::<i64>().ok());
    parsed.and_then(|n| u64::try_from(n).ok()).ok_or(Defect::Malformed(name))
}

fn text<'a>(name: &'static str, value: &'a [u8]) -> Result<&'a str, Defect> {
    std::str::from_utf8(value).ok().filter(|text| !text.is_empty()).ok_or(Defect::Malformed(name))
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, lower case. No verdict depends on a trace, so anything else is
/// as good as none.
pub(crate) fn traceparent(value: &[u8]) -> Option<String> {
    let shaped = value.len() == 55
        && value.starts_with(b"00")
        && value.iter().enumerate().all(|(at, b)| match at {
            2 | 35 | 52 => *b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(b),
        });
    String::from_utf8(value.to_vec()).ok().filter(|_| shaped)
}

/// Lower-case, hyphenated: the only form in the log.
pub(crate) fn uuid_text(value: &[u8]) -> Option<Uuid> {
    let id = Uuid::try_parse_ascii(value).ok()?;
    (id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes() == value).then_some(id)
}

pub(crate) struct Headers<'a>(pub(crate) &'a [Header]);

impl<'a> Headers<'a> {
    pub(crate) fn optional(&self, name: &'static str) -> Result<Option<&'a [u8]>, Defect> {
        let mut found = self.0.iter().filter(|header| header.name == name);
        let first = found.next();
        if found.next().is_some() {
            Err(Defect::Repeated(name))
        } else {
            Ok(first.map(|header| header.value.as_slice()))
        }
    }

    pub(crate) fn one(&self, name: &'static str) -> Result<&'a [u8], Defect> {
        self.optional(name)?.ok_or(Defect::Missing(name))
    }

    fn number(&self, name: &'static str) -> Result<u64, Defect> {
        number(name, self.one(name)?)
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<&'a str, Defect> {
        text(name, self.one(name)?)
    }

    pub(crate) fn id(&self, name: &'static str) -> Result<Uuid, Defect> {
        Uuid::from_slice(self.one(name)?).map_err(|_| Defect::Malformed(name))
    }
}
