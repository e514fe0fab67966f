//! Views of a table of rows: its detail and its list. Statements, filters and sorts follow from the
//! row's columns.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use highwater_http::problem::Problem;
use highwater_protocol::time::Micros;
use highwater_rows::{Cell, CellKind, ColumnSpec, Row as _};
use highwater_tables::{
    postgres::Connections,
    rows::{Values, at_checkpoint, quoted_columns, time},
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use sqlx::{FromRow, Postgres, QueryBuilder, postgres::PgRow};
use uuid::Uuid;

use crate::{
    list::{List, Page, Parameters, SelectByIds},
    resource::{Lookup, Row, View},
};

/// Of a text that a list is filtered by.
const LONGEST_FILTER: usize = 200;

/// What is shown: the rows of an aggregate.
pub trait RowView: Send + Sync + 'static {
    /// The row.
    type Row: highwater_rows::Row;

    /// Whose events it is folded from.
    const CATEGORY: &'static str;
}

/// `GET /v1/{collection}/{id}`: every column of one row.
pub struct Detail<S>(PhantomData<fn() -> S>);

/// `GET /v1/{collection}`: rows with every column, by one filter at most.
pub struct RowList<S> {
    filter: Option<(&'static ColumnSpec, Cell)>,
    shown: PhantomData<fn() -> S>,
}

/// A row as it is shown: `id`, `version`, then its columns; what is NULL is left out.
#[derive(Debug)]
pub struct Item<R> {
    /// Whose row it is.
    pub id: Uuid,
    /// The aggregate's version.
    pub version: i64,
    /// In the sequence of the row's columns.
    pub cells: Vec<Cell>,
    row: PhantomData<fn() -> R>,
}

impl<R: highwater_rows::Row> Item<R> {
    /// The columns that [`FromRow`] reads, for a list of one's own: `id, version, "..", ..`.
    pub fn columns() -> String {
        format!("id, version{}", quoted_columns::<R>(""))
    }

    /// The cell of a column.
    pub fn cell(&self, column: &str) -> Option<&Cell> {
        let at = R::COLUMNS.iter().position(|spec| spec.name == column)?;
        self.cells.get(at)
    }

    /// The cell of a column of integers, unless there is nothing in it.
    pub fn integer(&self, column: &str) -> Option<i64> {
        match self.cell(column) {
            Some(Cell::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// The cell of a column of texts, unless there is nothing in it.
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.cell(column) {
            Some(Cell::Text(value)) => Some(value),
            _ => None,
        }
    }

    fn of(Values { id, version, cells }: Values) -> Self {
        Self { id, version, cells, row: PhantomData }
    }
}

impl<R: highwater_rows::Row> FromRow<'_, PgRow> for Item<R> {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Values::read::<R>(row, 0).map(Self::of)
    }
}

impl<R: highwater_rows::Row> Serialize for Item<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("id", &self.id)?;
        fields.serialize_entry("version", &self.version)?;
        for (column, cell) in R::COLUMNS.iter().zip(&self.cells) {
            if *cell != Cell::Null {
                fields.serialize_entry(column.name, cell)?;
            }
        }
        fields.end()
    }
}

impl<S: RowView> View for Detail<S> {
    type Body = Item<S::Row>;

    const PROJECTION: &'static str = S::Row::TABLE;
    const CATEGORY: &'static str = S::CATEGORY;
    const PUBLIC: Option<&'static str> = S::Row::PUBLIC;
    const FIELDS: &'static [&'static str] = S::Row::FIELDS;

    fn load(
        pool: &Connections,
        id: Uuid,
        partition: i32,
    ) -> BoxFuture<'_, Result<Lookup<Self::Body>, sqlx::Error>> {
        Box::pin(load::<S>(pool, id, partition))
    }
}

async fn load<S: RowView>(
    pool: &Connections,
    id: Uuid,
    partition: i32,
) -> Result<Lookup<Item<S::Row>>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let found = at_checkpoint::<S::Row>(&mut connection, id, S::CATEGORY, partition).await?;
    let item = found.row.map(Item::of);
    Ok(Lookup {
        generation: found.generation,
        offset: found.offset,
        parked: found.parked,
        row: item.map(|body| Row { version: body.version, body }),
    })
}

/// What the last row of a page is sorted by.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum SortValue {
    Bool(bool),
    Integer(i64),
    Text(String),
    Uuid(Uuid),
    Time(i64),
}

impl SortValue {
    /// `None`: rows are not sorted by what this is.
    fn of(cell: &Cell) -> Option<Self> {
        Some(match cell {
            Cell::Bool(value) => Self::Bool(*value),
            Cell::Integer(value) => Self::Integer(*value),
            Cell::Text(value) => Self::Text(value.clone()),
            Cell::Uuid(value) => Self::Uuid(*value),
            Cell::Time(value) => Self::Time(value.0),
            Cell::Null | Cell::Json(_) => return None,
        })
    }

    fn bind(self, sql: &mut QueryBuilder<Postgres>) {
        match self {
            Self::Bool(value) => sql.push_bind(value),
            Self::Integer(value) => sql.push_bind(value),
            Self::Text(value) => sql.push_bind(value),
            Self::Uuid(value) => sql.push_bind(value),
            Self::Time(value) => sql.push_bind(time(Micros(value))),
        };
    }
}

