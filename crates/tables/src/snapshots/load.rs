//! What an owner loads of one partition.

use highwater_protocol::{wire::Wire, writer::RecordedOutcome};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    columns::{Malformed, ReadError, present, unsigned},
    outcomes::OwnerRow,
};

/// What was found, all of it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerLoad {
    /// Where `snapshots` stands on the partition; 0, if it has not begun.
    pub checkpoint: u64,
    pub states: Vec<OwnerState>,
    pub outcomes: Vec<(Uuid, RecordedOutcome<Wire>)>,
}

/// The snapshot of one aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerState {
    pub id: Uuid,
    /// Of the aggregate.
    pub version: u64,
    /// The form of `state`.
    pub format: i16,
    /// `None`: the aggregate was unreadable to the release that wrote the row.
    pub state: Option<Vec<u8>>,
}

/// One row of the load: a checkpoint, a state, or an outcome.
struct Row {
    kind: i32,
    id: Option<Uuid>,
    aggregate: Option<Uuid>,
    version: Option<i64>,
    at: Option<i64>,
    format: Option<i16>,
    state: Option<Vec<u8>>,
    fingerprint_key: Option<i32>,
    fingerprint: Option<Vec<u8>>,
    verdict: Option<String>,
    events: Option<Value>,
    reason: Option<Value>,
}

/// The snapshots of `aggregates` and the outcomes of `commands`, as far as there are some of
/// `category`, with the checkpoint that both belong to. One statement, so that they agree.
pub async fn load(
    connection: &mut PgConnection,
    category: &str,
    partition: u32,
    aggregates: &[Uuid],
    commands: &[Uuid],
) -> Result<OwnerLoad, ReadError> {
    let rows = sqlx::query_as!(
        Row,
        "
        SELECT 0 AS \"kind!\", NULL::uuid AS id, NULL::uuid AS aggregate, NULL::bigint AS version, \
               next_offset AS at, NULL::smallint AS format,
               NULL::bytea AS state, NULL::integer AS fingerprint_key, \
               NULL::bytea AS fingerprint, NULL::text AS verdict,
               NULL::jsonb AS events, NULL::jsonb AS reason
          FROM checkpoints \
         WHERE projection = 'snapshots' AND generation = 1 AND category = $1 AND partition = $2
        UNION ALL
        SELECT 1, aggregate_id, NULL, version, NULL, format, state, NULL, NULL, NULL, NULL, NULL
          FROM snapshots WHERE category = $1 AND aggregate_id = ANY($3)
        UNION ALL
        SELECT 2, command_id, aggregate_id, version, next_offset, NULL, NULL, fingerprint_key, \
               fingerprint, verdict, events, reason
          FROM outcomes WHERE command_id = ANY($4) AND category = $1
        ",
        category,
        i32::try_from(partition).unwrap_or(i32::MAX),
        aggregates,
        commands,
    );
    let mut load = OwnerLoad::default();
    for row in rows.fetch_all(connection).await? {
        match row.kind {
            0 => load.checkpoint = unsigned(present(row.at)?)?,
            1 => load.states.push(row.state()?),
            _ => load.outcomes.push(row.outcome()?.recorded()?),
        }
    }
    Ok(load)
}

impl Row {
    fn state(self) -> Result<OwnerState, Malformed> {
        Ok(OwnerState {
            id: present(self.id)?,
            version: unsigned(present(self.version)?)?,
            format: present(self.format)?,
            state: self.state,
        })
    }

    fn outcome(self) -> Result<OwnerRow, Malformed> {
        Ok(OwnerRow {
            command: present(self.id)?,
            aggregate: present(self.aggregate)?,
            fingerprint_key: present(self.fingerprint_key)?,
            fingerprint: present(self.fingerprint)?,
            verdict: present(self.verdict)?,
            version: present(self.version)?,
            next_offset: present(self.at)?,
            events: self.events,
            reason: self.reason,
        })
    }
}
