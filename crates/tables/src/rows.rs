//! Tables of rows (`highwater-rows`) as they lie in Postgres: what is read of them, and whether a
//! table is what its row says.
//!
//! | module | what it owns |
//! |---|---|
//! | `at_checkpoint` | one row, with the checkpoint that it belongs to |

mod at_checkpoint;

use highwater_protocol::time::Micros;
use highwater_rows::{Cell, CellKind, ColumnSpec, OWN, Row};
use sqlx::{
    PgConnection, Row as _,
    postgres::PgRow,
    types::{
        Uuid,
        chrono::{DateTime, Utc},
    },
};

pub use self::at_checkpoint::{RowAtCheckpoint, Values, at_checkpoint, quoted_columns};

/// Why a table is not known to fit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("table `{table}` does not fit its row: {}", wrong.join("; "))]
    Unfit { table: &'static str, wrong: Vec<String> },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A table that a row describes.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    name: &'static str,
    columns: &'static [ColumnSpec],
    filters: &'static [&'static str],
    sorts: &'static [&'static str],
}

impl Table {
    /// That rows of `R` lie in; nothing is asked of its indexes.
    pub fn of<R: Row>() -> Self {
        Self { name: R::TABLE, columns: R::COLUMNS, filters: &[], sorts: &[] }
    }

    /// That a list of `R` reads: it has an index for each sequence that the list may be asked for.
    pub fn listed<R: Row>() -> Self {
        Self { filters: R::FILTERS, sorts: R::SORTS, ..Self::of::<R>() }
    }

    /// The columns of each index that its list needs: one filter or none, then a sort, then the id.
    fn sequences(&self) -> Vec<Vec<&'static str>> {
        let ascending = self.sorts.iter().filter(|sort| !sort.starts_with('-'));
        let sorts: Vec<Option<&str>> = ascending.map(|sort| Some(*sort)).collect();
        let sorts = if sorts.is_empty() { vec![None] } else { sorts };
        let filters = self.filters.iter().map(|filter| Some(*filter)).chain([None]);
        let mut all: Vec<Vec<&str>> = filters
            .flat_map(|filter| {
                sorts.iter().map(move |sort| {
                    let sort = sort.filter(|sort| filter != Some(*sort));
                    filter.into_iter().chain(sort).chain(["id"]).collect()
                })
            })
            .collect();
        // By the id alone: the primary key.
        all.retain(|sequence| sequence.len() > 1);
        all.sort();
        all.dedup();
        all
    }

    fn column(&self, name: &str) -> Option<&ColumnSpec> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Sorted by bytes: the same sequence on every server, whatever its locale.
    fn is_text(&self, name: &str) -> bool {
        self.column(name).is_some_and(|column| column.kind == CellKind::Text)
    }

    /// As an index or an ORDER BY names a column.
    fn sorted(&self, name: &str) -> String {
        if self.is_text(name) { format!("{name} COLLATE \"C\"") } else { name.to_owned() }
    }
}

