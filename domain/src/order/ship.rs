//! `ship`: a confirmed order leaves the house.

use events::{
    order::{Ship, Shipped},
    timestamp::Timestamp,
};

use super::{Order, Rejection, Stage};

pub fn decide(order: &Order, command: &Ship, at: Timestamp) -> Result<Option<Shipped>, Rejection> {
    match order.stage {
        Stage::Placed => Err(Rejection::NotConfirmed),
        Stage::Confirmed => Ok(Some(Shipped { carrier: command.carrier.clone(), tracking: command.tracking.clone(), shipped_at: at })),
        Stage::Shipped => Ok(None),
        Stage::Delivered { .. } | Stage::Returned => Err(Rejection::AlreadyShipped),
        Stage::Cancelled => Err(Rejection::AlreadyCancelled),
    }
}
