//! `orders`: one row an order, with its lines.

use events::order::{Customer, Lines, OrderEvent};
use highwater::prelude::*;

use crate::Order;

/// An order as it stands now.
#[derive(Row)]
#[row(table = "orders")]
pub struct OrderRow {
    status: Status,
    customer_id: Id<Customer>,
    currency: Currency,
    placed_at: Timestamp,
    units: Quantity,
    total_minor: Money,
    #[json]
    lines: Lines,
    /// Of the cancellation or the return.
    reason: Option<Text<500>>,
    carrier: Option<Text<100>>,
}

#[derive(Data)]
pub enum Status {
    Placed,
    Confirmed,
    Shipped,
    Delivered,
    Returned,
    Cancelled,
}

impl Fold for OrderRow {
    type Of = Order;

    fn fold(row: Option<Self>, recorded: &Recorded<OrderEvent>) -> Result<Self, Unreadable> {
        Ok(match (row, recorded.event.clone()) {
            (None, OrderEvent::Placed(placed)) => Self {
                status: Status::Placed,
                customer_id: placed.customer_id,
                currency: placed.currency,
                placed_at: placed.placed_at,
                units: placed.units,
                total_minor: placed.total_minor,
                lines: placed.lines,
                reason: None,
                carrier: None,
            },
            (Some(row), OrderEvent::Confirmed(_)) => Self { status: Status::Confirmed, ..row },
            (Some(row), OrderEvent::Cancelled(cancelled)) => {
                Self { status: Status::Cancelled, reason: Some(cancelled.reason), ..row }
            }
            (Some(row), OrderEvent::Shipped(shipped)) => {
                Self { status: Status::Shipped, carrier: shipped.carrier, ..row }
            }
            (Some(row), OrderEvent::Delivered(_)) => Self { status: Status::Delivered, ..row },
            (Some(row), OrderEvent::Returned(returned)) => {
                Self { status: Status::Returned, reason: Some(returned.reason), ..row }
            }
            (None, _) | (Some(_), OrderEvent::Placed(_)) => return Err(recorded.unexpected()),
        })
    }
}
