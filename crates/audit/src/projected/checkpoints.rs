//! Positions of the fold that the database has, compared with the audit's own fold at the same
//! offset.

use serde_json::{Map, Value, json};
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::rows::differences;
use crate::{fault::RowFault, fold::Position, record::Time};

pub(super) const TABLE: &str = "checkpoints";
/// The projection whose checkpoints count the offsets of a command queue, and its table.
pub(super) const OPERATIONS: &str = "operations";

/// One row.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub projection: String,
    pub generation: i32,
    pub category: String,
    pub partition: i32,
    pub next_offset: u64,
    columns: Map<String, Value>,
}

pub(super) async fn load(connection: &mut PgConnection) -> Result<Vec<Checkpoint>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT projection, generation, category, partition, next_offset,
                (to_jsonb(c) - ARRAY['projection', 'generation', 'category', 'partition', \
                'next_offset'])::text
         FROM checkpoints AS c ORDER BY 1, 2, 3, 4",
    );
    rows.fetch_all(connection).await?.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<Checkpoint, sqlx::Error> {
    Ok(Checkpoint {
        projection: row.try_get(0)?,
        generation: row.try_get(1)?,
        category: row.try_get(2)?,
        partition: row.try_get(3)?,
        next_offset: u64::try_from(row.try_get::<i64, _>(4)?).unwrap_or(0),
        columns: super::rows::object(row.try_get(5)?, None),
    })
}

impl Checkpoint {
    pub fn key(&self) -> String {
        format!("{}.{}/{}/{}", self.projection, self.generation, self.category, self.partition)
    }

    /// Whether it counts the offsets of `commands`.
    pub fn is_of_command_queue(&self) -> bool {
        self.projection == OPERATIONS
    }

    pub(super) fn has_witness(&self) -> bool {
        self.columns.get("witness_offset").is_some_and(|offset| !offset.is_null())
    }

    pub(super) fn column(&self, name: &str) -> Value {
        self.columns.get(name).cloned().unwrap_or(Value::Null)
    }

    /// Column by column.
    pub(super) fn compare_with(&self, expected: &Map<String, Value>) -> Vec<RowFault> {
        differences(&self.columns, expected)
    }

    /// `at`: the audit's own fold of everything below this checkpoint's offset.
    pub fn compare(&self, at: &Position) -> Vec<RowFault> {
        if at.offset != self.next_offset {
            return vec![RowFault::InsideCommit];
        }
        let identity = at.identity.map_or(Value::Null, id);
        let expected = columns(at, &identity);
        let has = self.columns.get("identity").cloned().unwrap_or(Value::Null);
        if has != identity {
            return vec![RowFault::Identity { row: has.to_string(), log: identity.to_string() }];
        }
        differences(&self.columns, &expected)
    }
}

fn columns(at: &Position, identity: &Value) -> Map<String, Value> {
    let witness = at.witness.as_ref();
    let row = json!({
        "identity": identity,
        "epoch": at.epoch,
        "writer": at.writer.map(id),
        "next_seq": at.next_seq,
        "drained": at.drained,
        "sealed": at.sealed,
        "last_time_us": at.last_time.as_ref().and_then(micros),
        "witness_offset": witness.map(|w| w.offset),
        "witness_epoch": witness.map(|w| w.epoch),
        "witness_writer": witness.map(|w| id(w.writer)),
        "witness_seq": witness.and_then(|w| w.seq),
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

fn id(bytes: [u8; 16]) -> Value {
    Uuid::from_bytes(bytes).to_string().into()
}

pub(super) fn micros(time: &Time) -> Option<i64> {
    let text = std::str::from_utf8(time).ok()?;
    chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.6fZ")
        .ok()
        .map(|time| time.and_utc().timestamp_micros())
}
