//! Ids that one aggregate holds of another. An aggregate's own id is no part of its data: it is the
//! record's key.

use std::{
    cmp, fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::{
    data::{Data, Usage, parse_id},
    schema::Schema,
};

/// The id of a `T`, which may be any type that tells ids apart: an aggregate, its events, or a type
/// of its own. Nothing says that what it names exists.
///
/// A command may write it in either case, an event has it in lower case.
pub struct Id<T>(Uuid, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// The id itself.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// As it stands in tables.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

pub(crate) fn uuid_schema(place: Usage) -> Schema {
    let digit = match place {
        Usage::Command => "[0-9A-Fa-f]",
        Usage::Event => "[0-9a-f]",
    };
    let groups = [8, 4, 4, 4, 12].map(|digits| format!("{digit}{{{digits}}}"));
    Schema::of("string").with("format", "uuid").with("pattern", format!("^{}$", groups.join("-")))
}

impl<T> Data for Id<T> {
    fn schema(place: Usage) -> Schema {
        uuid_schema(place)
    }
}

/// Reads what [`parse_id`] reads.
impl<T> TryFrom<&str> for Id<T> {
    type Error = NotAnId;

    fn try_from(text: &str) -> Result<Self, NotAnId> {
        parse_id(text).map(Self::new).ok_or(NotAnId)
    }
}

/// Not a hyphenated UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a hyphenated UUID")]
pub struct NotAnId;

impl<T> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(String::deserialize(deserializer)?.as_str()).map_err(de::Error::custom)
    }
}

impl<T> From<Uuid> for Id<T> {
    fn from(uuid: Uuid) -> Self {
        Self::new(uuid)
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.0)
    }
}

impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hyphenated_form_is_an_id() {
        let id = "5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a01";
        assert_eq!(parse_id(id).map(|id| id.to_string()), Some(id.to_owned()));
        assert_eq!(parse_id(&id.to_uppercase()), parse_id(id));
        let refused = [
            id.replace('-', ""),
            format!("{{{id}}}"),
            format!("urn:uuid:{id}"),
            format!(" {id}"),
            String::new(),
        ];
        for text in refused {
            assert_eq!(parse_id(&text), None, "{text}");
        }
    }
}
