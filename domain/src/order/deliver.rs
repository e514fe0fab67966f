//! `deliver`: a shipped order has arrived.

use events::{order::Delivered, timestamp::Timestamp};

use super::{Order, Rejection, Stage};

pub fn decide(order: &Order, at: Timestamp) -> Result<Option<Delivered>, Rejection> {
    match order.stage {
        Stage::Placed | Stage::Confirmed => Err(Rejection::NotShipped),
        Stage::Shipped => Ok(Some(Delivered { delivered_at: at })),
        Stage::Delivered { .. } | Stage::Returned => Ok(None),
        Stage::Cancelled => Err(Rejection::AlreadyCancelled),
    }
}
