//! What an operator does about what is parked: applies it with the code of today, in its sequence,
//! or gives it up. Works beside projectors: each transaction holds the checkpoint of its partition.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use highwater_log::{Partition, RawReader};
use highwater_protocol::{
    entry::{Body, EventBody},
    fold::Commit,
    position::Position,
    wire::{self, Wire},
};
use highwater_tables::{
    changes::{self, Change, key_of},
    checkpoints,
    parked::{self, Aggregate},
    postgres::Connections,
};

use crate::runner::{Failure, Item, PostgresTx, Projection, Slice, TopicPartition, What, parking};

/// Records in one read.
const READ_RECORDS: usize = 1_000;
/// So often the log is read for one aggregate, each time only for what was parked since.
const READS: usize = 20;

/// Why nothing was done about an aggregate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("{0}")]
    Failed(Failure),
    #[error(
        "the log lacks records of {partition} between the offsets {first} and {end}: what is parked \
         there cannot be applied any more"
    )]
    Missing { partition: Partition, first: i64, end: i64 },
    #[error("more of the aggregate is parked faster than it is read: try again")]
    Busy,
}

/// What came of applying an aggregate again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// So many commits were applied, and nothing of it waits.
    Applied(usize),
    /// So many were applied, and the next one failed, for this reason.
    ParkedAgain(usize, String),
    /// It was given up, or another has applied it meanwhile.
    NothingWaits,
}

/// Applies what waits of `aggregate`, whose projection is `projection`; `topic` holds its events.
///
/// The log is read before the checkpoint is locked, so that projectors never wait for the log. What
/// they have parked meanwhile is read then, which is little.
pub async fn retry(
    log: &dyn RawReader,
    topic: &str,
    projection: &dyn Projection<PostgresTx>,
    pool: &Connections,
    aggregate: &Aggregate,
) -> Result<Retried, Error> {
    let of = of(aggregate)?;
    let index = aggregate.partition.unsigned_abs();
    let partition = Partition { topic: topic.into(), index };
    let mut items = Items::default();
    for _ in 0..READS {
        let commits = parked::commits(&mut *pool.acquire().await?, of, aggregate.id).await?;
        if commits.is_empty() {
            return Ok(Retried::NothingWaits);
        }
        items.read(log, &partition, &commits).await?;
        let mut tx = pool.begin_with("BEGIN").await?;
        let Some(at) = parked::lock(&mut tx, of).await? else {
            return Ok(Retried::NothingWaits);
        };
        let locked = parked::commits(&mut tx, of, aggregate.id).await?;
        if locked.is_empty() {
            return Ok(Retried::NothingWaits);
        }
        if locked.iter().all(|commit| items.0.contains_key(&commit.first_offset)) {
            return apply(tx, projection, aggregate, at, &locked, &items).await;
        }
    }
    Err(Error::Busy)
}

/// Applies `commits` in the transaction that holds the checkpoint at `at`.
async fn apply(
    mut tx: PostgresTx,
    projection: &dyn Projection<PostgresTx>,
    aggregate: &Aggregate,
    at: i64,
    commits: &[parked::Commit],
    items: &Items,
) -> Result<Retried, Error> {
    let of = of(aggregate)?;
    let topic_partition =
        TopicPartition::of_events(aggregate.category.as_str(), aggregate.partition.unsigned_abs());
    let (mut applied, mut failed) = (0, None);
    for commit in commits {
        let Some(item) = items.0.get(&commit.first_offset) else { return Err(Error::Busy) };
        sqlx::query("SAVEPOINT parked").execute(&mut *tx).await?;
        let slice = Slice { topic_partition: &topic_partition, items: std::slice::from_ref(item) };
        match projection.apply(&mut tx, &[slice]).await {
            Ok(()) => {
                sqlx::query("RELEASE SAVEPOINT parked").execute(&mut *tx).await?;
                applied += 1;
            }
            Err(why @ (Failure::Deterministic(_) | Failure::Newer(_))) => {
                sqlx::query("ROLLBACK TO SAVEPOINT parked").execute(&mut *tx).await?;
                failed = parking::commit(item).map(|events| (commit, parking::cause(events, &why)));
                break;
            }
            Err(why) => return Err(Error::Failed(why)),
        }
    }
    let retried = match failed {
        Some((commit, cause)) => {
            parked::failed_again(&mut tx, of, aggregate.id, commit.first_offset, &cause).await?;
            Retried::ParkedAgain(applied, cause.error)
        }
        None => {
            parked::release(&mut tx, of, aggregate.id).await?;
            Retried::Applied(applied)
        }
    };
    if applied > 0 {
        tell(&mut tx, aggregate, at).await?;
    }
    tx.commit().await?;
    Ok(retried)
}

