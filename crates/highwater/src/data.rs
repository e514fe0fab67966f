//! What can stand in a contract.

pub(crate) mod object;
pub(crate) mod read;

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::read::{At, parse_id};
use crate::{finding::FieldError, schema::Schema};

/// Where a type stands; some schemas depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Usage {
    /// In the body of a command, as callers write it.
    Command,
    /// In an event or a state, as it is stored.
    Event,
}

/// A type that can stand in a contract: its JSON, and the schema of that. Derived for structs and
/// enums; a tuple struct of one field, with `#[data(try_from)]`, checks what its field's type
/// cannot.
///
/// A type accepts what its schema accepts, but for what no schema can say, and is written as its
/// schema promises.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in a contract",
    note = "every text and every number has bounds: use Text<N>, Count, Quantity, Money, Delta, \
            Timestamp, Currency, Id<T>, List<T, N>, Option or Change of one of them, or a type \
            that derives Data"
)]
pub trait Data: Serialize + DeserializeOwned {
    /// JSON Schema of it.
    fn schema(place: Usage) -> Schema;

    /// What a field of this type is when it is absent. `None`: the field is required.
    fn absent() -> Option<Self> {
        None
    }

    /// Whether a field of this value is left out.
    fn is_absent(&self) -> bool {
        false
    }

    /// Reads a field that is there.
    fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }

    /// Reads what a caller sent, and says everything that is wrong with it. `None` left a finding.
    fn read(json: &Value, at: &At<'_>, found: &mut Vec<FieldError>) -> Option<Self> {
        Self::present(json).map_err(|error| found.push(at.refuse(error))).ok()
    }
}

impl Data for bool {
    fn schema(_: Usage) -> Schema {
        Schema::of("boolean")
    }
}

/// Absent or there; `null` is refused.
impl<T: Data> Data for Option<T> {
    fn schema(place: Usage) -> Schema {
        T::schema(place)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::present(deserializer).map(Some)
    }

    fn read(json: &Value, at: &At<'_>, found: &mut Vec<FieldError>) -> Option<Self> {
        T::read(json, at, found).map(Some)
    }
}

/// A part that a state shares with its copies.
impl<T: Data> Data for Arc<T>
where
    Arc<T>: Serialize + for<'de> Deserialize<'de>,
{
    fn schema(place: Usage) -> Schema {
        T::schema(place)
    }

    fn read(json: &Value, at: &At<'_>, found: &mut Vec<FieldError>) -> Option<Self> {
        T::read(json, at, found).map(Arc::new)
    }
}
