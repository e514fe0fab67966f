//! Value types as columns.

use highwater_protocol::time::Micros;
use highwater_rows::{Cell, CellKind, Column, UnfitCell, of_cell};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    data::Data,
    value::{Count, Currency, Delta, Id, Money, Quantity, Text, Timestamp},
};

/// Types that are made of what a cell holds.
macro_rules! column {
    ($inner:ty: $($type:ty)*) => {$(
        impl Column for $type {
            const KIND: CellKind = <$inner as Column>::KIND;

            fn cell(&self) -> Cell {
                <$inner as Column>::cell(&self.clone().into())
            }

            fn of(cell: Cell) -> Result<Self, String> {
                <$inner as Column>::of(cell)?.try_into().map_err(|error| format!("{error}"))
            }
        }
    )*};
}

column!(i64: Money Quantity Count Delta);
column!(String: Currency);

impl Column for Timestamp {
    const KIND: CellKind = CellKind::Time;

    fn cell(&self) -> Cell {
        Cell::Time(Micros(self.micros()))
    }

    fn of(cell: Cell) -> Result<Self, String> {
        Micros::of(cell).map(Self::from)
    }
}

impl<const MOST: usize> Column for Text<MOST> {
    const KIND: CellKind = CellKind::Text;

    fn cell(&self) -> Cell {
        Cell::Text(self.to_string())
    }

    fn of(cell: Cell) -> Result<Self, String> {
        String::of(cell)?.try_into().map_err(|error| format!("{error}"))
    }
}

impl<T> Column for Id<T> {
    const KIND: CellKind = CellKind::Uuid;

    fn cell(&self) -> Cell {
        Cell::Uuid(self.uuid())
    }

    fn of(cell: Cell) -> Result<Self, String> {
        Uuid::of(cell).map(Self::new)
    }
}

/// A field of any type of a contract, as JSON.
#[doc(hidden)]
pub fn json_cell(value: &impl Data) -> Cell {
    serde_json::to_value(value).map_or(Cell::Null, Cell::Json)
}

/// The other way round.
#[doc(hidden)]
pub fn json_of<T: Data>(cell: Option<Cell>, column: &str) -> Result<T, UnfitCell> {
    let json: Value = of_cell(cell, column)?;
    serde_json::from_value(json)
        .map_err(|error| UnfitCell { column: column.to_owned(), why: error.to_string() })
}
