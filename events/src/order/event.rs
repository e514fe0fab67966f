//! The order's events, read from and written to the log.

use highwater_protocol::{domain::Unreadable, wire::Fact};
use serde::{Deserialize, Serialize};

use super::{Placed, PlacedV1};
use crate::{
    fact,
    number::{Money, Quantity},
    text::Text,
    timestamp::Timestamp,
};

/// Every event in its latest version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OrderEvent {
    Placed(Placed),
    Confirmed(Confirmed),
    Cancelled(Cancelled),
    Shipped(Shipped),
    Delivered(Delivered),
    Returned(Returned),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmed {
    pub confirmed_at: Timestamp,
}

/// Carries what was placed, so that sums by day and department can be taken back without asking
/// another table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cancelled {
    pub reason: Text<500>,
    pub cancelled_at: Timestamp,
    pub placed_at: Timestamp,
    pub departments: Vec<DepartmentSum>,
}

/// An order's lines in one department, added up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DepartmentSum {
    pub department: Text<100>,
    pub lines: Quantity,
    pub units: Quantity,
    pub total_minor: Money,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Shipped {
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::fact::present"
    )]
    pub carrier: Option<Text<100>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::fact::present"
    )]
    pub tracking: Option<Text<100>>,
    pub shipped_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Delivered {
    pub delivered_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Returned {
    pub reason: Text<500>,
    pub returned_at: Timestamp,
}

impl OrderEvent {
    /// Reads any version ever published. [`Unreadable::Newer`]: a version or type that this release
    /// does not know yet.
    pub fn decode(stored: &Fact) -> Result<Self, Unreadable> {
        Ok(match fact::claimed(stored)? {
            ("order.placed", 1) => Self::Placed(fact::data::<PlacedV1>(stored)?.into()),
            ("order.placed", 2) => Self::Placed(fact::data(stored)?),
            ("order.confirmed", 1) => Self::Confirmed(fact::data(stored)?),
            ("order.cancelled", 1) => Self::Cancelled(fact::data(stored)?),
            ("order.shipped", 1) => Self::Shipped(fact::data(stored)?),
            ("order.delivered", 1) => Self::Delivered(fact::data(stored)?),
            ("order.returned", 1) => Self::Returned(fact::data(stored)?),
            _ => return Err(fact::unknown("order", stored)),
        })
    }

    /// Writes the latest version.
    pub fn encode(&self) -> Fact {
        match self {
            Self::Placed(data) => fact::encode("order.placed", "order.placed.v2", data),
            Self::Confirmed(data) => fact::encode("order.confirmed", "order.confirmed.v1", data),
            Self::Cancelled(data) => fact::encode("order.cancelled", "order.cancelled.v1", data),
            Self::Shipped(data) => fact::encode("order.shipped", "order.shipped.v1", data),
            Self::Delivered(data) => fact::encode("order.delivered", "order.delivered.v1", data),
            Self::Returned(data) => fact::encode("order.returned", "order.returned.v1", data),
        }
    }
}
