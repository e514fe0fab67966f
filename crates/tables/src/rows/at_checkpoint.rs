//! One row of an application's table, with the checkpoint that it belongs to.

use highwater_rows::{Cell, Row};
use sqlx::{AssertSqlSafe, PgConnection, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::cells;
use crate::checkpoints::GENERATION;

/// A row as statements read it.
#[derive(Debug)]
pub struct Values {
    /// Whose row it is.
    pub id: Uuid,
    /// The aggregate's version.
    pub version: i64,
    /// In the sequence of the row's columns.
    pub cells: Vec<Cell>,
}

impl Values {
    /// `id`, `version` and the columns of `R`, which begin at `first` in a row of a query.
    pub fn read<R: Row>(row: &PgRow, first: usize) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get(first)?,
            version: row.try_get(first + 1)?,
            cells: cells(row, first + 2, R::COLUMNS)?,
        })
    }
}

/// What a table has of one aggregate.
#[derive(Debug)]
pub struct RowAtCheckpoint {
    /// The number of what is shown: with another one a row may differ under the same version.
    pub generation: i32,
    /// Everything below this offset of the aggregate's partition is in the table.
    pub offset: i64,
    /// An event of the aggregate could not be applied: the row lacks it, and what follows.
    pub parked: bool,
    pub row: Option<Values>,
}

/// The row of aggregate `id` of `category`, which lies in `partition`; in one statement with the
/// checkpoint of the projection that is named as its table.
pub async fn at_checkpoint<R: Row>(
    connection: &mut PgConnection,
    id: Uuid,
    category: &str,
    partition: i32,
) -> Result<RowAtCheckpoint, sqlx::Error> {
    let sql = format!(
        "SELECT coalesce(c.next_offset, 0), \
         EXISTS (SELECT FROM parked_aggregates p \
                 WHERE (p.projection, p.generation, p.category, p.partition, p.aggregate_id) \
                       = ($2, $3, $4, $5, $1)), \
         coalesce((SELECT live FROM generations g WHERE g.projection = $2), 1), \
         r.id, r.version{columns} \
         FROM (SELECT $1::uuid AS id) asked \
         LEFT JOIN checkpoints c \
         ON (c.projection, c.generation, c.category, c.partition) = ($2, $3, $4, $5) \
         LEFT JOIN \"{table}\" r ON r.id = asked.id",
        columns = quoted_columns::<R>("r."),
        table = R::TABLE,
    );
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(id)
        .bind(R::TABLE)
        .bind(GENERATION)
        .bind(category)
        .bind(partition)
        .fetch_one(connection)
        .await?;
    let (offset, parked, generation) = (found.try_get(0)?, found.try_get(1)?, found.try_get(2)?);
    let is_there = found.try_get::<Option<Uuid>, _>(3)?.is_some();
    let row = is_there.then(|| Values::read::<R>(&found, 3)).transpose()?;
    Ok(RowAtCheckpoint { generation, offset, parked, row })
}

/// The columns of `R` behind others, each of what `of` names: `, r."code", r."amount"`.
pub fn quoted_columns<R: Row>(of: &str) -> String {
    R::COLUMNS.iter().map(|column| format!(", {of}\"{}\"", column.name)).collect()
}
