//! `confirm`: the shop will deliver a placed order.

use events::{order::Confirmed, timestamp::Timestamp};

use super::{Order, Rejection, Stage};

pub fn decide(order: &Order, at: Timestamp) -> Result<Option<Confirmed>, Rejection> {
    match order.stage {
        Stage::Placed => Ok(Some(Confirmed { confirmed_at: at })),
        Stage::Confirmed => Ok(None),
        Stage::Shipped | Stage::Delivered { .. } | Stage::Returned => Err(Rejection::AlreadyShipped),
        Stage::Cancelled => Err(Rejection::AlreadyCancelled),
    }
}
