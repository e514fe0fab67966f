//! Rows become baskets: what stands together under one number. Holds one basket at a time and
//! refuses what no order could be.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    Error,
    source::{Row, Rows, Source},
};

/// As many lines as an order takes; it bounds what is held, too.
const MOST_LINES: usize = 500;
/// 2^53 - 1: what every reader of JSON can count.
pub(super) const MAX: u64 = (1 << 53) - 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Basket {
    pub(super) number: String,
    pub(super) household: String,
    pub(super) placed_at: DateTime<Utc>,
    pub(super) lines: Vec<Line>,
    pub(super) units: u64,
    pub(super) total_minor: u64,
    /// The line of the file that it begins on.
    pub(super) begins: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) product: String,
    pub(super) quantity: u64,
    pub(super) unit_price_minor: u64,
}

pub(super) struct Baskets {
    rows: Rows<SaleRecord>,
    /// The first row of the next basket.
    ahead: Option<Row<SaleRecord>>,
}

#[derive(Deserialize)]
struct SaleRecord {
    basket_id: String,
    household_id: String,
    placed_at: DateTime<Utc>,
    product_id: String,
    quantity: u64,
    unit_price_minor: u64,
}

impl Baskets {
    pub(super) fn of(source: &Source) -> Result<Self, Error> {
        let mut rows = source.rows()?;
        let ahead = rows.next()?;
        Ok(Self { rows, ahead })
    }

    pub(super) fn next(&mut self) -> Result<Option<Basket>, Error> {
        let Some(first) = self.ahead.take() else { return Ok(None) };
        let mut basket = Basket {
            number: first.row.basket_id.clone(),
            household: first.row.household_id.clone(),
            placed_at: first.row.placed_at,
            lines: Vec::new(),
            units: 0,
            total_minor: 0,
            begins: first.line,
        };
        let mut products = HashSet::new();
        let mut next = Some(first);
        while let Some(row) = next.take() {
            if row.row.basket_id != basket.number {
                self.ahead = Some(row);
                break;
            }
            let line = row.line;
            basket.add(row.row, &mut products).map_err(|what| self.refused(line, what))?;
            next = self.rows.next()?;
        }
        Ok(Some(basket))
    }

    pub(super) fn refused(&self, line: u64, what: String) -> Error {
        Error::Row { file: self.rows.file().to_owned(), line, what }
    }

    /// Of the whole file once there is no more basket.
    pub(super) fn digest(self) -> String {
        self.rows.digest()
    }
}

impl Basket {
    fn add(&mut self, row: SaleRecord, products: &mut HashSet<String>) -> Result<(), String> {
        let SaleRecord {
            basket_id,
            household_id,
            placed_at,
            product_id,
            quantity,
            unit_price_minor,
        } = row;
        if basket_id.is_empty() || household_id.is_empty() || product_id.is_empty() {
            return Err("basket_id, household_id and product_id must not be empty".to_owned());
        }
        if household_id != self.household || placed_at != self.placed_at {
            return Err(format!(
                "household and time are not those of the first line of basket {basket_id}"
            ));
        }
        if quantity == 0 || quantity > MAX || unit_price_minor > MAX {
            return Err(format!("quantities go from 1 and prices from 0, both up to {MAX}"));
        }
        if self.lines.len() == MOST_LINES {
            return Err(format!(
                "basket {basket_id} has more than the {MOST_LINES} lines of an order"
            ));
        }
        if !products.insert(product_id.clone()) {
            return Err(format!("basket {basket_id} has product {product_id} on a line already"));
        }
        let total = quantity
            .checked_mul(unit_price_minor)
            .and_then(|price| price.checked_add(self.total_minor));
        self.total_minor =
            total.filter(|total| *total <= MAX).ok_or_else(|| too_large(&basket_id))?;
        self.units = self
            .units
            .checked_add(quantity)
            .filter(|units| *units <= MAX)
            .ok_or_else(|| too_large(&basket_id))?;
        self.lines.push(Line { product: product_id, quantity, unit_price_minor });
        Ok(())
    }
}

fn too_large(basket: &str) -> String {
    format!("the sum of basket {basket} is more than {MAX}")
}

#[cfg(test)]
mod tests;
