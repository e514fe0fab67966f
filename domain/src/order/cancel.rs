//! `cancel`: an order that is not shipped is given up.

use events::{
    order::{Cancel, Cancelled},
    timestamp::Timestamp,
};

use super::{Order, Rejection, Stage};

pub fn decide(order: &Order, command: &Cancel, at: Timestamp) -> Result<Option<Cancelled>, Rejection> {
    match order.stage {
        Stage::Placed | Stage::Confirmed => Ok(Some(Cancelled {
            reason: command.reason.clone(),
            cancelled_at: at,
            placed_at: order.placed_at,
            departments: order.departments.clone().into(),
        })),
        Stage::Shipped | Stage::Delivered { .. } | Stage::Returned => Err(Rejection::AlreadyShipped),
        Stage::Cancelled => Ok(None),
    }
}
