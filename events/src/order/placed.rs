//! `order.placed` in its versions.

use serde::{Deserialize, Serialize};

use super::Lines;
use crate::{
    currency::Currency,
    id::CustomerId,
    number::{Money, Quantity},
    timestamp::Timestamp,
};

/// `order.placed.v2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    pub customer_id: CustomerId,
    pub currency: Currency,
    pub lines: Lines,
    pub total_minor: Money,
    /// New in v2: the sum of the quantities.
    pub units: Quantity,
    pub placed_at: Timestamp,
}

/// `order.placed.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlacedV1 {
    pub customer_id: CustomerId,
    pub currency: Currency,
    pub lines: Lines,
    pub total_minor: Money,
    pub placed_at: Timestamp,
}

impl From<PlacedV1> for Placed {
    fn from(v1: PlacedV1) -> Self {
        let units = v1.lines.units();
        let PlacedV1 { customer_id, currency, lines, total_minor, placed_at } = v1;
        Self { customer_id, currency, lines, total_minor, units, placed_at }
    }
}