/// Refuses a table that is not what its row says; names all that is wrong with it.
pub async fn check(connection: &mut PgConnection, table: &Table) -> Result<(), Error> {
    let found = sqlx::query!(
        r#"SELECT a.attname AS "name!", format_type(a.atttypid, NULL) AS "kind!",
                  a.attnotnull AS "never_null!",
                  a.attgenerated <> '' OR a.attidentity = 'a' AS "generated!",
                  c.relpersistence = 'p' AS "kept!", c.relrowsecurity AS "hides!",
                  a.atthasdef OR a.attidentity <> '' AS "filled!"
           FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
           WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped"#,
        format!("\"{}\"", table.name),
    )
    .fetch_all(&mut *connection)
    .await?;
    if found.is_empty() {
        let wrong = vec![format!("there is no such table: {}", create(table))];
        return Err(Error::Unfit { table: table.name, wrong });
    }
    let own =
        OWN.iter().zip(["uuid", "integer", "bigint"]).map(|(name, kind)| (*name, kind, false));
    let rest = table.columns.iter().map(|column| (column.name, column.kind.sql(), column.nullable));
    let wanted: Vec<_> = own.chain(rest).collect();
    let mut wrong = Vec::new();
    if found.iter().any(|column| !column.kept) {
        wrong.push("it is UNLOGGED or temporary, so that a crash empties it".to_owned());
    }
    if found.iter().any(|column| column.hides) {
        wrong.push(format!(
            "row level security is on, which hides rows: ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
            table.name
        ));
    }
    for (name, kind, nullable) in &wanted {
        let declared = format!("{kind}{}", if *nullable { "" } else { " NOT NULL" });
        let Some(column) = found.iter().find(|column| column.name == *name) else {
            wrong.push(format!(
                "column {name} is missing: ALTER TABLE {} ADD COLUMN {name} {declared}",
                table.name
            ));
            continue;
        };
        if column.kind.replace("timestamp with time zone", "timestamptz") != *kind
            || column.never_null == *nullable
        {
            let null = if column.never_null { " NOT NULL" } else { "" };
            wrong.push(format!("column {name} is {}{null}, not {declared}", column.kind));
        }
        if column.generated {
            wrong.push(format!("column {name} is generated, so that it cannot be written"));
        }
    }
    let unknown = found.iter().filter(|column| column.never_null && !column.filled);
    for column in unknown.filter(|column| wanted.iter().all(|(name, ..)| column.name != *name)) {
        wrong.push(format!("column {} is filled by nothing", column.name));
    }
    let indexes = indexes(connection, table).await?;
    if !indexes.iter().any(|index| index.unique && index.columns == ["id"]) {
        wrong.push("id is not its primary key".to_owned());
    }
    let missing = table.sequences().into_iter().filter(|wanted| {
        !indexes.iter().any(|index| index.columns.starts_with(&own_names(table, wanted)))
    });
    for sequence in missing {
        let columns: Vec<_> = sequence.iter().map(|name| table.sorted(name)).collect();
        let create = format!("CREATE INDEX ON {} ({})", table.name, columns.join(", "));
        wrong.push(format!("its list needs an index: {create}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::Unfit { table: table.name, wrong }) }
}

struct Index {
    unique: bool,
    /// In the form of [`Table::sorted`].
    columns: Vec<String>,
}

fn own_names(table: &Table, sequence: &[&str]) -> Vec<String> {
    sequence.iter().map(|name| table.sorted(name)).collect()
}

/// Those that hold every row, in ascending sequence.
async fn indexes(connection: &mut PgConnection, table: &Table) -> Result<Vec<Index>, Error> {
    let rows = sqlx::query!(
        "SELECT i.indisunique AND i.indimmediate AS \"unique!\", array_agg(
                      a.attname || CASE WHEN c.collname = 'C' \
                                        AND format_type(a.atttypid, NULL) = 'text'
                                        THEN ' COLLATE \"C\"' ELSE '' END
                      ORDER BY k.at) AS \"columns!\"
           FROM pg_index i
           JOIN pg_class index ON index.oid = i.indexrelid
           JOIN pg_am am ON am.oid = index.relam AND am.amname = 'btree'
           CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indcollation::oid[], i.indoption::int2[])
                      WITH ORDINALITY k(attnum, collation_id, option, at)
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
           LEFT JOIN pg_collation c ON c.oid = k.collation_id
           WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indpred IS NULL \
             AND i.indexprs IS NULL
             AND k.at <= i.indnkeyatts
           GROUP BY i.indexrelid, i.indisunique, i.indimmediate
           HAVING bool_and(coalesce(k.option, 0) = 0)",
        format!("\"{}\"", table.name),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| Index { unique: row.unique, columns: row.columns }).collect())
}

/// The statement that makes a table which fits.
fn create(table: &Table) -> String {
    let own = ["id uuid PRIMARY KEY", "partition integer NOT NULL", "version bigint NOT NULL"];
    let rest = table.columns.iter().map(|column| {
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("{} {}{null}", column.name, column.kind.sql())
    });
    let columns: Vec<String> = own.map(str::to_owned).into_iter().chain(rest).collect();
    format!("CREATE TABLE {} ({})", table.name, columns.join(", "))
}

/// The cells of `columns`, which begin at `first` in a row of a query.
pub fn cells(row: &PgRow, first: usize, columns: &[ColumnSpec]) -> Result<Vec<Cell>, sqlx::Error> {
    let cells = (first..).zip(columns);
    cells.map(|(at, column)| cell(row, at, column.kind)).collect()
}

fn cell(row: &PgRow, at: usize, kind: CellKind) -> Result<Cell, sqlx::Error> {
    let cell = match kind {
        CellKind::Bool => row.try_get::<Option<bool>, _>(at)?.map(Cell::Bool),
        CellKind::Integer => row.try_get::<Option<i64>, _>(at)?.map(Cell::Integer),
        CellKind::Text => row.try_get::<Option<String>, _>(at)?.map(Cell::Text),
        CellKind::Uuid => row.try_get::<Option<Uuid>, _>(at)?.map(Cell::Uuid),
        CellKind::Time => row
            .try_get::<Option<DateTime<Utc>>, _>(at)?
            .map(|time| Cell::Time(Micros(time.timestamp_micros()))),
        CellKind::Json => row.try_get::<Option<serde_json::Value>, _>(at)?.map(Cell::Json),
    };
    Ok(cell.unwrap_or(Cell::Null))
}

/// A time as sqlx binds it. `None`: Postgres cannot hold it.
pub fn time(micros: Micros) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros.0)
}
