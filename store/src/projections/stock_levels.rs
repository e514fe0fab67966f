//! `stock_levels`: one row a product that ever had stock, with what its last event left behind.

use events::stock::StockEvent;
use highwater::prelude::*;

use crate::Stock;

/// The stock of a product, whose id it has.
#[derive(Row)]
#[row(table = "stock_levels")]
pub struct StockRow {
    on_hand: Count,
    reserved: Count,
    /// What can still be reserved.
    available: Count,
}

impl Fold for StockRow {
    type Of = Stock;

    /// Every event says what it left behind.
    fn fold(_: Option<Self>, recorded: &Recorded<StockEvent>) -> Result<Self, Unreadable> {
        let levels = recorded.event.levels();
        let available = levels.available();
        Ok(Self { on_hand: levels.on_hand, reserved: levels.reserved, available })
    }
}
