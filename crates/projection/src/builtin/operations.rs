//! The projection of the command queue: every command that lies in a topic `commands`, so that a
//! caller that asks for it hears "pending" before it is decided. What it came to is in `outcomes`,
//! which `snapshots` writes for every command; a reader joins the two, so neither waits for the
//! other, and it does not matter which one is ahead.
//!
//! A row goes when a command of its partition was appended 7 days after it: by then the log may
//! have forgotten the record, and the command was decided, or has expired, long ago. The rows are
//! so a fold of the records that the log has, in any case.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use highwater_protocol::command_queue::{AcceptedCommand, DecodeError};
use highwater_tables::{
    checkpoints,
    operations::{self, Row},
};
use uuid::Uuid;

use crate::runner::{Failure, Item, PostgresTx, Projection, Slice, Source, TopicPartition, What};

/// Names the checkpoints, whose offsets are those of `commands`.
pub const NAME: &str = checkpoints::OPERATIONS;

/// As long as the log keeps `commands` at least.
const KEPT: TimeDelta = TimeDelta::days(7);

/// The last millisecond of the year 9999: later is a clock that is off, and no date that every
/// program can write.
const LATEST_MS: i64 = 253_402_300_799_999;

pub struct Operations {
    categories: Vec<&'static str>,
}

impl Operations {
    pub fn of(categories: Vec<&'static str>) -> Self {
        Self { categories }
    }
}

impl Projection<PostgresTx> for Operations {
    fn name(&self) -> &'static str {
        NAME
    }

    fn categories(&self) -> &[&'static str] {
        &self.categories
    }

    fn source(&self) -> Source {
        Source::Commands
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut batch = Batch::default();
            for slice in slices {
                slice.items.iter().try_for_each(|item| batch.add(slice.topic_partition, item))?;
            }
            batch.write(tx).await
        })
    }
}

/// What the slices say.
#[derive(Debug, Default)]
struct Batch {
    /// In the log's sequence.
    records: Vec<Row>,
    /// The last time of each partition, by category and number.
    last: BTreeMap<(String, i32), DateTime<Utc>>,
}

impl Batch {
    fn add(&mut self, topic_partition: &TopicPartition, item: &Item) -> Result<(), Failure> {
        let What::Accepted { offset, appended_at_ms, command } = &item.what else { return Ok(()) };
        let (category, partition) = (
            topic_partition.category.to_string(),
            i32::try_from(topic_partition.partition).map_err(unfit)?,
        );
        let accepted_at = DateTime::from_timestamp_millis((*appended_at_ms).clamp(0, LATEST_MS))
            .unwrap_or_default();
        let last = self.last.entry((category.clone(), partition)).or_insert(accepted_at);
        *last = accepted_at.max(*last);
        let Some(queued) = QueuedCommand::of(command)? else { return Ok(()) };
        let next_offset = i64::try_from(offset.saturating_add(1)).map_err(unfit)?;
        let QueuedCommand { command, aggregate, actor, deadline } = queued;
        self.records.push(Row {
            command,
            category,
            partition,
            aggregate,
            actor,
            next_offset,
            accepted_at,
            deadline,
        });
        Ok(())
    }

    async fn write(self, tx: &mut PostgresTx) -> Result<(), Failure> {
        let commands: BTreeSet<Uuid> = self.records.iter().map(|row| row.command).collect();
        let commands: Vec<Uuid> = commands.into_iter().collect();
        let known = operations::times(tx, &commands).await?.into_iter().collect();
        operations::upsert(tx, &first_of_each(self.records, known)).await?;
        forget(tx, self.last).await
    }
}

/// The same command again is a retry: its first record counts, for as long as that has its row.
fn first_of_each(records: Vec<Row>, mut known: BTreeMap<Uuid, DateTime<Utc>>) -> Vec<Row> {
    let mut rows: BTreeMap<Uuid, Row> = BTreeMap::new();
    for row in records {
        if known.get(&row.command).is_none_or(|first| *first < row.accepted_at - KEPT) {
            known.insert(row.command, row.accepted_at);
            rows.insert(row.command, row);
        }
    }
    rows.into_values().collect()
}

