//! Between the types of fields and cells.

use serde_json::Value;
use uuid::Uuid;

use super::{Cell, CellKind, UnfitCell};
use crate::{
    data::Data,
    value::{Count, Currency, Delta, Id, Money, Quantity, Text, Timestamp},
};

/// A type that a column can hold.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a column",
    note = "use bool, i64, String, Uuid, a value type of highwater or an Option of one of them, or \
            mark the field with #[json]"
)]
pub trait Column: Sized {
    /// What the column holds.
    const KIND: CellKind;
    /// Whether it may hold nothing.
    const NULLABLE: bool = false;

    /// Into the table.
    fn cell(&self) -> Cell;

    /// Out of the table. `Err`: why it does not fit.
    fn of(cell: Cell) -> Result<Self, String>;
}

impl<T: Column> Column for Option<T> {
    const KIND: CellKind = T::KIND;
    const NULLABLE: bool = true;

    fn cell(&self) -> Cell {
        self.as_ref().map_or(Cell::Null, T::cell)
    }

    fn of(cell: Cell) -> Result<Self, String> {
        if cell == Cell::Null { Ok(None) } else { T::of(cell).map(Some) }
    }
}

/// Types that a cell holds as they are, and types that are made of one of those.
macro_rules! column {
    ($kind:ident: $($type:ty)*) => {$(
        impl Column for $type {
            const KIND: CellKind = CellKind::$kind;

            fn cell(&self) -> Cell {
                Cell::$kind(self.clone().into())
            }

            fn of(cell: Cell) -> Result<Self, String> {
                match cell {
                    Cell::$kind(value) => {
                        value.try_into().map_err(|error| format!("{error}"))
                    }
                    other => Err(unlike(CellKind::$kind, &other)),
                }
            }
        }
    )*};
}

column!(Bool: bool);
column!(Integer: i64 Money Quantity Count Delta);
column!(Text: String Currency);
column!(Uuid: Uuid);
column!(Time: Timestamp);
column!(Json: Value);

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

fn unlike(kind: CellKind, cell: &Cell) -> String {
    format!("{kind:?} was expected, not {cell:?}")
}

/// The next cell as a field.
#[doc(hidden)]
pub fn of_cell<T: Column>(cell: Option<Cell>, column: &str) -> Result<T, UnfitCell> {
    let read = cell.ok_or_else(|| "there is no cell".to_owned()).and_then(T::of);
    read.map_err(|why| UnfitCell { column: column.to_owned(), why })
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
