//! One record's headers and key, read as docs/log-format.md says: every header that the table
//! demands for the kind, there once, in its encoding. Never looks at another record.

pub mod command;

use std::collections::HashMap;

use highwater_protocol::record::Record;
use uuid::Uuid;

/// A UUID's bytes.
pub type Id = [u8; 16];

/// `ce_time` as it is written. Text of this one form sorts as the times do.
pub type Time = [u8; 27];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub epoch: u64,
    pub writer: Id,
    /// None on a fence.
    pub seq: Option<u64>,
    pub drained: Option<u64>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Fence,
    Barrier,
    Sealed,
    Unknown,
    Rejected(About),
    Unchanged(About),
    Event(About, Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub aggregate: Id,
    pub command: Id,
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub index: u64,
    pub of: u64,
    pub time: Time,
    pub source: String,
}

/// Why a record is void by rule 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("header {0} is missing")]
    Missing(&'static str),
    #[error("header {0} is there more than once")]
    Repeated(&'static str),
    #[error("header {0} is not in its encoding")]
    Malformed(&'static str),
    #[error("the key is not the aggregate's id")]
    Key,
    #[error("it has no value")]
    NoValue,
}

impl Entry {
    pub fn read(record: &Record) -> Result<Self, Unreadable> {
        let headers = Headers::of(record);
        let kind = headers.demand("hw-kind")?;
        let (epoch, writer) = (headers.number("hw-epoch")?, headers.id("hw-writer")?);
        if kind == b"fence" {
            return Ok(Self { epoch, writer, seq: None, drained: None, body: Body::Fence });
        }
        let (seq, drained) = (headers.number("hw-seq")?, headers.optional_number("hw-drained")?);
        let body = match kind {
            b"event" => Body::Event(about(&headers, record)?, event(&headers, record)?),
            b"rejected" => Body::Rejected(about(&headers, record)?),
            b"unchanged" => Body::Unchanged(about(&headers, record)?),
            b"barrier" => Body::Barrier,
            b"sealed" => Body::Sealed,
            other
                if !other.is_empty()
                    && other.iter().all(|b| b.is_ascii_lowercase() || *b == b'-') =>
            {
                Body::Unknown
            }
            _ => return Err(Unreadable::Malformed("hw-kind")),
        };
        Ok(Self { epoch, writer, seq: Some(seq), drained, body })
    }

    /// What events and outcomes are about.
    pub fn about(&self) -> Option<&About> {
        match &self.body {
            Body::Rejected(about) | Body::Unchanged(about) | Body::Event(about, _) => Some(about),
            Body::Fence | Body::Barrier | Body::Sealed | Body::Unknown => None,
        }
    }
}

fn about(headers: &Headers<'_>, record: &Record) -> Result<About, Unreadable> {
    let aggregate = record.key.as_deref().and_then(id_text).ok_or(Unreadable::Key)?;
    if headers.demand("hw-fingerprint")?.len() != 34 {
        return Err(Unreadable::Malformed("hw-fingerprint"));
    }
    for name in ["hw-actor", "hw-correlation", "hw-causation"] {
        headers.id(name)?;
    }
    headers.optional_number("hw-source")?;
    if record.value.is_none() {
        return Err(Unreadable::NoValue);
    }
    Ok(About {
        aggregate,
        command: headers.id("hw-command")?,
        version: headers.number("hw-version")?,
    })
}

fn event(headers: &Headers<'_>, record: &Record) -> Result<Event, Unreadable> {
    for (name, constant) in [("content-type", "application/json"), ("ce_specversion", "1.0")] {
        headers.in_form(name, |value| value == constant.as_bytes())?;
    }
    headers.in_form("ce_id", |value| id_text(value).is_some())?;
    headers.in_form("ce_subject", |value| Some(value) == record.key.as_deref())?;
    for name in ["ce_source", "ce_type"] {
        headers.in_form(name, is_text)?;
    }
    headers.in_form("ce_dataschema", |value| {
        value.strip_prefix(b"urn:highwater:schema:").is_some_and(is_text)
    })?;
    headers.in_form("hw-version", |value| value != b"0")?;
    let time = headers.demand("ce_time")?;
    let time: Time =
        time.try_into().ok().filter(is_time).ok_or(Unreadable::Malformed("ce_time"))?;
    let (index, of) = match headers.optional("hw-commit")? {
        Some(value) => part(value).ok_or(Unreadable::Malformed("hw-commit"))?,
        None => (1, 1),
    };
    Ok(Event {
        index,
        of,
        time,
        source: String::from_utf8_lossy(headers.demand("ce_source")?).into_owned(),
    })
}

/// `i/n`, 1 <= i <= n, 2 <= n <= 256.
fn part(value: &[u8]) -> Option<(u64, u64)> {
    let mut sides = value.split(|b| *b == b'/');
    let (index, of) = (decimal(sides.next()?)?, decimal(sides.next()?)?);
    (sides.next().is_none() && (2..=256).contains(&of) && (1..=of).contains(&index))
        .then_some((index, of))
}

/// Digits without sign and leading zeros, at most 2^63 - 1.
fn decimal(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let number: u64 = text.parse().ok()?;
    (i64::try_from(number).is_ok() && number.to_string() == text).then_some(number)
}

fn is_text(value: &[u8]) -> bool {
    !value.is_empty() && std::str::from_utf8(value).is_ok()
}

/// Lower case, with hyphens.
fn id_text(value: &[u8]) -> Option<Id> {
    let id: Uuid = std::str::from_utf8(value).ok()?.parse().ok()?;
    (id.to_string().as_bytes() == value).then_some(id.into_bytes())
}

/// `YYYY-MM-DDThh:mm:ss.ffffffZ`, a second that exists.
fn is_time(text: &Time) -> bool {
    let form = b"dddd-dd-ddTdd:dd:dd.ddddddZ";
    let fits = text
        .iter()
        .zip(form)
        .all(|(byte, form)| if *form == b'd' { byte.is_ascii_digit() } else { byte == form });
    let text = String::from_utf8_lossy(text);
    fits && chrono::NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.6fZ").is_ok()
        && &text[17..19] != "60"
}

/// Every header's values by name.
struct Headers<'a>(HashMap<&'a str, Vec<&'a [u8]>>);

impl<'a> Headers<'a> {
    fn of(record: &'a Record) -> Self {
        let mut by_name: HashMap<&str, Vec<&[u8]>> = HashMap::with_capacity(record.headers.len());
        for header in &record.headers {
            by_name.entry(&header.name).or_default().push(&header.value);
        }
        Self(by_name)
    }

    fn optional(&self, name: &'static str) -> Result<Option<&'a [u8]>, Unreadable> {
        match self.0.get(name).map(Vec::as_slice) {
            None => Ok(None),
            Some([value]) => Ok(Some(value)),
            Some(_) => Err(Unreadable::Repeated(name)),
        }
    }

    fn demand(&self, name: &'static str) -> Result<&'a [u8], Unreadable> {
        self.optional(name)?.ok_or(Unreadable::Missing(name))
    }

    fn in_form(
        &self,
        name: &'static str,
        form: impl FnOnce(&[u8]) -> bool,
    ) -> Result<(), Unreadable> {
        if form(self.demand(name)?) { Ok(()) } else { Err(Unreadable::Malformed(name)) }
    }

    fn number(&self, name: &'static str) -> Result<u64, Unreadable> {
        decimal(self.demand(name)?).ok_or(Unreadable::Malformed(name))
    }

    fn optional_number(&self, name: &'static str) -> Result<Option<u64>, Unreadable> {
        let value = self.optional(name)?;
        value.map(|value| decimal(value).ok_or(Unreadable::Malformed(name))).transpose()
    }

    fn id(&self, name: &'static str) -> Result<Id, Unreadable> {
        self.demand(name)?.try_into().map_err(|_| Unreadable::Malformed(name))
    }
}
