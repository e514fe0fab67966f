//! Projections that are one table with one row an aggregate. The statements follow from the row's
//! columns: a batch is one SELECT and one INSERT, whatever it holds.
//!
//! | module | what it owns |
//! |---|---|
//! | `copy` | rows as COPY takes them, for tables that are made anew |

mod copy;

use std::{collections::BTreeSet, marker::PhantomData, sync::Arc};

use futures_util::future::BoxFuture;
use highwater_protocol::{domain::Unreadable, entry::EventBody, wire::Wire};
use highwater_rows::{Cell, CellKind, ColumnSpec, OWN, Row as _};
use highwater_tables::rows::{cells, time};
use sqlx::{
    AssertSqlSafe, Postgres, Row as _,
    postgres::{PgArguments, PgHasArrayType, PgRow},
    query::Query,
    types::chrono::{DateTime, Utc},
};
use uuid::Uuid;

use crate::{
    rows::{self, collapse, touched},
    runner::{Failure, PostgresTx, Projection, Slice},
};

/// What a row is folded from, and how.
pub trait Folding: Send + Sync + 'static {
    /// The row.
    type Row: highwater_rows::Row;

    /// Whose events.
    const CATEGORY: &'static str;

    /// The row after `event`, which is the next one; `partition` is where it lies.
    fn fold(
        row: Option<Self::Row>,
        event: &EventBody<Wire>,
        partition: u32,
    ) -> Result<Self::Row, Unreadable>;
}

/// The projection of the rows of `F`; it has the name of their table.
pub struct Table<F> {
    categories: [&'static str; 1],
    select: Arc<str>,
    upsert: Arc<str>,
    folding: PhantomData<fn() -> F>,
}

struct StoredRow<F: Folding> {
    id: Uuid,
    partition: i32,
    version: i64,
    row: F::Row,
}

impl<F: Folding> Table<F> {
    /// With the statements for its columns.
    pub fn new() -> Self {
        Self {
            categories: [F::CATEGORY],
            select: select::<F::Row>().into(),
            upsert: upsert::<F::Row>().into(),
            folding: PhantomData,
        }
    }

    async fn load(&self, tx: &mut PostgresTx, ids: &[Uuid]) -> Result<Vec<StoredRow<F>>, Failure> {
        let query = sqlx::query(AssertSqlSafe(self.select.clone())).bind(ids);
        query.fetch_all(&mut **tx).await?.iter().map(StoredRow::read).collect()
    }

    async fn store(&self, tx: &mut PostgresTx, rows: Vec<StoredRow<F>>) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut query = sqlx::query(AssertSqlSafe(self.upsert.clone()))
            .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.partition).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.version).collect::<Vec<_>>());
        let mut columns: Vec<Vec<Cell>> = F::Row::COLUMNS.iter().map(|_| Vec::new()).collect();
        for stored in &rows {
            for (column, cell) in columns.iter_mut().zip(stored.row.cells()) {
                column.push(cell);
            }
        }
        for (column, cells) in F::Row::COLUMNS.iter().zip(columns) {
            query = bind(query, column, cells)?;
        }
        query.execute(&mut **tx).await?;
        Ok(())
    }
}

impl<F: Folding> Default for Table<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Folding> Projection<PostgresTx> for Table<F> {
    fn name(&self) -> &'static str {
        F::Row::TABLE
    }

    fn categories(&self) -> &[&'static str] {
        &self.categories
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let stored = self.load(tx, &touched(slices)).await?;
            self.store(tx, collapse(stored, slices)?).await
        })
    }

    /// What is new goes by COPY.
    fn fill<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let stored = self.load(tx, &touched(slices)).await?;
            let known: BTreeSet<Uuid> = stored.iter().map(|row| row.id).collect();
            let rows = collapse(stored, slices)?;
            let (old, new): (Vec<_>, Vec<_>) =
                rows.into_iter().partition(|row| known.contains(&row.id));
            self.store(tx, old).await?;
            copy::rows(tx, &new).await
        })
    }
}

