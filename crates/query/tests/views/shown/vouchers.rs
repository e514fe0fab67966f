//! `GET /v1/vouchers`: vouchers without their parts, by a statement and a row of their own.

use highwater_http::problem::Problem;
use highwater_protocol::time::Micros;
use highwater_query::{
    list::{Combination, List, Page, Parameters},
    rows::RowView,
};
use highwater_rows::{Cell, CellKind, ColumnSpec, Row, UnfitCell};
use highwater_tables::rows::time;
use serde::{Serialize, Serializer};
use sqlx::{
    FromRow, Postgres, QueryBuilder,
    types::chrono::{DateTime, Utc},
};
use uuid::Uuid;

use super::{column, no_value};

const STATES: [&str; 5] = ["issued", "given", "redeemed", "expired", "cancelled"];

pub enum Vouchers {}

impl RowView for Vouchers {
    type Row = VoucherRow;

    const CATEGORY: &'static str = "voucher";
}

#[derive(Clone)]
pub enum VoucherRow {}

impl Row for VoucherRow {
    const TABLE: &'static str = "vouchers";
    const COLUMNS: &'static [ColumnSpec] = &[
        ColumnSpec { choices: &STATES, ..column("status", CellKind::Text) },
        column("holder_id", CellKind::Uuid),
        column("currency", CellKind::Text),
        column("issued_at", CellKind::Time),
        column("uses", CellKind::Integer),
        column("worth_minor", CellKind::Integer),
        column("parts", CellKind::Json),
        ColumnSpec { nullable: true, ..column("note", CellKind::Text) },
        ColumnSpec { nullable: true, ..column("seller", CellKind::Text) },
    ];
    const FIELDS: &'static [&'static str] = &[
        "id",
        "version",
        "status",
        "holder_id",
        "currency",
        "issued_at",
        "uses",
        "worth_minor",
        "parts",
        "note",
        "seller",
    ];
    const FILTERS: &'static [&'static str] = &[];
    const SORTS: &'static [&'static str] = &[];

    fn cells(&self) -> Vec<Cell> {
        match *self {}
    }

    fn from_cells(cells: Vec<Cell>) -> Result<Self, UnfitCell> {
        no_value(cells)
    }
}

pub struct VoucherList {
    holder_id: Option<Uuid>,
    status: Option<&'static str>,
    /// Included.
    issued_from: Option<Micros>,
    /// Not included.
    issued_to: Option<Micros>,
}

#[derive(FromRow, Serialize)]
pub struct Listed {
    id: Uuid,
    version: i64,
    status: String,
    holder_id: Uuid,
    currency: String,
    #[serde(serialize_with = "as_text")]
    issued_at: DateTime<Utc>,
    uses: i64,
    worth_minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seller: Option<String>,
}

fn as_text<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&Micros(time.timestamp_micros()).to_text())
}

impl List for VoucherList {
    type Row = Listed;
    /// The worth, or the microseconds of `issued_at`.
    type Key = (i64, Uuid);

    const PROJECTION: &'static str = "vouchers";
    const CATEGORY: &'static str = "voucher";
    const FILTERS: &'static [&'static str] = &["holder_id", "status", "issued_from", "issued_to"];
    const SORTS: &'static [&'static str] = &["-issued_at", "issued_at", "-worth_minor"];
    const SERVED: &'static [Combination] = &[
        Combination {
            with: None,
            filters: &["holder_id", "issued_from", "issued_to"],
            sorts: &["-issued_at", "issued_at"],
        },
        Combination {
            with: None,
            filters: &["status", "issued_from", "issued_to"],
            sorts: &["-issued_at", "issued_at"],
        },
        Combination { with: None, filters: &[], sorts: &["-worth_minor"] },
    ];
    const FIELDS: &'static [&'static str] = &[
        "id",
        "version",
        "status",
        "holder_id",
        "currency",
        "issued_at",
        "uses",
        "worth_minor",
        "note",
        "seller",
    ];

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        let form = "a time as RFC 3339 in UTC (2026-11-22T21:34:24.000000Z)";
        let time = |text: &str| Micros::from_text(text.as_bytes());
        Ok(Self {
            holder_id: given.id("holder_id")?,
            status: given.one_of("status", &STATES)?,
            issued_from: given.parsed("issued_from", form, time)?,
            issued_to: given.parsed("issued_to", form, time)?,
        })
    }

    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push(
            "SELECT id, version, status, holder_id, currency, issued_at, uses, worth_minor, note, \
             seller FROM vouchers WHERE true",
        );
        if let Some(holder) = self.holder_id {
            sql.push(" AND holder_id = ").push_bind(holder);
        }
        if let Some(status) = self.status {
            sql.push(" AND status = ").push_bind(status);
        }
        if let Some(from) = self.issued_from {
            sql.push(" AND issued_at >= ").push_bind(time(from));
        }
        if let Some(to) = self.issued_to {
            sql.push(" AND issued_at < ").push_bind(time(to));
        }
        let by = page.sort.trim_start_matches('-');
        let (sign, direction) = if by == page.sort { (">", "") } else { ("<", " DESC") };
        if let Some((after, id)) = page.after {
            sql.push(format_args!(" AND ({by}, id) {sign} ("));
            match by {
                "worth_minor" => sql.push_bind(after),
                _ => sql.push_bind(time(Micros(after))),
            };
            sql.push(", ").push_bind(id).push(")");
        }
        sql.push(format_args!(" ORDER BY {by}{direction}, id{direction}"));
        sql.push(" LIMIT ").push_bind(page.rows());
    }

    fn key(&self, row: &Listed, sort: &str) -> Self::Key {
        let by_worth = sort == "-worth_minor";
        (if by_worth { row.worth_minor } else { row.issued_at.timestamp_micros() }, row.id)
    }
}
