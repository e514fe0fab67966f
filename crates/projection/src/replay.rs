//! Replays a projection from the first event on into another database, partition by partition up to
//! the checkpoints that it has, and compares its tables there with those that it keeps: what was
//! changed by hand, lost or applied twice shows, and a mistake of the projection itself does not.

use std::{cmp::Ordering, collections::BTreeMap, pin::Pin};

use futures_util::{Stream, TryStreamExt};
use highwater_log::{Partition, RawReader};
use highwater_protocol::{
    fold::{Fold, Gap},
    wire::{self, Wire},
};
use highwater_tables::{ReadError, checkpoints, parked};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use crate::runner::{
    Failure, Item, PostgresTx, Projection, Slice, Source, TopicPartition, What, parking,
};

/// Records in one read, and at most in one transaction.
const READ_RECORDS: usize = 2_000;

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Checkpoints(#[from] ReadError),
    #[error(
        "{topic_partition} ends at offset {at}, and the checkpoint of {projection} is at {checkpoint}"
    )]
    Shorter { projection: &'static str, topic_partition: TopicPartition, at: u64, checkpoint: u64 },
    #[error("{topic_partition} has no record at offset {}, the next one is at {}", gap.expected, gap.found)]
    Gap { topic_partition: TopicPartition, gap: Gap },
    #[error(
        "{projection} does not apply the events of {topic_partition} before offset {before}: {why}"
    )]
    Refused { projection: &'static str, topic_partition: TopicPartition, before: u64, why: Failure },
}

/// What a table says otherwise than the replay. Its rows are JSON objects, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// How many rows the table has.
    pub rows: u64,
    /// Rows that it has, and the replay does not make.
    pub unfounded: Vec<String>,
    /// Rows that the replay makes, and it does not have.
    pub lost: Vec<String>,
}

/// Whether it can be replayed: its whole history is in the log.
pub fn is_replayable(projection: &dyn Projection<PostgresTx>) -> bool {
    projection.source() == Source::Events
}

/// Applies everything below the checkpoints that `live` has, without what is parked there. `topic`
/// names the topic of the events of a category, if the log has it; `scratch` has the application's
/// tables, without rows.
pub async fn replay(
    log: &dyn RawReader,
    topic: impl Fn(&str) -> String,
    projection: &dyn Projection<PostgresTx>,
    live: &mut PgConnection,
    scratch: &PgPool,
) -> Result<(), Error> {
    let filter =
        parked::Filter { projection: Some(projection.name().to_owned()), ..Default::default() };
    let parked = parked::list(live, &filter).await?;
    for category in projection.categories() {
        for (index, checkpoint) in checkpoints::offsets(live, projection.name(), category).await? {
            let partition = Partition { topic: topic(category).into(), index };
            let topic_partition = TopicPartition::of_events(*category, index);
            let waits = parked.iter().filter(|parked| {
                (parked.category.as_str(), parked.partition.unsigned_abs()) == (*category, index)
            });
            let waits = waits.map(|parked| (parked.id, parked.from_offset.unsigned_abs()));
            let part = Part { log, partition, topic_partition, checkpoint, waits: waits.collect() };
            apply(&part, projection, scratch).await?;
        }
    }
    Ok(())
}

/// What is replayed of one partition.
struct Part<'a> {
    log: &'a dyn RawReader,
    partition: Partition,
    topic_partition: TopicPartition,
    checkpoint: u64,
    /// From where on the events of an aggregate are parked.
    waits: BTreeMap<Uuid, u64>,
}

impl Part<'_> {
    fn is_parked(&self, item: &Item) -> bool {
        let from = parking::aggregate(item).and_then(|id| self.waits.get(&id));
        from.is_some_and(|from| item.what.start() >= *from)
    }
}

async fn apply(
    part: &Part<'_>,
    projection: &dyn Projection<PostgresTx>,
    scratch: &PgPool,
) -> Result<(), Error> {
    let Part { log, partition, topic_partition, checkpoint, .. } = part;
    let checkpoint = *checkpoint;
    let mut fold = Fold::<Wire>::new();
    while fold.next_offset() < checkpoint {
        let records = match fold.next_offset() < log.end(partition).await? {
            true => log.fetch(partition, fold.next_offset(), READ_RECORDS).await?,
            false => Vec::new(),
        };
        if records.is_empty() {
            let (projection, topic_partition, at) =
                (projection.name(), topic_partition.clone(), fold.next_offset());
            return Err(Error::Shorter { projection, topic_partition, at, checkpoint });
        }
        let mut items = Vec::new();
        for stored in records.into_iter().take_while(|stored| stored.offset < checkpoint) {
            let effect = fold
                .apply(stored.offset, wire::decode(stored.record))
                .map_err(|gap| Error::Gap { topic_partition: topic_partition.clone(), gap })?;
            if let Some(what) = What::of(effect, stored.offset) {
                items.push(Item { what, after: fold.position().clone() });
            }
        }
        items.retain(|item| !part.is_parked(item));
        if items.is_empty() {
            continue;
        }
        let mut tx = scratch.begin().await?;
        let applied = projection.apply(&mut tx, &[Slice { topic_partition, items: &items }]).await;
        applied.map_err(|why| Error::Refused {
            projection: projection.name(),
            topic_partition: topic_partition.clone(),
            before: fold.next_offset(),
            why,
        })?;
        tx.commit().await?;
    }
    Ok(())
}

/// Every row of `table` in both databases, in one sequence, so that neither is held in memory. Of
/// what differs at most `most` rows of either kind are named.
pub async fn compare(
    table: &str,
    live: &mut PgConnection,
    scratch: &PgPool,
    most: usize,
) -> Result<Compared, sqlx::Error> {
    let quoted = table.replace('"', "\"\"");
    let sql = format!(
        "SELECT row FROM (SELECT to_jsonb(t)::text AS row FROM \"{quoted}\" AS t) AS rows \
         ORDER BY row COLLATE \"C\""
    );
    let mut kept = rows(&sql, &mut *live);
    let mut made = rows(&sql, scratch);
    let (mut row, mut expected) = (kept.try_next().await?, made.try_next().await?);
    let mut compared = Compared::default();
    loop {
        let order = match (&row, &expected) {
            (Some(row), Some(expected)) => row.as_bytes().cmp(expected.as_bytes()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Ok(compared),
        };
        let (unfounded, lost) = (&mut compared.unfounded, &mut compared.lost);
        match order {
            Ordering::Equal => {}
            Ordering::Less if unfounded.len() < most => unfounded.extend(row.clone()),
            Ordering::Greater if lost.len() < most => lost.extend(expected.clone()),
            Ordering::Less | Ordering::Greater => {}
        }
        if order != Ordering::Greater {
            compared.rows += 1;
            row = kept.try_next().await?;
        }
        if order != Ordering::Less {
            expected = made.try_next().await?;
        }
    }
}

type Texts<'a> = Pin<Box<dyn Stream<Item = Result<String, sqlx::Error>> + Send + 'a>>;

fn rows<'a>(sql: &str, database: impl sqlx::PgExecutor<'a> + 'a) -> Texts<'a> {
    Box::pin(sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch(database))
}