/// What a record says of its command, as far as it can be read.
struct QueuedCommand {
    command: Uuid,
    aggregate: Uuid,
    actor: Uuid,
    deadline: Option<DateTime<Utc>>,
}

impl QueuedCommand {
    /// `None`: no caller can ask for it, because not even its command id can be read.
    fn of(command: &Result<Box<AcceptedCommand>, DecodeError>) -> Result<Option<Self>, Failure> {
        match command {
            Ok(accepted) => Ok(Some(Self {
                command: accepted.command,
                aggregate: accepted.aggregate,
                actor: accepted.actor,
                deadline: DateTime::from_timestamp_micros(accepted.deadline.0),
            })),
            Err(newer @ DecodeError::Newer { .. }) => Err(Failure::Newer(newer.to_string())),
            Err(DecodeError::Undecodable { metadata, .. }) => {
                Ok(metadata.as_ref().map(|metadata| Self {
                    command: metadata.command,
                    aggregate: metadata.aggregate,
                    actor: metadata.meta.actor,
                    deadline: None,
                }))
            }
        }
    }
}

async fn forget(
    tx: &mut PostgresTx,
    last: BTreeMap<(String, i32), DateTime<Utc>>,
) -> Result<(), Failure> {
    let (topic_partitions, until): (Vec<(String, i32)>, Vec<DateTime<Utc>>) =
        last.into_iter().map(|(topic_partition, at)| (topic_partition, at - KEPT)).unzip();
    let (categories, partitions): (Vec<String>, Vec<i32>) = topic_partitions.into_iter().unzip();
    operations::forget(tx, &categories, &partitions, &until).await?;
    Ok(())
}

fn unfit(error: std::num::TryFromIntError) -> Failure {
    Failure::Deterministic(error.to_string())
}

#[cfg(test)]
mod tests {
    use highwater_protocol::{
        command_queue,
        entry::CommandMetadata,
        position::Position,
        record::Record,
        time::Micros,
        wire::{Fingerprint, Meta, Wire},
    };

    use super::*;
    use crate::runner::tests::history::accepted;

    const DAY_MS: i64 = 86_400_000;

    fn topic_partition() -> TopicPartition {
        TopicPartition::of_commands("thing", 3)
    }

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    fn item(
        offset: u64,
        appended_at_ms: i64,
        command: Result<AcceptedCommand, DecodeError>,
    ) -> Item {
        let command = command.map(Box::new);
        Item { what: What::Accepted { offset, appended_at_ms, command }, after: Position::start() }
    }

    fn undecodable(of: Option<CommandMetadata<Wire>>) -> DecodeError {
        match command_queue::decode(Record::default()) {
            Err(DecodeError::Undecodable { defect, .. }) => {
                DecodeError::Undecodable { defect, metadata: of.map(Box::new) }
            }
            other => panic!("{other:?}"),
        }
    }

    fn row(command: u128, accepted_at_ms: i64, next_offset: i64) -> Row {
        Row {
            command: Uuid::from_u128(command),
            category: "thing".to_owned(),
            partition: 3,
            aggregate: Uuid::from_u128(1),
            actor: Uuid::from_u128(2),
            next_offset,
            accepted_at: at(accepted_at_ms),
            deadline: Some(at(0)),
        }
    }

    #[test]
    fn it_reads_the_command_queues_of_its_categories() {
        let operations = Operations::of(vec!["thing", "other"]);
        let read = (operations.name(), operations.categories(), operations.source());
        assert_eq!(read, ("operations", &["thing", "other"][..], Source::Commands));
    }

    #[test]
    fn a_record_says_who_sent_what_where_and_until_when() -> Result<(), Failure> {
        let mut batch = Batch::default();
        let command = AcceptedCommand { deadline: Micros(1_500), ..accepted(7) };
        batch.add(&topic_partition(), &item(7, 1_000, Ok(command)))?;
        let deadline = DateTime::from_timestamp_micros(1_500);
        assert_eq!(batch.records, [Row { deadline, ..row(7, 1_000, 8) }]);
        Ok(())
    }

