//! Rows of projections: one row an aggregate. A row says what its columns are and what is between
//! them and values; whoever runs the projection makes the SQL, and adds `id`, `partition` and
//! `version`.

mod column;

use highwater_protocol::domain::Unreadable;

pub use column::Column;
#[doc(hidden)]
pub use column::{json_cell, json_of, of_cell};

use crate::{aggregate::Aggregate, event::Recorded, value::Timestamp};

/// A row: `#[derive(Row)]`.
#[diagnostic::on_unimplemented(message = "`{Self}` is no row: derive Row for a struct")]
pub trait Row: Sized + Clone + Send + Sync + 'static {
    /// The table's name.
    const TABLE: &'static str;
    /// Its own columns, in the sequence of [`Row::cells`].
    const COLUMNS: &'static [ColumnSpec];

    /// A cell for each column.
    fn cells(&self) -> Vec<Cell>;

    /// The other way round.
    fn from_cells(cells: Vec<Cell>) -> Result<Self, UnfitCell>;
}

/// What an aggregate's events make of its row.
pub trait Fold: Row {
    /// Whose events.
    type Of: Aggregate;

    /// Applies an event. Refuse only what cannot be applied ([`Recorded::unexpected`]).
    fn fold(
        row: Option<Self>,
        event: &Recorded<<Self::Of as Aggregate>::Event>,
    ) -> Result<Self, Unreadable>;
}

/// A column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// As in the table.
    pub name: &'static str,
    /// What it holds.
    pub kind: CellKind,
    /// Whether it may hold nothing.
    pub nullable: bool,
    /// Whether a list may be filtered by it.
    pub filter: bool,
    /// Whether a list may be sorted by it.
    pub sort: bool,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellKind {
    /// `boolean`
    Bool,
    /// `bigint`
    Integer,
    /// `text`
    Text,
    /// `uuid`
    Uuid,
    /// `timestamptz`
    Time,
    /// `jsonb`
    Json,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// See [`CellKind::Bool`].
    Bool(bool),
    /// See [`CellKind::Integer`].
    Integer(i64),
    /// See [`CellKind::Text`].
    Text(String),
    /// See [`CellKind::Uuid`].
    Uuid(uuid::Uuid),
    /// See [`CellKind::Time`].
    Time(Timestamp),
    /// See [`CellKind::Json`].
    Json(serde_json::Value),
}

/// A cell that its field cannot hold: somebody else wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} cannot be read: {why}")]
pub struct UnfitCell {
    /// The column's name.
    pub column: String,
    /// What is wrong with it.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[derive(Row)]
    #[row(table = "vouchers")]
    struct VoucherRow {
        #[filter]
        redeemed: bool,
        #[sort]
        amount_minor: Money,
        holder: Option<Text<20>>,
        issued_at: Timestamp,
        #[json]
        parts: List<Quantity, 3>,
    }

    fn row() -> VoucherRow {
        VoucherRow {
            redeemed: true,
            amount_minor: 12.try_into().expect("small"),
            holder: None,
            issued_at: Timestamp::from_micros(7),
            parts: vec![Quantity::ONE].try_into().expect("short"),
        }
    }

    #[test]
    fn a_row_says_what_its_columns_are() {
        let columns: Vec<_> = VoucherRow::COLUMNS
            .iter()
            .map(|column| (column.name, column.kind, column.nullable, column.filter, column.sort))
            .collect();
        assert_eq!(
            columns,
            [
                ("redeemed", CellKind::Bool, false, true, false),
                ("amount_minor", CellKind::Integer, false, false, true),
                ("holder", CellKind::Text, true, false, false),
                ("issued_at", CellKind::Time, false, false, false),
                ("parts", CellKind::Json, false, false, false),
            ]
        );
        assert_eq!(VoucherRow::TABLE, "vouchers");
    }

    #[test]
    fn cells_become_the_row_again() {
        let cells = row().cells();
        assert_eq!(cells[..3], [Cell::Bool(true), Cell::Integer(12), Cell::Null]);
        assert_eq!(VoucherRow::from_cells(cells), Ok(row()));
    }

    #[test]
    fn a_cell_that_does_not_fit_names_its_column() {
        let mut cells = row().cells();
        cells[1] = Cell::Integer(-1);
        let unfit = VoucherRow::from_cells(cells).expect_err("an amount is not negative");
        assert_eq!(unfit.column, "amount_minor");
        let unfit = VoucherRow::from_cells(Vec::new()).expect_err("no cells");
        assert_eq!(unfit.to_string(), "column redeemed cannot be read: there is no cell");
    }
}