/// Gives it up: what waits of it is forgotten, and so is what follows. Whether anything waited.
pub async fn discard(pool: &Connections, aggregate: &Aggregate) -> Result<bool, Error> {
    let of = of(aggregate)?;
    let mut tx = pool.begin_with("BEGIN").await?;
    if parked::lock(&mut tx, of).await?.is_none() {
        return Ok(false);
    }
    let waited = !parked::commits(&mut tx, of, aggregate.id).await?.is_empty();
    parked::discard(&mut tx, of, aggregate.id).await?;
    tx.commit().await?;
    Ok(waited)
}

/// What was read of the log, by the first offset of each commit.
#[derive(Default)]
struct Items(BTreeMap<i64, Item>);

impl Items {
    /// Reads those of `commits` that were not read.
    async fn read(
        &mut self,
        log: &dyn RawReader,
        partition: &Partition,
        commits: &[parked::Commit],
    ) -> Result<(), Error> {
        for commit in commits {
            if let Entry::Vacant(entry) = self.0.entry(commit.first_offset) {
                entry.insert(read(log, partition, commit).await?);
            }
        }
        Ok(())
    }
}

fn of(aggregate: &Aggregate) -> Result<checkpoints::Key<'_>, Error> {
    let partition = aggregate.partition.unsigned_abs();
    checkpoints::Key::new(&aggregate.projection, &aggregate.category, partition)
        .map_err(|error| Error::Failed(Failure::Deterministic(error.to_string())))
}

/// Caches hear of the aggregate's row, and readers that wait look again.
async fn tell(tx: &mut PostgresTx, aggregate: &Aggregate, at: i64) -> Result<(), sqlx::Error> {
    let change = Change {
        projections: vec![&aggregate.projection],
        category: &aggregate.category,
        partition: aggregate.partition.unsigned_abs(),
        offset: at.unsigned_abs(),
        keys: Some(BTreeSet::from([key_of(aggregate.id)])),
    };
    sqlx::query("SELECT pg_notify($1, $2), pg_notify($3, '')")
        .bind(changes::CHANNEL)
        .bind(changes::text([change]).unwrap_or_default())
        .bind(checkpoints::CHANNEL)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The commit as the fold showed it once.
async fn read(
    log: &dyn RawReader,
    partition: &Partition,
    commit: &parked::Commit,
) -> Result<Item, Error> {
    let missing = || Error::Missing {
        partition: partition.clone(),
        first: commit.first_offset,
        end: commit.end_offset,
    };
    let (epoch, end) = (commit.epoch.unsigned_abs(), commit.end_offset.unsigned_abs());
    let last = commit.last_seq.unsigned_abs();
    let first =
        (last + 1).checked_sub(u64::from(commit.events.unsigned_abs())).ok_or_else(missing)?;
    let mut events: BTreeMap<u64, EventBody<Wire>> = BTreeMap::new();
    let mut next = commit.first_offset.unsigned_abs();
    while next < end {
        let left = usize::try_from(end - next).unwrap_or(READ_RECORDS);
        let records = log.fetch(partition, next, left.min(READ_RECORDS)).await?;
        let Some(further) = records.last().map(|stored| stored.offset + 1) else {
            return Err(missing());
        };
        for stored in records.into_iter().filter(|stored| stored.offset < end) {
            let Ok(entry) = wire::decode(stored.record) else { continue };
            let own = entry.epoch == epoch && entry.writer == commit.writer;
            if let (true, Some(seq), Body::Event(event)) = (own, entry.seq, entry.body)
                && (first..=last).contains(&seq)
            {
                // A copy of a record is void: the first one counts.
                events.entry(seq).or_insert(event);
            }
        }
        next = further;
    }
    let events: Vec<_> = events.into_values().collect();
    if events.len() != commit.events.unsigned_abs() as usize
        || events.iter().any(|event| event.metadata.aggregate != commit.aggregate)
    {
        return Err(missing());
    }
    Ok(Item {
        what: What::Commit(Commit {
            first: commit.first_offset.unsigned_abs(),
            end,
            last_seq: last,
            events,
        }),
        after: Position {
            offset: end,
            epoch,
            writer: Some(commit.writer),
            next_seq: last + 1,
            ..Position::start()
        },
    })
}
