//! Events: between typed ones and stored ones.

use std::borrow::Cow;

use highwater_protocol::{
    domain::Unreadable,
    entry::EventBody,
    vocabulary::Value,
    wire::{RecordedEvent, Wire},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{schema::Schema, value::Timestamp};

/// The events of a category, in their latest versions: `#[derive(Event)]`.
#[diagnostic::on_unimplemented(message = "`{Self}` is no event: derive Event for an enum")]
pub trait Event: Value {
    /// As in topics and in the names of events: `voucher`.
    const CATEGORY: &'static str;
    /// One entry an event.
    const KINDS: &'static [EventKind];

    /// Reads any version ever published. [`Unreadable::Newer`]: a version or an event that this
    /// release does not know yet.
    fn decode(stored: &RecordedEvent) -> Result<Self, Unreadable>;

    /// Writes the latest version.
    fn encode(&self) -> RecordedEvent;

    /// The schema of the data of one version, and what describes it.
    fn schema(name: &str, version: u32) -> Option<(Schema, &'static str)>;

    /// This event cannot be applied, because of `why`.
    fn unexpected(&self, why: impl Into<String>) -> Unreadable {
        Unreadable::Malformed { what: self.encode().schema.into_owned(), why: why.into() }
    }
}

/// An event of a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKind {
    /// `issued`, without its category.
    pub name: &'static str,
    /// Versions 1 to this one can be read.
    pub versions: u32,
}

/// An event, and what is known of where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recorded<E> {
    /// What happened.
    pub event: E,
    /// The aggregate's id.
    pub id: Uuid,
    /// The aggregate's version after it; the first event has 1.
    pub version: u64,
    /// When it was decided.
    pub time: Option<Timestamp>,
    /// The partition that it lies in.
    pub partition: Option<u32>,
    /// Its offset there.
    pub position: Option<u64>,
}

impl<E: Event> Recorded<E> {
    /// An event of the log.
    pub fn read(stored: &EventBody<Wire>) -> Result<Self, Unreadable> {
        Ok(Self {
            event: E::decode(&stored.event)?,
            id: stored.metadata.aggregate,
            version: stored.version,
            time: Some(stored.time.into()),
            partition: None,
            position: None,
        })
    }

    /// It lies there.
    #[must_use]
    pub fn at(self, partition: u32, position: u64) -> Self {
        Self { partition: Some(partition), position: Some(position), ..self }
    }

    /// It cannot follow what a row was folded from.
    pub fn unexpected(&self) -> Unreadable {
        let (category, version) = (E::CATEGORY, self.version);
        let article = article(category);
        self.event.unexpected(format!("cannot be event {version} of {article} {category}"))
    }
}

/// "a" or "an", by the first letter.
pub(crate) fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// The event type and version that a stored event claims; they must agree (`voucher.issued` with
/// `voucher.issued.v2`).
#[doc(hidden)]
pub fn claimed(stored: &RecordedEvent) -> Result<(&str, u32), Unreadable> {
    let digits = stored
        .schema
        .strip_prefix(stored.event_type.as_ref())
        .and_then(|rest| rest.strip_prefix(".v"));
    let version = digits.filter(|digits| canonical(digits)).and_then(|digits| digits.parse().ok());
    let version = version
        .ok_or_else(|| malformed(stored, format!("is not a schema of {}", stored.event_type)))?;
    Ok((stored.event_type.as_ref(), version))
}

/// From 1, without sign or leading zeros.
fn canonical(digits: &str) -> bool {
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

#[doc(hidden)]
pub fn data<T: DeserializeOwned>(stored: &RecordedEvent) -> Result<T, Unreadable> {
    serde_json::from_slice(&stored.data).map_err(|error| malformed(stored, error.to_string()))
}

/// What no release has published so far: of this category, else it is in the wrong topic.
#[doc(hidden)]
pub fn unknown(category: &str, stored: &RecordedEvent) -> Unreadable {
    match stored.event_type.strip_prefix(category) {
        Some(rest) if rest.starts_with('.') => {
            Unreadable::Newer { what: stored.schema.to_string() }
        }
        _ => malformed(stored, format!("is no event of {category}")),
    }
}

fn malformed(stored: &RecordedEvent, why: String) -> Unreadable {
    Unreadable::Malformed { what: stored.schema.to_string(), why }
}

#[doc(hidden)]
pub fn encode(
    event_type: &'static str,
    schema: &'static str,
    data: &impl Serialize,
) -> RecordedEvent {
    #[expect(
        clippy::expect_used,
        reason = "data of contracts is structs, strings and integers, which JSON can always hold"
    )]
    let data = serde_json::to_vec(data).expect("event data is JSON");
    RecordedEvent { event_type: Cow::Borrowed(event_type), schema: Cow::Borrowed(schema), data }
}
