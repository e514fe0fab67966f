//! What the tables know of one command: that it is queued, and what it came to.

use serde_json::Value;
use sqlx::{
    PgConnection,
    types::{
        Json,
        chrono::{DateTime, Utc},
    },
};
use uuid::Uuid;

use crate::{
    checkpoints::{GENERATION, OPERATIONS, ProjectionOffset, SNAPSHOTS},
    outcomes::Verdict,
};

/// As the tables had it at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandRecords {
    pub queued: Option<QueuedCommand>,
    pub outcome: Option<Outcome>,
    /// Up to where [`OPERATIONS`] and [`SNAPSHOTS`] know nothing of the command; empty if one of
    /// them knows it.
    pub checkpoints: Vec<ProjectionOffset>,
}

/// What `operations` says of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedCommand {
    pub category: String,
    pub partition: u32,
    /// The offset in `commands` after its first record there.
    pub next_offset: u64,
    /// The pseudonym of the sender.
    pub actor: Uuid,
    pub accepted_at: DateTime<Utc>,
    /// `None`: the record cannot be read.
    pub deadline: Option<DateTime<Utc>>,
}

/// What `outcomes` says of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub category: String,
    pub partition: u32,
    /// The offset after the last record of the outcome.
    pub next_offset: u64,
    pub aggregate: Uuid,
    /// Of the aggregate, after the command.
    pub version: u64,
    /// The pseudonym of the sender. `None`: the row is of before there were any.
    pub actor: Option<Uuid>,
    /// `None`: this release does not know it.
    pub verdict: Option<Verdict>,
    /// `[{"type", "version"}]` of an accepted one.
    pub events: Option<Value>,
    /// Of the others, as it was recorded.
    pub reason: Option<Value>,
}

/// Projection, category, partition, offset.
type Checkpoint = (String, String, u32, u64);

/// One statement: what it does not find is not there up to the checkpoints that it returns.
pub async fn look_up(
    connection: &mut PgConnection,
    command: Uuid,
) -> Result<CommandRecords, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT a.category AS \"queued_category?\", a.partition AS \"queued_partition?\", \
                      a.next_offset AS \"queued_offset?\",
                      a.actor AS \"queued_actor?\", a.accepted_at AS \"accepted_at?\", a.deadline,
                      o.category AS \"category?\", o.partition AS \"partition?\", \
                      o.next_offset AS \"next_offset?\", o.aggregate_id AS \"aggregate?\",
                      o.version AS \"version?\", o.verdict AS \"verdict?\", o.actor, o.events, \
                      o.reason,
                      CASE WHEN a.command_id IS NULL AND o.command_id IS NULL THEN (
                          SELECT jsonb_agg(jsonb_build_array(\
                              c.projection, c.category, c.partition, c.next_offset))
                          FROM checkpoints c WHERE c.generation = $2 AND c.projection IN ($3, $4)
                      ) END AS \"checkpoints: Json<Vec<Checkpoint>>\"
               FROM (SELECT $1::uuid AS id) asked
               LEFT JOIN operations a ON a.command_id = asked.id
               LEFT JOIN outcomes o ON o.command_id = asked.id",
        command,
        GENERATION,
        OPERATIONS,
        SNAPSHOTS,
    )
    .fetch_one(connection)
    .await?;
    let queued = || {
        Some(QueuedCommand {
            category: row.queued_category?,
            partition: row.queued_partition?.try_into().ok()?,
            next_offset: row.queued_offset?.try_into().ok()?,
            actor: row.queued_actor?,
            accepted_at: row.accepted_at?,
            deadline: row.deadline,
        })
    };
    let outcome = || {
        Some(Outcome {
            category: row.category?,
            partition: row.partition?.try_into().ok()?,
            next_offset: row.next_offset?.try_into().ok()?,
            aggregate: row.aggregate?,
            version: row.version?.unsigned_abs(),
            actor: row.actor,
            verdict: Verdict::parse(&row.verdict?),
            events: row.events,
            reason: row.reason,
        })
    };
    let checkpoints = row.checkpoints.map(|Json(all)| all).unwrap_or_default().into_iter();
    let checkpoints = checkpoints.map(|(projection, category, partition, offset)| {
        ProjectionOffset { projection, category, partition, offset }
    });
    Ok(CommandRecords { queued: queued(), outcome: outcome(), checkpoints: checkpoints.collect() })
}
