//! Between the types of fields and cells.

use highwater_protocol::time::Micros;
use serde_json::Value;
use uuid::Uuid;

use crate::{Cell, CellKind, UnfitCell};

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
    /// All texts that it may hold; none: any.
    const CHOICES: &'static [&'static str] = &[];

    /// Into the table.
    fn cell(&self) -> Cell;

    /// Out of the table. `Err`: why it does not fit.
    fn of(cell: Cell) -> Result<Self, String>;
}

impl<T: Column> Column for Option<T> {
    const KIND: CellKind = T::KIND;
    const NULLABLE: bool = true;
    const CHOICES: &'static [&'static str] = T::CHOICES;

    fn cell(&self) -> Cell {
        self.as_ref().map_or(Cell::Null, T::cell)
    }

    fn of(cell: Cell) -> Result<Self, String> {
        if cell == Cell::Null { Ok(None) } else { T::of(cell).map(Some) }
    }
}

macro_rules! column {
    ($($kind:ident: $type:ty)*) => {$(
        impl Column for $type {
            const KIND: CellKind = CellKind::$kind;

            fn cell(&self) -> Cell {
                Cell::$kind(self.clone())
            }

            fn of(cell: Cell) -> Result<Self, String> {
                match cell {
                    Cell::$kind(value) => Ok(value),
                    // Its value is not named: it may be personal.
                    Cell::Null => Err("there is nothing in it".to_owned()),
                    _ => Err(format!("it holds no {}", CellKind::$kind.sql())),
                }
            }
        }
    )*};
}

column! {
    Bool: bool
    Integer: i64
    Text: String
    Uuid: Uuid
    Time: Micros
    Json: Value
}

/// The next cell as a field.
pub fn of_cell<T: Column>(cell: Option<Cell>, column: &str) -> Result<T, UnfitCell> {
    let read = cell.ok_or_else(|| "there is no cell".to_owned()).and_then(T::of);
    read.map_err(|why| UnfitCell { column: column.to_owned(), why })
}