impl<F: Folding> StoredRow<F> {
    fn read(row: &PgRow) -> Result<Self, Failure> {
        let cells = cells(row, OWN.len(), F::Row::COLUMNS)?;
        let fits = F::Row::from_cells(cells);
        Ok(Self {
            id: row.try_get(0)?,
            partition: row.try_get(1)?,
            version: row.try_get(2)?,
            row: fits.map_err(|unfit| {
                Failure::Deterministic(format!("table {}: {unfit}", F::Row::TABLE))
            })?,
        })
    }
}

impl<F: Folding> rows::Row for StoredRow<F> {
    fn id(&self) -> Uuid {
        self.id
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn evolve(
        row: Option<Self>,
        event: &EventBody<Wire>,
        version: i64,
        partition: i32,
    ) -> Result<Self, Unreadable> {
        let before = row.map(|stored| stored.row);
        let row = F::fold(before, event, partition.unsigned_abs())?;
        Ok(Self { id: event.metadata.aggregate, partition, version, row })
    }
}

fn quoted<R: highwater_rows::Row>() -> impl Iterator<Item = String> {
    R::COLUMNS.iter().map(|column| format!("\"{}\"", column.name))
}

fn all<R: highwater_rows::Row>() -> String {
    OWN.map(str::to_owned).into_iter().chain(quoted::<R>()).collect::<Vec<_>>().join(", ")
}

fn select<R: highwater_rows::Row>() -> String {
    format!("SELECT {} FROM \"{}\" WHERE id = ANY($1)", all::<R>(), R::TABLE)
}

/// A row that is newer already is left alone, so that a replay over existing rows changes none.
fn upsert<R: highwater_rows::Row>() -> String {
    let types = ["uuid", "integer", "bigint"]
        .into_iter()
        .chain(R::COLUMNS.iter().map(|column| column.kind.sql()));
    let arrays: Vec<_> = (1..).zip(types).map(|(at, kind)| format!("${at}::{kind}[]")).collect();
    let set = quoted::<R>().map(|column| format!(", {column} = excluded.{column}"));
    format!(
        "INSERT INTO \"{table}\" AS stored ({all}) SELECT * FROM UNNEST({arrays}) \
         ON CONFLICT (id) DO UPDATE SET version = excluded.version{set} \
         WHERE stored.version < excluded.version",
        table = R::TABLE,
        all = all::<R>(),
        arrays = arrays.join(", "),
        set = set.collect::<String>(),
    )
}

type Statement<'a> = Query<'a, Postgres, PgArguments>;

/// One column of all rows, as an array.
fn bind<'a>(
    query: Statement<'a>,
    column: &ColumnSpec,
    cells: Vec<Cell>,
) -> Result<Statement<'a>, Failure> {
    Ok(match column.kind {
        CellKind::Bool => query.bind(array(column, cells, |cell| match cell {
            Cell::Bool(value) => Some(value),
            _ => None,
        })?),
        CellKind::Integer => query.bind(array(column, cells, |cell| match cell {
            Cell::Integer(value) => Some(value),
            _ => None,
        })?),
        CellKind::Text => query.bind(array(column, cells, |cell| match cell {
            Cell::Text(value) => Some(value),
            _ => None,
        })?),
        CellKind::Uuid => query.bind(array(column, cells, |cell| match cell {
            Cell::Uuid(value) => Some(value),
            _ => None,
        })?),
        CellKind::Time => query.bind(array::<DateTime<Utc>>(column, cells, |cell| match cell {
            Cell::Time(value) => time(value),
            _ => None,
        })?),
        CellKind::Json => query.bind(array(column, cells, |cell| match cell {
            Cell::Json(value) => Some(value),
            _ => None,
        })?),
    })
}

fn array<T: PgHasArrayType>(
    column: &ColumnSpec,
    cells: Vec<Cell>,
    value: impl Fn(Cell) -> Option<T>,
) -> Result<Vec<Option<T>>, Failure> {
    let values = cells.into_iter().map(|cell| match cell {
        Cell::Null if column.nullable => Ok(None),
        // Its value is not named: it may be personal.
        cell => value(cell).map(Some).ok_or_else(|| {
            let (name, kind) = (column.name, column.kind.sql());
            Failure::Deterministic(format!("column {name}: what it is to hold is no {kind}"))
        }),
    });
    values.collect()
}