impl<S: RowView> List for RowList<S> {
    type Row = Item<S::Row>;
    /// Nothing in front of the id where rows are sorted by that alone.
    type Key = (Option<SortValue>, Uuid);

    const PROJECTION: &'static str = S::Row::TABLE;
    const CATEGORY: &'static str = S::CATEGORY;
    const PUBLIC: Option<&'static str> = S::Row::PUBLIC;
    const FILTERS: &'static [&'static str] = S::Row::FILTERS;
    const SORTS: &'static [&'static str] = S::Row::SORTS;
    const FIELDS: &'static [&'static str] = S::Row::FIELDS;
    const BY_IDS: Option<SelectByIds> = Some(by_ids::<S::Row>);

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        let mut filter = None;
        for column in columns_of::<S::Row>(S::Row::FILTERS) {
            let Some(cell) = wanted(given, column)? else { continue };
            if filter.is_some() {
                let detail = format!(
                    "one filter at a time is served; these are: {}",
                    S::Row::FILTERS.join(", ")
                );
                return Err(Problem::bad_parameter(column.name, detail));
            }
            filter = Some((column, cell));
        }
        Ok(Self { filter, shown: PhantomData })
    }

    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>) {
        let descending = page.sort.starts_with('-');
        let sort = columns_of::<S::Row>(&[page.sort.trim_start_matches('-')]).next();
        let lead = self.filter.as_ref().map(|(column, _)| *column);
        let within: Vec<&ColumnSpec> =
            lead.into_iter().chain(sort.filter(|s| lead != Some(*s))).collect();
        let direction = if descending { " DESC" } else { "" };
        let names: Vec<String> = within.iter().map(|column| sorted(column)).collect();
        let sequence = |each: &str| {
            let names = names.iter().map(String::as_str).chain(["id"]);
            names.map(|name| format!("{name}{each}")).collect::<Vec<_>>().join(", ")
        };
        sql.push("SELECT ").push(Item::<S::Row>::columns());
        sql.push(format_args!(" FROM \"{}\" WHERE true", S::Row::TABLE));
        if let Some((column, cell)) = &self.filter {
            // With `=` the planner would drop the column from the sequence, and could go along all
            // rows by the sort and look for those with this value, which may be the last ones.
            for sign in [">=", "<="] {
                sql.push(format_args!(" AND {} {sign} ", sorted(column)));
                if let Some(value) = SortValue::of(cell) {
                    value.bind(sql);
                }
            }
        }
        if let Some((after, id)) = &page.after {
            sql.push(format_args!(
                " AND ({}) {} (",
                sequence(""),
                if descending { "<" } else { ">" }
            ));
            let lead = self.filter.as_ref().and_then(|(_, cell)| SortValue::of(cell));
            let after = after.clone().filter(|_| within.len() > usize::from(lead.is_some()));
            for value in lead.into_iter().chain(after) {
                value.bind(sql);
                sql.push(", ");
            }
            sql.push_bind(*id).push(")");
        }
        sql.push(format_args!(" ORDER BY {}", sequence(direction)));
        sql.push(" LIMIT ").push_bind(page.rows());
    }

    fn key(&self, row: &Self::Row, sort: &str) -> Self::Key {
        (row.cell(sort.trim_start_matches('-')).and_then(SortValue::of), row.id)
    }
}

/// The statement that finds the rows of these ids, for a list of [`Item`]s
/// ([`List::BY_IDS`]).
pub fn by_ids<R: highwater_rows::Row>(ids: &[Uuid], sql: &mut QueryBuilder<Postgres>) {
    sql.push("SELECT ").push(Item::<R>::columns());
    sql.push(format_args!(" FROM \"{}\" WHERE id = ANY(", R::TABLE));
    sql.push_bind(ids.to_vec()).push(") ORDER BY id");
}

fn columns_of<R: highwater_rows::Row>(names: &[&str]) -> impl Iterator<Item = &'static ColumnSpec> {
    R::COLUMNS.iter().filter(move |column| names.contains(&column.name))
}

/// Texts are sorted by bytes, as their indexes are.
fn sorted(column: &ColumnSpec) -> String {
    let collation = if column.kind == CellKind::Text { " COLLATE \"C\"" } else { "" };
    format!("\"{}\"{collation}", column.name)
}

/// The value that a column is filtered by.
fn wanted(given: &Parameters, column: &ColumnSpec) -> Result<Option<Cell>, Problem> {
    let name = column.name;
    Ok(match column.kind {
        CellKind::Bool => {
            given.one_of(name, &["true", "false"])?.map(|text| Cell::Bool(text == "true"))
        }
        CellKind::Integer => given.integer(name, i64::MIN, i64::MAX)?.map(Cell::Integer),
        CellKind::Text if column.choices.is_empty() => {
            given.text(name, LONGEST_FILTER)?.map(Cell::Text)
        }
        CellKind::Text => {
            given.one_of(name, column.choices)?.map(|text| Cell::Text(text.to_owned()))
        }
        CellKind::Uuid => given.id(name)?.map(Cell::Uuid),
        CellKind::Time => {
            let form =
                "a time as RFC 3339 in UTC, to the microsecond (2026-11-22T21:34:24.000000Z)";
            given.parsed(name, form, |text| Micros::from_text(text.as_bytes()))?.map(Cell::Time)
        }
        // The derive refuses it.
        CellKind::Json => None,
    })
}
