//! `return`: a delivered order comes back, within the window. (`return` is a word of the language.)

use events::{
    order::{Return, Returned},
    timestamp::Timestamp,
};
use protocol::time::Micros;

use super::{Order, Rejection, Stage};

/// 30 days, the last microsecond included.
const WINDOW_MICROS: i64 = 30 * 24 * 60 * 60 * 1_000_000;

pub fn decide(order: &Order, command: &Return, at: Timestamp) -> Result<Option<Returned>, Rejection> {
    match order.stage {
        Stage::Placed | Stage::Confirmed | Stage::Shipped => Err(Rejection::NotDelivered),
        Stage::Delivered { delivered_at } => {
            let until = delivered_at.micros().saturating_add(WINDOW_MICROS);
            if at.micros() > until {
                return Err(Rejection::ReturnWindowClosed(Micros(until)));
            }
            Ok(Some(Returned { reason: command.reason.clone(), returned_at: at }))
        }
        Stage::Returned => Ok(None),
        Stage::Cancelled => Err(Rejection::AlreadyCancelled),
    }
}
