//! Rows of projections: one row an aggregate. A row says what its columns are and what is between
//! them and values ([`highwater_rows`]); what stands here is how events become rows.

mod column;

use highwater_protocol::domain::Unreadable;
pub use highwater_rows::{Cell, CellKind, Column, ColumnSpec, OWN, Row, UnfitCell};

#[doc(hidden)]
pub use column::{json_cell, json_of};

use crate::{aggregate::Aggregate, event::Recorded};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[derive(Data)]
    enum Kind {
        Gift,
        PaidFor,
    }

    #[derive(Row)]
    #[row(table = "vouchers", public = "max-age=5")]
    struct VoucherRow {
        #[filter]
        redeemed: bool,
        #[filter]
        kind: Option<Kind>,
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
            kind: Some(Kind::PaidFor),
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
            .map(|column| (column.name, column.kind, column.nullable, column.choices))
            .collect();
        assert_eq!(
            columns,
            [
                ("redeemed", CellKind::Bool, false, &[] as &[&str]),
                ("kind", CellKind::Text, true, &["gift", "paid_for"]),
                ("amount_minor", CellKind::Integer, false, &[]),
                ("holder", CellKind::Text, true, &[]),
                ("issued_at", CellKind::Time, false, &[]),
                ("parts", CellKind::Json, false, &[]),
            ]
        );
        assert_eq!((VoucherRow::TABLE, VoucherRow::PUBLIC), ("vouchers", Some("max-age=5")));
        assert_eq!(VoucherRow::FILTERS, ["redeemed", "kind"]);
        assert_eq!(VoucherRow::SORTS, ["amount_minor", "-amount_minor"]);
        let shown = "id version redeemed kind amount_minor holder issued_at parts";
        assert_eq!(VoucherRow::FIELDS.join(" "), shown);
    }

    #[test]
    fn cells_become_the_row_again() {
        let cells = row().cells();
        let kind = Cell::Text("paid_for".to_owned());
        assert_eq!(cells[..4], [Cell::Bool(true), kind, Cell::Integer(12), Cell::Null]);
        assert_eq!(VoucherRow::from_cells(cells), Ok(row()));
    }

    #[test]
    fn a_cell_that_does_not_fit_names_its_column() {
        let mut cells = row().cells();
        cells[2] = Cell::Integer(-1);
        let unfit = VoucherRow::from_cells(cells).expect_err("an amount is not negative");
        assert_eq!(unfit.column, "amount_minor");
        let mut cells = row().cells();
        cells[1] = Cell::Text("stolen".to_owned());
        let unfit = VoucherRow::from_cells(cells).expect_err("there is no such kind");
        let said = "column kind cannot be read: must be one of gift, paid_for";
        assert_eq!(unfit.to_string(), said);
        let unfit = VoucherRow::from_cells(Vec::new()).expect_err("no cells");
        assert_eq!(unfit.to_string(), "column redeemed cannot be read: there is no cell");
    }
}
