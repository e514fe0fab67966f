//! The statements of `outcomes` alone. What joins it with other tables is in
//! [`crate::snapshots::load()`], [`crate::dedup_filter::load()`] and
//! [`crate::operations::look_up()`].

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Row;

/// The ids of one outcome, which a filter of ids takes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenIds {
    pub command_id: Uuid,
    pub aggregate_id: Uuid,
    /// The offset after the last record of the outcome.
    pub next_offset: i64,
}

/// Each command once. Of a command that has its row already, that one stays.
pub async fn insert(connection: &mut PgConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    let column = |pick: fn(&Row) -> i64| rows.iter().map(pick).collect::<Vec<i64>>();
    sqlx::query!(
        "INSERT INTO outcomes (command_id, category, partition, aggregate_id, fingerprint_key, \
             fingerprint, verdict, version,
                                   next_offset, events, reason, actor)
             SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::int[], $4::uuid[], $5::int[], \
             $6::bytea[], $7::text[], $8::bigint[],
                                  $9::bigint[], $10::jsonb[], $11::jsonb[], $12::uuid[])
             ON CONFLICT (command_id) DO NOTHING",
        &rows.iter().map(|row| row.command).collect::<Vec<Uuid>>(),
        &rows.iter().map(|row| row.category.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.partition).collect::<Vec<i32>>(),
        &rows.iter().map(|row| row.aggregate).collect::<Vec<Uuid>>(),
        &rows.iter().map(|row| row.fingerprint_key).collect::<Vec<i32>>(),
        &rows.iter().map(|row| row.fingerprint.as_slice()).collect::<Vec<_>>() as &[&[u8]],
        &rows.iter().map(|row| row.verdict.text()).collect::<Vec<_>>() as &[&str],
        &column(|row| row.version),
        &column(|row| row.next_offset),
        &rows.iter().map(|row| row.events.as_ref()).collect::<Vec<_>>() as &[Option<&Value>],
        &rows.iter().map(|row| row.reason.as_ref()).collect::<Vec<_>>() as &[Option<&Value>],
        &rows.iter().map(|row| row.actor).collect::<Vec<Uuid>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// All outcomes of one partition go.
pub async fn delete_partition(
    connection: &mut PgConnection,
    category: &str,
    partition: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM outcomes WHERE category = $1 AND partition = $2",
        category,
        partition
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Those of these commands that have an outcome.
pub async fn known(
    connection: &mut PgConnection,
    commands: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!("SELECT command_id FROM outcomes WHERE command_id = ANY($1)", commands)
        .fetch_all(connection)
        .await
}

/// The ids of the outcomes of one partition that end above offset `covered`, in the log's sequence;
/// `most_rows` at most.
pub async fn ids_since(
    connection: &mut PgConnection,
    category: &str,
    partition: i32,
    covered: i64,
    most_rows: i64,
) -> Result<Vec<SeenIds>, sqlx::Error> {
    sqlx::query_as!(
        SeenIds,
        "SELECT command_id, aggregate_id, next_offset FROM outcomes
         WHERE category = $1 AND partition = $2 AND next_offset > $3 ORDER BY next_offset LIMIT $4",
        category,
        partition,
        covered,
        most_rows,
    )
    .fetch_all(connection)
    .await
}
