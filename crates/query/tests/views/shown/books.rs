//! `GET /v1/books`: whole rows by a statement of their own, which also searches.

use highwater_http::problem::Problem;
use highwater_query::{
    list::{Combination, List, Page, Parameters},
    rows::{Item, RowView},
};
use highwater_rows::{Cell, CellKind, ColumnSpec, Row, UnfitCell};
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{column, no_value};

const STATES: [&str; 2] = ["active", "withdrawn"];
const LONGEST_SEARCH: usize = 200;
/// Books that a search may find.
pub const MOST_FOUND: i64 = 50;

pub enum Books {}

impl RowView for Books {
    type Row = BookRow;

    const CATEGORY: &'static str = "book";
}

#[derive(Clone)]
pub enum BookRow {}

impl Row for BookRow {
    const TABLE: &'static str = "books";
    const COLUMNS: &'static [ColumnSpec] = &[
        ColumnSpec { choices: &STATES, ..column("status", CellKind::Text) },
        column("title", CellKind::Text),
        column("shelf", CellKind::Text),
        column("price_minor", CellKind::Integer),
        column("currency", CellKind::Text),
        ColumnSpec { nullable: true, ..column("publisher", CellKind::Text) },
        ColumnSpec { nullable: true, ..column("subject", CellKind::Text) },
    ];
    const FIELDS: &'static [&'static str] = &[
        "id",
        "version",
        "status",
        "title",
        "shelf",
        "price_minor",
        "currency",
        "publisher",
        "subject",
    ];
    const FILTERS: &'static [&'static str] = &[];
    const SORTS: &'static [&'static str] = &[];
    const PUBLIC: Option<&'static str> =
        Some("max-age=5, stale-while-revalidate=30, stale-if-error=300");

    fn cells(&self) -> Vec<Cell> {
        match *self {}
    }

    fn from_cells(cells: Vec<Cell>) -> Result<Self, UnfitCell> {
        no_value(cells)
    }
}

pub struct BookList {
    shelf: Option<String>,
    status: Option<&'static str>,
    /// Every word of it has to occur, in any form that English gives it.
    q: Option<String>,
}

/// What the last row of a page is sorted by.
#[derive(Deserialize, Serialize)]
pub enum Sorted {
    Title(String),
    Price(i64),
}

impl List for BookList {
    type Row = Item<BookRow>;
    type Key = (Sorted, Uuid);

    const PROJECTION: &'static str = BookRow::TABLE;
    const CATEGORY: &'static str = "book";
    const PUBLIC: Option<&'static str> = BookRow::PUBLIC;
    const FILTERS: &'static [&'static str] = &["shelf", "status", "q"];
    const SORTS: &'static [&'static str] = &["title", "price_minor", "-price_minor"];
    const SERVED: &'static [Combination] = &[
        Combination { with: None, filters: &["shelf"], sorts: &["title"] },
        Combination { with: None, filters: &["status"], sorts: &["title"] },
        Combination { with: None, filters: &[], sorts: &["price_minor", "-price_minor"] },
        Combination { with: Some("q"), filters: &["shelf", "status"], sorts: &[] },
    ];
    const FIELDS: &'static [&'static str] = BookRow::FIELDS;

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        Ok(Self {
            shelf: given.text("shelf", 100)?,
            status: given.one_of("status", &STATES)?,
            q: given.text("q", LONGEST_SEARCH)?,
        })
    }

    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("SELECT ").push(Self::Row::columns()).push(" FROM books WHERE true");
        if let Some(q) = &self.q {
            found(q, sql.push(" AND "));
        }
        if let Some(shelf) = &self.shelf {
            sql.push(" AND shelf = ").push_bind(shelf.clone());
        }
        if let Some(status) = self.status {
            sql.push(" AND status = ").push_bind(status);
        }
        let by = page.sort.trim_start_matches('-');
        let (sign, direction) = if by == page.sort { (">", "") } else { ("<", " DESC") };
        let sorted = if by == "title" { "title COLLATE \"C\"" } else { by };
        if let Some((after, id)) = &page.after {
            sql.push(format_args!(" AND ({sorted}, id) {sign} ("));
            match after {
                Sorted::Title(title) => sql.push_bind(title.clone()),
                Sorted::Price(price) => sql.push_bind(*price),
            };
            sql.push(", ").push_bind(*id).push(")");
        }
        sql.push(format_args!(" ORDER BY {sorted}{direction}, id{direction}"));
        sql.push(" LIMIT ").push_bind(page.rows());
    }

    fn crowd(&self, sql: &mut QueryBuilder<Postgres>) -> Option<(&'static str, i64)> {
        let q = self.q.as_ref()?;
        found(q, sql.push("SELECT count(*) FROM (SELECT 1 FROM books WHERE "));
        sql.push(" LIMIT ").push_bind(MOST_FOUND + 1).push(") found");
        Some(("q", MOST_FOUND))
    }

    fn key(&self, row: &Self::Row, sort: &str) -> Self::Key {
        let sorted = if sort == "title" {
            Sorted::Title(row.text("title").unwrap_or_default().to_owned())
        } else {
            Sorted::Price(row.integer("price_minor").unwrap_or_default())
        };
        (sorted, row.id)
    }
}

fn found(q: &str, sql: &mut QueryBuilder<Postgres>) {
    sql.push("search @@ plainto_tsquery('english', ").push_bind(q.to_owned()).push(")");
}
