//! The product's events, read from and written to the log.

use highwater_protocol::{domain::Unreadable, wire::Fact};
use serde::{Deserialize, Serialize};

use crate::{currency::Currency, fact, number::Money, text::Text};

/// Every event in its latest version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProductEvent {
    Created(Created),
    Described(Described),
    PriceSet(PriceSet),
    Discontinued(Discontinued),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Created {
    pub name: Text<200>,
    pub department: Text<100>,
    pub unit_price_minor: Money,
    pub currency: Currency,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::fact::present"
    )]
    pub brand: Option<Text<100>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::fact::present"
    )]
    pub category: Option<Text<100>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::fact::present"
    )]
    pub description: Option<Text<4000>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::fact::present"
    )]
    pub package_size: Option<Text<100>>,
}

/// The whole description from now on: a field that is absent is unset.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    pub name: Text<200>,
    pub department: Text<100>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::fact::present"
    )]
    pub brand: Option<Text<100>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::fact::present"
    )]
    pub category: Option<Text<100>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::fact::present"
    )]
    pub description: Option<Text<4000>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::fact::present"
    )]
    pub package_size: Option<Text<100>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PriceSet {
    pub unit_price_minor: Money,
    pub currency: Currency,
    pub previous_unit_price_minor: Money,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Discontinued {}

impl ProductEvent {
    /// Reads any version ever published. [`Unreadable::Newer`]: a version or type that this release
    /// does not know yet.
    pub fn decode(stored: &Fact) -> Result<Self, Unreadable> {
        Ok(match fact::claimed(stored)? {
            ("product.created", 1) => Self::Created(fact::data(stored)?),
            ("product.described", 1) => Self::Described(fact::data(stored)?),
            ("product.price-set", 1) => Self::PriceSet(fact::data(stored)?),
            ("product.discontinued", 1) => Self::Discontinued(fact::data(stored)?),
            _ => return Err(fact::unknown("product", stored)),
        })
    }

    /// Writes the latest version.
    pub fn encode(&self) -> Fact {
        match self {
            Self::Created(data) => fact::encode("product.created", "product.created.v1", data),
            Self::Described(data) => {
                fact::encode("product.described", "product.described.v1", data)
            }
            Self::PriceSet(data) => fact::encode("product.price-set", "product.price-set.v1", data),
            Self::Discontinued(data) => {
                fact::encode("product.discontinued", "product.discontinued.v1", data)
            }
        }
    }
}
