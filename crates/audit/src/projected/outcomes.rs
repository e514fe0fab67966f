//! `outcomes`: what each command came to. They lie in the table in the sequence of the log, so both
//! are compared while the log is read, batch by batch, and none is kept.

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use futures_util::TryStreamExt;
use serde_json::{Map, Value, json};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{
    item::{Item, What},
    rows::{differences, object},
};
use crate::fault::RowFault;
use crate::report::Report;

pub(super) const TABLE: &str = "outcomes";

const ROWS: &str = "SELECT command_id,
       jsonb_build_object('aggregate_id', aggregate_id, 'fingerprint_key', fingerprint_key, \
       'fingerprint', encode(fingerprint, 'hex'),
                          'verdict', verdict, 'version', version, 'next_offset', next_offset, \
                          'events', events, 'reason', reason, 'actor', actor)::text
FROM outcomes WHERE category = $1 AND partition = $2 AND next_offset > $3 AND next_offset <= $4";

/// One partition's, since the last look.
pub(super) struct Outcomes {
    category: String,
    partition: i32,
    checkpoint: u64,
    /// Everything up to here was compared.
    from: i64,
    expected: HashMap<Uuid, Map<String, Value>>,
}

impl Outcomes {
    pub(super) fn new(category: &str, partition: u32, checkpoint: u64) -> Self {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        Self {
            category: category.to_owned(),
            partition,
            checkpoint,
            from: i64::MIN,
            expected: HashMap::new(),
        }
    }

    pub(super) fn add(&mut self, item: &Item) {
        if item.end <= self.checkpoint {
            // A command that is in the log twice was answered by its first outcome, and is a
            // difference of the log.
            self.expected.entry(item.command).or_insert_with(|| row(item));
        }
    }

    /// Compares what the log has come to below `read`, or below the checkpoint if that is lower.
    pub(super) async fn compare(
        &mut self,
        read: u64,
        connection: &mut PgConnection,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        let to = signed(read.min(self.checkpoint));
        if to > self.from {
            self.window(to, connection, report).await?;
            self.from = to;
        }
        Ok(())
    }

    /// What lies behind.
    pub(super) async fn finish(
        mut self,
        connection: &mut PgConnection,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        self.window(i64::MAX, connection, report).await
    }

    async fn window(
        &mut self,
        to: i64,
        connection: &mut PgConnection,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        let query =
            sqlx::query(ROWS).bind(&self.category).bind(self.partition).bind(self.from).bind(to);
        let mut found = query.fetch(connection);
        while let Some(row) = found.try_next().await? {
            report.rows(TABLE, 1);
            let id: Uuid = row.try_get(0)?;
            let mut row = object(row.try_get(1)?, None);
            let above = row
                .get("next_offset")
                .and_then(Value::as_u64)
                .is_some_and(|next| next > self.checkpoint);
            let faults = match self.expected.remove(&id) {
                Some(expected) => {
                    // Written before there was the column: nothing is known of it.
                    if row.get("actor") == Some(&Value::Null) {
                        row.insert(
                            "actor".to_owned(),
                            expected.get("actor").cloned().unwrap_or(Value::Null),
                        );
                    }
                    differences(&row, &expected)
                }
                None if above => vec![RowFault::FutureRow { checkpoint: self.checkpoint }],
                None => vec![RowFault::Unfounded],
            };
            faults
                .into_iter()
                .for_each(|fault| report.row_difference(TABLE, &id.to_string(), fault));
        }
        let mut lost: Vec<Uuid> = self.expected.drain().map(|(id, _)| id).collect();
        lost.sort_unstable();
        lost.iter().for_each(|id| report.row_difference(TABLE, &id.to_string(), RowFault::Lost));
        Ok(())
    }
}

fn row(item: &Item) -> Map<String, Value> {
    let (key, hmac) = item.fingerprint.split_at_checked(2).unwrap_or_default();
    let key = key.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let hmac = HEXLOWER.encode(hmac);
    let (verdict, events, reason) = match &item.what {
        What::Accepted(events) => {
            let named = events
                .iter()
                .map(|event| json!({"type": event.name, "version": event.version}))
                .collect();
            ("accepted", named, Value::Null)
        }
        What::Rejected(reason) => ("rejected", Value::Null, reason.clone()),
        What::Unchanged(reason) => ("unchanged", Value::Null, reason.clone()),
    };
    let row = json!({
        "aggregate_id": item.aggregate,
        "fingerprint_key": key,
        "fingerprint": hmac,
        "verdict": verdict,
        "version": item.version,
        "next_offset": item.end,
        "events": events,
        "reason": reason,
        "actor": item.actor,
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
