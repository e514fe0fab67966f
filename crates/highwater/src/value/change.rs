//! A field of a partial change.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    data::{Data, Usage},
    schema::Schema,
};

/// What a partial change does to an optional field: absent leaves it, `null` clears it, a value
/// sets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Change<T> {
    /// The field is absent.
    #[default]
    Keep,
    /// The field is `null`.
    Clear,
    /// The field has a value.
    Set(T),
}

impl<T: Clone> Change<T> {
    /// What becomes of `before`.
    pub fn apply(&self, before: &Option<T>) -> Option<T> {
        match self {
            Self::Keep => before.clone(),
            Self::Clear => None,
            Self::Set(value) => Some(value.clone()),
        }
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Set(value) => value.serialize(serializer),
            Self::Keep | Self::Clear => serializer.serialize_none(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T: Data> Data for Change<T> {
    fn schema(place: Usage) -> Schema {
        T::schema(place).nullable()
    }

    fn absent() -> Option<Self> {
        Some(Self::Keep)
    }

    fn is_absent(&self) -> bool {
        matches!(self, Self::Keep)
    }
}
