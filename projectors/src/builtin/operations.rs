//! The projection of the asynchronous lane: every command that lies in a topic `commands`, so that whoever asks for it hears "pending"
//! before it is decided. What it came to is in `outcomes`, which `snapshots` writes for every command; a reader joins the two, so
//! neither waits for the other, and it does not matter which one is ahead.
//!
//! A row goes when a command of its partition was appended 7 days after it: by then the log may have forgotten the record, and the
//! command was decided, or has expired, long ago. The rows are so a fold of the records that the log has, in any case.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use protocol::lane::{Accepted, Unread};
use uuid::Uuid;

use crate::runner::{Failure, Item, Place, PostgresTx, Projection, Slice, Source, What};

/// Names the checkpoints, whose offsets are those of `commands`.
pub const NAME: &str = "operations";

/// As long as the log keeps `commands` at least.
const KEPT: TimeDelta = TimeDelta::days(7);

/// The last millisecond of the year 9999: later is a clock that is off, and no date that everybody can write.
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

    fn apply<'a>(&'a self, tx: &'a mut PostgresTx, slices: &'a [Slice<'a>]) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut lane = Lane::default();
            for slice in slices {
                slice.items.iter().try_for_each(|item| lane.add(slice.place, item))?;
            }
            lane.write(tx).await
        })
    }
}

/// What the slices say.
#[derive(Debug, Default)]
struct Lane {
    /// In the log's sequence.
    records: Vec<Row>,
    /// The last time of each partition, by category and number.
    last: BTreeMap<(String, i32), DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    command: Uuid,
    category: String,
    partition: i32,
    aggregate: Uuid,
    actor: Uuid,
    next_offset: i64,
    accepted_at: DateTime<Utc>,
    deadline: Option<DateTime<Utc>>,
}

impl Lane {
    fn add(&mut self, place: &Place, item: &Item) -> Result<(), Failure> {
        let What::Accepted { offset, appended_at_ms, command } = &item.what else { return Ok(()) };
        let (category, partition) = (place.category.to_string(), i32::try_from(place.partition).map_err(unfit)?);
        let accepted_at = DateTime::from_timestamp_millis((*appended_at_ms).clamp(0, LATEST_MS)).unwrap_or_default();
        let last = self.last.entry((category.clone(), partition)).or_insert(accepted_at);
        *last = accepted_at.max(*last);
        let Some(said) = Said::of(command)? else { return Ok(()) };
        let next_offset = i64::try_from(offset.saturating_add(1)).map_err(unfit)?;
        let Said { command, aggregate, actor, deadline } = said;
        self.records.push(Row { command, category, partition, aggregate, actor, next_offset, accepted_at, deadline });
        Ok(())
    }

    async fn write(self, tx: &mut PostgresTx) -> Result<(), Failure> {
        let commands: BTreeSet<Uuid> = self.records.iter().map(|row| row.command).collect();
        let known = times(tx, commands).await?;
        upsert(tx, first_of_each(self.records, known)).await?;
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
struct Said {
    command: Uuid,
    aggregate: Uuid,
    actor: Uuid,
    deadline: Option<DateTime<Utc>>,
}

impl Said {
    /// `None`: nobody can ask for it, because not even its command id can be read.
    fn of(command: &Result<Box<Accepted>, Unread>) -> Result<Option<Self>, Failure> {
        match command {
            Ok(accepted) => Ok(Some(Self {
                command: accepted.command,
                aggregate: accepted.aggregate,
                actor: accepted.actor,
                deadline: DateTime::from_timestamp_micros(accepted.deadline.0),
            })),
            Err(newer @ Unread::Newer { .. }) => Err(Failure::Newer(newer.to_string())),
            Err(Unread::Undecodable { origin, .. }) => Ok(origin.as_ref().map(|origin| Self {
                command: origin.command,
                aggregate: origin.aggregate,
                actor: origin.meta.actor,
                deadline: None,
            })),
        }
    }
}

/// When the rows that are there were accepted.
async fn times(tx: &mut PostgresTx, commands: BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, DateTime<Utc>>, Failure> {
    let commands: Vec<Uuid> = commands.into_iter().collect();
    let rows = sqlx::query!("SELECT command_id, accepted_at FROM operations WHERE command_id = ANY($1)", &commands);
    Ok(rows.fetch_all(&mut **tx).await?.into_iter().map(|row| (row.command_id, row.accepted_at)).collect())
}

/// Sorted by command.
async fn upsert(tx: &mut PostgresTx, rows: Vec<Row>) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO operations (command_id, category, partition, aggregate_id, actor, next_offset, accepted_at, deadline)
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::int[], $4::uuid[], $5::uuid[], $6::bigint[], $7::timestamptz[], $8::timestamptz[])
         ON CONFLICT (command_id) DO UPDATE
         SET next_offset = excluded.next_offset, actor = excluded.actor, accepted_at = excluded.accepted_at, deadline = excluded.deadline",
        &rows.iter().map(|row| row.command).collect::<Vec<Uuid>>(),
        &rows.iter().map(|row| row.category.clone()).collect::<Vec<String>>(),
        &rows.iter().map(|row| row.partition).collect::<Vec<i32>>(),
        &rows.iter().map(|row| row.aggregate).collect::<Vec<Uuid>>(),
        &rows.iter().map(|row| row.actor).collect::<Vec<Uuid>>(),
        &rows.iter().map(|row| row.next_offset).collect::<Vec<i64>>(),
        &rows.iter().map(|row| row.accepted_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.deadline).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn forget(tx: &mut PostgresTx, last: BTreeMap<(String, i32), DateTime<Utc>>) -> Result<(), Failure> {
    let (places, until): (Vec<(String, i32)>, Vec<DateTime<Utc>>) = last.into_iter().map(|(place, at)| (place, at - KEPT)).unzip();
    let (categories, partitions): (Vec<String>, Vec<i32>) = places.into_iter().unzip();
    sqlx::query!(
        "DELETE FROM operations o
         USING UNNEST($1::text[], $2::int[], $3::timestamptz[]) AS h(category, partition, until)
         WHERE (o.category, o.partition) = (h.category, h.partition) AND o.accepted_at < h.until",
        &categories,
        &partitions,
        &until,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn unfit(error: std::num::TryFromIntError) -> Failure {
    Failure::Deterministic(error.to_string())
}
