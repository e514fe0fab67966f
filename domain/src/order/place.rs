//! `place`: an order comes to be. Whether its products exist is not asked.

use std::collections::HashSet;

use events::{
    order::{Place, Placed},
    timestamp::Timestamp,
};

use super::Rejection;

pub fn decide(command: &Place, at: Timestamp) -> Result<Placed, Rejection> {
    let mut seen = HashSet::with_capacity(command.lines.len());
    if let Some(twice) = command.lines.iter().find(|line| !seen.insert(line.product_id)) {
        return Err(Rejection::DuplicateLine(twice.product_id));
    }
    Ok(Placed {
        customer_id: command.customer_id,
        currency: command.currency,
        lines: command.lines.clone(),
        total_minor: command.lines.total_minor(),
        units: command.lines.units(),
        placed_at: command.placed_at.unwrap_or(at),
    })
}
