//! Between typed events and stored ones: which type and version a fact claims, and its data.

use std::borrow::Cow;

use highwater_protocol::{domain::Unreadable, wire::Fact};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

/// The event type and version that a fact claims; they must agree (`order.placed` with
/// `order.placed.v2`).
pub(crate) fn claimed(fact: &Fact) -> Result<(&str, u32), Unreadable> {
    let digits =
        fact.schema.strip_prefix(fact.event_type.as_ref()).and_then(|rest| rest.strip_prefix(".v"));
    let version = digits.filter(|digits| canonical(digits)).and_then(|digits| digits.parse().ok());
    let version = version
        .ok_or_else(|| malformed(fact, format!("is not a schema of {}", fact.event_type)))?;
    Ok((fact.event_type.as_ref(), version))
}

/// From 1, without sign or leading zeros.
fn canonical(digits: &str) -> bool {
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

pub(crate) fn data<T: DeserializeOwned>(fact: &Fact) -> Result<T, Unreadable> {
    // serde would also read a struct from an array of its fields.
    if fact.data.trim_ascii_start().first() != Some(&b'{') {
        return Err(malformed(fact, "is not an object".to_owned()));
    }
    serde_json::from_slice(&fact.data).map_err(|error| malformed(fact, error.to_string()))
}

/// What no release has published so far: of this category, else it is in the wrong topic.
pub(crate) fn unknown(category: &str, fact: &Fact) -> Unreadable {
    match fact.event_type.strip_prefix(category) {
        Some(rest) if rest.starts_with('.') => Unreadable::Newer { what: fact.schema.to_string() },
        _ => malformed(fact, format!("is no event of {category}")),
    }
}

pub(crate) fn malformed(fact: &Fact, why: String) -> Unreadable {
    Unreadable::Malformed { what: fact.schema.to_string(), why }
}

pub(crate) fn encode(
    event_type: &'static str,
    schema: &'static str,
    data: &impl Serialize,
) -> Fact {
    #[expect(
        clippy::expect_used,
        reason = "event data is structs of strings and integers, which JSON can always hold"
    )]
    let data = serde_json::to_vec(data).expect("event data is JSON");
    Fact { event_type: Cow::Borrowed(event_type), schema: Cow::Borrowed(schema), data }
}

/// An optional field that is there: absent is `None`, but `null` is refused.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
