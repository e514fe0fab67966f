//! `set-price`: another price, in the same currency.

use events::product::{PriceSet, SetPrice};

use super::{Product, Rejection, Stage};

pub fn decide(product: &Product, command: &SetPrice) -> Result<Option<PriceSet>, Rejection> {
    if product.stage == Stage::Discontinued {
        return Err(Rejection::Discontinued);
    }
    let SetPrice { unit_price_minor, currency } = *command;
    if currency != product.currency {
        return Err(Rejection::CurrencyMismatch { priced_in: product.currency, asked: currency });
    }
    let changes = unit_price_minor != product.unit_price_minor;
    Ok(changes.then_some(PriceSet { unit_price_minor, currency, previous_unit_price_minor: product.unit_price_minor }))
}
