//! `operations`: what lies in the command queues. Each partition of `commands` is read from the
//! first record that there still is, by the audit's own decoder, and compared with the rows and the
//! checkpoint. What the log has forgotten is not judged.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use highwater_log::{Partition, RawReader};
use highwater_protocol::record::StoredRecord;
use serde_json::{Map, Value, json};
use sqlx::Row;
use uuid::Uuid;

use super::{
    Projected, checkpoints,
    checkpoints::Checkpoint,
    rows::{differences, object},
};
use crate::{
    Error,
    fault::RowFault,
    record::command::{Command, CommandRecord},
    report::Report,
};

pub(super) const TABLE: &str = checkpoints::OPERATIONS;

/// A row goes when a command of its partition was appended so long after it.
const KEPT_MS: i64 = 7 * 24 * 3_600_000;
/// The last millisecond of the year 9999.
const LATEST_MS: i64 = 253_402_300_799_999;
const READ_RECORDS: usize = 1_000;

const ROWS: &str = "SELECT command_id, next_offset,
       jsonb_build_object('aggregate_id', aggregate_id, 'actor', actor, 'next_offset', next_offset,
                          'accepted_us', (extract(epoch FROM accepted_at) * 1000000)::bigint,
                          'deadline_us', (extract(epoch FROM deadline) * 1000000)::bigint)::text
FROM operations WHERE category = $1 AND partition = $2 ORDER BY command_id";

/// What the log makes of one partition, up to the checkpoint.
#[derive(Default)]
struct CommandQueue {
    /// By command: when it was appended, and its row.
    rows: BTreeMap<Uuid, (i64, Map<String, Value>)>,
    by_time: BTreeSet<(i64, Uuid)>,
    /// Of the last record: where it lies, when it was appended, whose command it is.
    witness: Option<(u64, i64, Uuid)>,
}

impl Projected<'_> {
    /// Compares one partition of `commands`.
    pub(crate) async fn compare_queue(
        &mut self,
        log: &dyn RawReader,
        partition: &Partition,
        category: &str,
        report: &mut Report,
    ) -> Result<(), Error> {
        self.command_queues.insert((category.to_owned(), partition.index));
        let here = |c: &&Checkpoint| {
            c.is_of_command_queue()
                && c.category == category
                && u32::try_from(c.partition) == Ok(partition.index)
        };
        let checkpoint = self.checkpoints.iter().find(here).cloned();
        let until = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.next_offset);
        let (begin, end) = (log.begin(partition).await?, log.end(partition).await?);
        let mut queue = CommandQueue::default();
        let mut next = begin;
        while next < until.min(end) {
            let records = log.fetch(partition, next, READ_RECORDS).await?;
            let Some(last) = records.last().map(|last| last.offset) else { break };
            records
                .iter()
                .filter(|stored| stored.offset < until)
                .for_each(|stored| queue.add(stored));
            next = last + 1;
        }
        if let Some(checkpoint) = checkpoint {
            report.rows(checkpoints::TABLE, 1);
            for fault in queue.faults_of(&checkpoint, end) {
                report.row_difference(checkpoints::TABLE, &checkpoint.key(), fault);
            }
        }
        self.compare_rows(queue, (category, partition.index), begin, until, report).await?;
        Ok(())
    }

    async fn compare_rows(
        &mut self,
        mut queue: CommandQueue,
        (category, partition): (&str, u32),
        begin: u64,
        until: u64,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        let mut found = sqlx::query(ROWS)
            .bind(category)
            .bind(i32::try_from(partition).unwrap_or(i32::MAX))
            .fetch(&mut *self.connection);
        while let Some(row) = found.try_next().await? {
            report.rows(TABLE, 1);
            let (id, end) =
                (row.try_get::<Uuid, _>(0)?, u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0));
            let (row, expected) = (object(row.try_get(2)?, None), queue.rows.remove(&id));
            // Its record is not there any more.
            if end <= begin {
                continue;
            }
            let faults = match expected {
                Some((_, expected)) => differences(&row, &expected),
                None if end > until => vec![RowFault::FutureRow { checkpoint: until }],
                None => vec![RowFault::Unfounded],
            };
            faults
                .into_iter()
                .for_each(|fault| report.row_difference(TABLE, &id.to_string(), fault));
        }
        queue
            .rows
            .keys()
            .for_each(|id| report.row_difference(TABLE, &id.to_string(), RowFault::Lost));
        Ok(())
    }
}

impl CommandQueue {
    fn add(&mut self, stored: &StoredRecord) {
        let at = stored.appended_at_ms.clamp(0, LATEST_MS);
        let said = CommandRecord::of(&stored.record);
        let id = match &said {
            CommandRecord::Command(command) => Uuid::from_bytes(command.command),
            CommandRecord::Newer | CommandRecord::Nothing => Uuid::nil(),
        };
        self.witness = Some((stored.offset, stored.appended_at_ms.max(0), id));
        while let Some((old, gone)) =
            self.by_time.first().copied().filter(|(old, _)| *old < at - KEPT_MS)
        {
            self.by_time.remove(&(old, gone));
            self.rows.remove(&gone);
        }
        if let CommandRecord::Command(command) = said
            && !self.rows.contains_key(&id)
        {
            self.by_time.insert((at, id));
            self.rows.insert(id, (at, row(&command, stored.offset + 1, at)));
        }
    }

    fn faults_of(&self, checkpoint: &Checkpoint, end: u64) -> Vec<RowFault> {
        if checkpoint.next_offset > end {
            return vec![RowFault::Ahead { at: checkpoint.next_offset, end }];
        }
        // A projector that began where the log began then had nothing to witness, and what is
        // forgotten cannot be looked at.
        let last = self.witness.filter(|(offset, _, _)| {
            checkpoint.has_witness() && offset + 1 == checkpoint.next_offset
        });
        checkpoint.compare_with(&columns(last, checkpoint))
    }
}

fn row(command: &Command, next_offset: u64, accepted_ms: i64) -> Map<String, Value> {
    members(json!({
        "aggregate_id": Uuid::from_bytes(command.aggregate),
        "actor": Uuid::from_bytes(command.actor),
        "next_offset": next_offset,
        "accepted_us": accepted_ms * 1_000,
        "deadline_us": command.deadline.as_ref().and_then(checkpoints::micros),
    }))
}

/// Of a checkpoint that counts the offsets of a command queue: no fold, and the last record as
/// witness.
fn columns(last: Option<(u64, i64, Uuid)>, checkpoint: &Checkpoint) -> Map<String, Value> {
    let mut columns = members(json!({
        "identity": null, "epoch": 0, "writer": null, "next_seq": 0, "drained": 0, "sealed": false,
        "last_time_us": null, "witness_seq": null,
    }));
    for (name, known) in [
        ("witness_offset", last.map(|(offset, _, _)| json!(offset))),
        ("witness_epoch", last.map(|(_, at, _)| json!(at))),
        ("witness_writer", last.map(|(_, _, id)| json!(id))),
    ] {
        columns.insert(name.to_owned(), known.unwrap_or_else(|| checkpoint.column(name)));
    }
    columns
}

fn members(row: Value) -> Map<String, Value> {
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}
