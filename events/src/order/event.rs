//! The order's events.

use highwater::prelude::*;

use super::{Customer, Departments, Lines};

#[derive(Event)]
#[event(category = "order")]
pub enum OrderEvent {
    #[event("placed", old(PlacedV1))]
    Placed(Placed),
    #[event("confirmed")]
    Confirmed(Confirmed),
    #[event("cancelled")]
    Cancelled(Cancelled),
    #[event("shipped")]
    Shipped(Shipped),
    #[event("delivered")]
    Delivered(Delivered),
    #[event("returned")]
    Returned(Returned),
}

/// An order was placed.
#[derive(Data)]
pub struct Placed {
    /// Who placed it.
    pub customer_id: Id<Customer>,
    pub currency: Currency,
    pub lines: Lines,
    /// Sum over the lines of quantity times price.
    pub total_minor: Money,
    /// Sum of the quantities.
    pub units: Quantity,
    /// As the client gave it, else the time of the decision.
    pub placed_at: Timestamp,
}

/// An order was placed. Replaced by order.placed.v2; still read, no longer written.
#[derive(Data)]
pub struct PlacedV1 {
    /// Who placed it.
    pub customer_id: Id<Customer>,
    pub currency: Currency,
    pub lines: Lines,
    /// Sum over the lines of quantity times price.
    pub total_minor: Money,
    /// As the client gave it, else the time of the decision.
    pub placed_at: Timestamp,
}

impl From<PlacedV1> for Placed {
    fn from(v1: PlacedV1) -> Self {
        let units = v1.lines.units();
        let PlacedV1 { customer_id, currency, lines, total_minor, placed_at } = v1;
        Self { customer_id, currency, lines, total_minor, units, placed_at }
    }
}

/// An order was confirmed.
#[derive(Data)]
pub struct Confirmed {
    /// When it was decided.
    pub confirmed_at: Timestamp,
}

/// A placed or confirmed order was cancelled. It carries what was placed, so that sums by day and
/// department can be taken back.
#[derive(Data)]
pub struct Cancelled {
    /// Not for personal data.
    pub reason: Text<500>,
    /// When it was decided.
    pub cancelled_at: Timestamp,
    /// Of the order.
    pub placed_at: Timestamp,
    pub departments: Departments,
}

/// A confirmed order was shipped.
#[derive(Data)]
pub struct Shipped {
    pub carrier: Option<Text<100>>,
    /// Not for personal data.
    pub tracking: Option<Text<100>>,
    /// When it was decided.
    pub shipped_at: Timestamp,
}

/// A shipped order was delivered.
#[derive(Data)]
pub struct Delivered {
    /// When it was decided.
    pub delivered_at: Timestamp,
}

/// A delivered order was returned.
#[derive(Data)]
pub struct Returned {
    /// Not for personal data.
    pub reason: Text<500>,
    /// When it was decided.
    pub returned_at: Timestamp,
}