    #[test]
    fn of_a_record_that_cannot_be_read_there_is_a_row_if_its_command_can() -> Result<(), Failure> {
        let mut batch = Batch::default();
        let metadata = CommandMetadata {
            aggregate: Uuid::from_u128(1),
            command: Uuid::from_u128(9),
            fingerprint: Fingerprint { key_number: 0, hmac: [0; 32] },
            meta: Meta { actor: Uuid::from_u128(2), ..Meta::default() },
            source: None,
        };
        batch.add(&topic_partition(), &item(4, 1_000, Err(undecodable(Some(metadata)))))?;
        batch.add(&topic_partition(), &item(5, 2_000, Err(undecodable(None))))?;
        assert_eq!(batch.records, [Row { deadline: None, ..row(9, 1_000, 5) }]);
        // It is the last one all the same.
        assert_eq!(batch.last, [(("thing".to_owned(), 3), at(2_000))].into());
        let newer = DecodeError::Newer { kind: "later".to_owned() };
        assert!(matches!(
            batch.add(&topic_partition(), &item(6, 3_000, Err(newer))),
            Err(Failure::Newer(_))
        ));
        Ok(())
    }

    #[test]
    fn the_last_time_of_a_partition_is_the_latest_and_a_date_that_every_program_can_write()
    -> Result<(), Failure> {
        let mut batch = Batch::default();
        for (offset, ms) in [(0, 2_000), (1, 1_000)] {
            batch.add(&topic_partition(), &item(offset, ms, Ok(accepted(offset))))?;
        }
        batch.add(&TopicPartition::of_commands("thing", 4), &item(0, -5, Ok(accepted(2))))?;
        batch.add(&TopicPartition::of_commands("other", 3), &item(0, i64::MAX, Ok(accepted(3))))?;
        let of = |category: &str, partition, ms| ((category.to_owned(), partition), at(ms));
        assert_eq!(
            batch.last,
            [of("thing", 3, 2_000), of("thing", 4, 0), of("other", 3, LATEST_MS)].into()
        );
        assert_eq!(
            batch.records.iter().map(|row| row.accepted_at).collect::<Vec<_>>(),
            [2_000, 1_000, 0, LATEST_MS].map(at)
        );
        Ok(())
    }

    #[test]
    fn numbers_that_no_column_holds_are_refused() {
        let mut batch = Batch::default();
        let beyond = TopicPartition::of_commands("thing", u32::MAX);
        assert!(matches!(
            batch.add(&beyond, &item(0, 0, Ok(accepted(0)))),
            Err(Failure::Deterministic(_))
        ));
        assert!(matches!(
            batch.add(&topic_partition(), &item(u64::MAX, 0, Ok(accepted(0)))),
            Err(Failure::Deterministic(_))
        ));
    }

    #[test]
    fn a_retry_changes_nothing_for_as_long_as_the_first_record_has_its_row() {
        let kept = 7 * DAY_MS;
        let first = |records: &[Row], known: &[(u128, i64)]| {
            let known =
                known.iter().map(|(command, ms)| (Uuid::from_u128(*command), at(*ms))).collect();
            first_of_each(records.to_vec(), known)
                .into_iter()
                .map(|row| row.next_offset)
                .collect::<Vec<_>>()
        };
        assert_eq!(first(&[row(1, 0, 1), row(2, 5, 2), row(1, 9, 3)], &[]), [1, 2]);
        assert_eq!(
            first(&[row(1, 10, 1), row(2, 10, 2)], &[(1, 9)]),
            [2],
            "it has its row already"
        );
        // To the day, also where both came at once.
        for at_once in [true, false] {
            let (records, known) =
                if at_once { (vec![row(1, 0, 1)], vec![]) } else { (vec![], vec![(1, 0)]) };
            let with = |ms| first(&[&records[..], &[row(1, ms, 2)]].concat(), &known);
            assert_eq!(with(kept), records.iter().map(|row| row.next_offset).collect::<Vec<_>>());
            assert_eq!(with(kept + 1), [2]);
        }
        // What came again after that is the first one for those that come later.
        assert_eq!(first(&[row(1, kept + 1, 2), row(1, kept + 5, 3)], &[(1, 0)]), [2]);
    }
}
