//! The stock's events, read from and written to the log. Each says what it left behind, so that a
//! reader need not add up.

use highwater_protocol::{domain::Unreadable, wire::Fact};
use serde::{Deserialize, Serialize};

use crate::{
    fact,
    id::OrderId,
    number::{Count, Delta, Quantity},
    text::Text,
};

/// Every event in its latest version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StockEvent {
    Received(Received),
    Reserved(Reserved),
    Released(Released),
    Shipped(Shipped),
    Adjusted(Adjusted),
}

/// Units in the house, and how many of them are kept for orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    pub on_hand: Count,
    pub reserved: Count,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
    pub quantity: Quantity,
    pub on_hand: Count,
    pub reserved: Count,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    pub order_id: OrderId,
    pub quantity: Quantity,
    pub on_hand: Count,
    pub reserved: Count,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    pub order_id: OrderId,
    pub quantity: Quantity,
    pub on_hand: Count,
    pub reserved: Count,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Shipped {
    pub order_id: OrderId,
    pub quantity: Quantity,
    pub on_hand: Count,
    pub reserved: Count,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Adjusted {
    pub delta: Delta,
    pub reason: Text<500>,
    pub on_hand: Count,
    pub reserved: Count,
}

impl Levels {
    /// What can still be reserved.
    pub fn available(self) -> Count {
        self.on_hand.saturating_minus(self.reserved.get())
    }
}

impl StockEvent {
    /// Reads any version ever published. [`Unreadable::Newer`]: a version or type that this release
    /// does not know yet.
    pub fn decode(stored: &Fact) -> Result<Self, Unreadable> {
        Ok(match fact::claimed(stored)? {
            ("stock.received", 1) => Self::Received(fact::data(stored)?),
            ("stock.reserved", 1) => Self::Reserved(fact::data(stored)?),
            ("stock.released", 1) => Self::Released(fact::data(stored)?),
            ("stock.shipped", 1) => Self::Shipped(fact::data(stored)?),
            ("stock.adjusted", 1) => Self::Adjusted(fact::data(stored)?),
            _ => return Err(fact::unknown("stock", stored)),
        })
    }

    /// Writes the latest version.
    pub fn encode(&self) -> Fact {
        match self {
            Self::Received(data) => fact::encode("stock.received", "stock.received.v1", data),
            Self::Reserved(data) => fact::encode("stock.reserved", "stock.reserved.v1", data),
            Self::Released(data) => fact::encode("stock.released", "stock.released.v1", data),
            Self::Shipped(data) => fact::encode("stock.shipped", "stock.shipped.v1", data),
            Self::Adjusted(data) => fact::encode("stock.adjusted", "stock.adjusted.v1", data),
        }
    }

    /// What the event left behind.
    pub fn levels(&self) -> Levels {
        match *self {
            Self::Received(Received { on_hand, reserved, .. })
            | Self::Reserved(Reserved { on_hand, reserved, .. })
            | Self::Released(Released { on_hand, reserved, .. })
            | Self::Shipped(Shipped { on_hand, reserved, .. })
            | Self::Adjusted(Adjusted { on_hand, reserved, .. }) => Levels { on_hand, reserved },
        }
    }
}
