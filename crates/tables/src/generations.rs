//! Generations of a projection's tables: the one that is live, in schema `public`, and at most one
//! beside it, in a schema of its own, with checkpoints of its own. A switch exchanges the two. What
//! readers and projectors name stays the same: the tables of `public`, and the checkpoints of the
//! live generation.
//!
//! | module | what it owns |
//! |---|---|
//! | `beside` | the tables beside the live ones: made like them, indexed, compared in form, dropped |
//! | `switch` | the exchange, in one transaction |

mod beside;
mod switch;

use sqlx::PgConnection;

pub use self::{
    beside::{analyze, begin, drop, has_partitions, index, is_there, make, replace},
    switch::{Behind, lock_live, switch},
};
use crate::{checkpoints, postgres::SCHEMA};

/// Of the schema that holds the tables beside the live ones, before the projection's name.
const PREFIX: &str = "highwater_beside_";
/// Postgres cuts longer names.
const LONGEST: usize = 63;

/// What lies beside the live tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Tables that are made.
    Next,
    /// Those that were live before.
    Previous,
}

/// The generations of one projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations {
    /// The number of what is shown.
    pub live: i32,
    pub beside: Option<Beside>,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the name of projection `{0}` is too long for a schema of its own")]
    Name(String),
    #[error("projection `{projection}` names the table `{table}`, which is not there")]
    NoTable { projection: String, table: String },
    #[error("table `{table}` has {what}, which no generation beside it can have")]
    Unfit { table: String, what: &'static str },
    #[error(
        "table `{0}` was changed since the generation beside it was made: drop that one, and make \
         it anew"
    )]
    Changed(String),
    #[error(
        "the generation beside the live one is behind it on {}",
        crate::generations::switch::shown(.0)
    )]
    Behind(Vec<Behind>),
    #[error("a checkpoint of the generation beside the live one is of another log")]
    OtherLog,
    #[error(
        "{0} aggregates are parked in the generation beside the live one: projectors would not \
         know of them"
    )]
    Parked(i64),
    #[error("there is no {0} generation beside the live one")]
    None(&'static str),
    #[error("a reader of the tables, or a projector, did not give way in time: try again")]
    Busy,
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        // 55P03: not within `lock_timeout`.
        let code = error.as_database_error().and_then(|reported| reported.code());
        if code.is_some_and(|code| code == "55P03") { Self::Busy } else { Self::Database(error) }
    }
}

/// Which generations `projection` has.
pub async fn of(
    connection: &mut PgConnection,
    projection: &str,
) -> Result<Generations, sqlx::Error> {
    let found =
        sqlx::query!("SELECT live, beside FROM generations WHERE projection = $1", projection)
            .fetch_optional(connection)
            .await?;
    Ok(found.map_or(Generations { live: 1, beside: None }, |row| Generations {
        live: row.live,
        beside: row.beside.map(|beside| match &*beside {
            "previous" => Beside::Previous,
            _ => Beside::Next,
        }),
    }))
}

/// What is shown has another number from now on, and caches forget what they have: for a change of
/// rows that leaves their versions.
pub async fn renumber(connection: &mut PgConnection, projection: &str) -> Result<i32, sqlx::Error> {
    let live = sqlx::query_scalar!(
        "INSERT INTO generations AS g (projection, live) VALUES ($1, 2)
         ON CONFLICT (projection) DO UPDATE SET live = g.live + 1, changed_at = now()
         RETURNING live",
        projection,
    )
    .fetch_one(&mut *connection)
    .await?;
    // A cache takes what it does not understand for: anything.
    crate::changes::notify(connection, Some("*")).await?;
    Ok(live)
}

/// Only one program at a time makes, feeds or switches the generations of a projection: whether
/// this session is the one, until it ends.
pub async fn hold(connection: &mut PgConnection, projection: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_lock(hashtext('highwater.generations'), hashtext($1)) AS "held!""#,
        projection,
    )
    .fetch_one(connection)
    .await
}

/// The schema of the tables beside the live ones, quoted.
pub fn schema(projection: &str) -> Result<String, Error> {
    let name = format!("{PREFIX}{projection}");
    if name.len() > LONGEST {
        return Err(Error::Name(projection.to_owned()));
    }
    Ok(quoted(&name))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// How many aggregates are parked in the tables beside the live ones, and in these.
pub async fn parked(
    connection: &mut PgConnection,
    projection: &str,
) -> Result<(i64, i64), sqlx::Error> {
    let counts = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE generation = $2) AS "beside!",
                  count(*) FILTER (WHERE generation = $3) AS "live!"
           FROM parked_aggregates WHERE projection = $1"#,
        projection,
        checkpoints::BESIDE,
        checkpoints::GENERATION,
    )
    .fetch_one(connection)
    .await?;
    Ok((counts.beside, counts.live))
}

/// The tables in schema `public` that this session has written, with counts that only grow within a
/// transaction.
pub async fn written(connection: &mut PgConnection) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT relname::text AS "name!", n_tup_ins + n_tup_upd + n_tup_del AS "count!"
           FROM pg_stat_xact_user_tables
           WHERE schemaname::text = $1 AND n_tup_ins + n_tup_upd + n_tup_del > 0
             AND relname NOT IN ('checkpoints', 'parked_aggregates', 'parked_commits')
           ORDER BY relname"#,
        SCHEMA,
    );
    Ok(rows.fetch_all(connection).await?.into_iter().map(|row| (row.name, row.count)).collect())
}

/// Where the tables beside the live ones stand, by category and partition.
pub async fn beside_offsets(
    connection: &mut PgConnection,
    projection: &str,
) -> Result<Vec<(String, u32, u64)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT category, partition, next_offset FROM checkpoints
         WHERE projection = $1 AND generation = $2",
        projection,
        checkpoints::BESIDE,
    );
    let places =
        rows.fetch_all(connection).await?.into_iter().map(|row| {
            (row.category, row.partition.unsigned_abs(), row.next_offset.unsigned_abs())
        });
    Ok(places.collect())
}

/// The columns of the primary key of a live table; none: it has no such key.
pub async fn key_of(
    connection: &mut PgConnection,
    table: &str,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT a.attname::text AS "name!"
           FROM pg_index i
           CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, at)
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
           WHERE i.indrelid = to_regclass($1) AND i.indisprimary
           ORDER BY k.at"#,
        format!("{SCHEMA}.{}", quoted(table)),
    )
    .fetch_all(connection)
    .await
}
