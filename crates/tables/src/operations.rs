//! `operations`: what the command queue has accepted, for as long as the log has it. What a command
//! came to is in `outcomes`, also of one that was never queued.
//!
//! | module | what it owns |
//! |---|---|
//! | `look_up` | what the tables know of one command |

mod look_up;

use sqlx::{
    PgConnection,
    types::chrono::{DateTime, Utc},
};
use uuid::Uuid;

pub use self::look_up::{CommandRecords, Outcome, QueuedCommand, look_up};

/// A row: a command in the command queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub command: Uuid,
    pub category: String,
    pub partition: i32,
    pub aggregate: Uuid,
    /// The pseudonym of the sender.
    pub actor: Uuid,
    /// The offset in `commands` after its first record there.
    pub next_offset: i64,
    /// When the log appended that record.
    pub accepted_at: DateTime<Utc>,
    /// After this it is not decided any more. `None`: the record cannot be read.
    pub deadline: Option<DateTime<Utc>>,
}

/// When those of these commands that have a row were accepted.
pub async fn times(
    connection: &mut PgConnection,
    commands: &[Uuid],
) -> Result<Vec<(Uuid, DateTime<Utc>)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT command_id, accepted_at FROM operations WHERE command_id = ANY($1)",
        commands
    );
    let rows = rows.fetch_all(connection).await?.into_iter();
    Ok(rows.map(|row| (row.command_id, row.accepted_at)).collect())
}

/// Makes the rows, or lets the command begin anew where it has one. Sorted by command, each command
/// once.
pub async fn upsert(connection: &mut PgConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO operations (command_id, category, partition, aggregate_id, actor, \
         next_offset, accepted_at, deadline)
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::int[], $4::uuid[], $5::uuid[], \
         $6::bigint[], $7::timestamptz[], $8::timestamptz[])
         ON CONFLICT (command_id) DO UPDATE
         SET next_offset = excluded.next_offset, actor = excluded.actor, accepted_at = \
         excluded.accepted_at, deadline = excluded.deadline",
        &rows.iter().map(|row| row.command).collect::<Vec<Uuid>>(),
        &rows.iter().map(|row| row.category.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.partition).collect::<Vec<i32>>(),
        &rows.iter().map(|row| row.aggregate).collect::<Vec<Uuid>>(),
        &rows.iter().map(|row| row.actor).collect::<Vec<Uuid>>(),
        &rows.iter().map(|row| row.next_offset).collect::<Vec<i64>>(),
        &rows.iter().map(|row| row.accepted_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.deadline).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The rows of `categories[n]` and `partitions[n]` that were accepted before `until[n]` go.
pub async fn forget(
    connection: &mut PgConnection,
    categories: &[String],
    partitions: &[i32],
    until: &[DateTime<Utc>],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM operations o
         USING UNNEST($1::text[], $2::int[], $3::timestamptz[]) AS h(category, partition, until)
         WHERE (o.category, o.partition) = (h.category, h.partition) AND o.accepted_at < h.until",
        categories,
        partitions,
        until,
    )
    .execute(connection)
    .await?;
    Ok(())
}
