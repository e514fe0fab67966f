//! Events into the tables beside the live ones: rows and checkpoint in one transaction, the
//! checkpoint compared and swapped, as a projector does it. Several partitions at the same time,
//! each by itself.

use std::sync::atomic::Ordering;

use futures_util::{StreamExt, TryStreamExt, stream};
use highwater_log::Partition;
use highwater_protocol::{
    entry::{Body, Entry},
    fold::Fold,
    position::Position,
    wire::{self, Wire},
};
use highwater_tables::{
    checkpoints::{self, Key, Moves},
    generations, parked,
};

use super::{Error, Places, Rebuild};
use crate::{
    rows,
    runner::{Failure, Item, PostgresTx, Slice, TopicPartition, What, parking},
};

/// Records in one read.
const READ_RECORDS: usize = 2_000;
/// A transaction that fails for a reason that may pass is tried so often.
const ATTEMPTS: u32 = 10;

/// Whether the live projection goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    BehindTheLive,
    /// It waits for this.
    AtOnce,
}

/// What the next transaction is to bring.
struct Batch {
    items: Vec<Item>,
    from: Position<Wire>,
    to: Position<Wire>,
}

/// A partition, as far as it is read.
struct Reading<'a> {
    topic_partition: TopicPartition,
    partition: Partition,
    key: Key<'a>,
    fold: Fold<Wire>,
    /// Where the checkpoint stands.
    at: Position<Wire>,
    /// Something of it is parked, as far as is known.
    parks: bool,
}

impl Rebuild {
    /// Until the tables beside the live ones have everything below `places`.
    pub(super) async fn fill_to(&self, places: &Places, how: How) -> Result<(), Error> {
        self.progress.of.store(places.values().sum::<u64>(), Ordering::Relaxed);
        self.progress.records.store(0, Ordering::Relaxed);
        let each = places.iter().map(|((category, index), until)| async move {
            self.fill_partition(category, *index, *until, how).await
        });
        stream::iter(each).buffer_unordered(self.limits.at_once.max(1)).try_collect().await
    }

    async fn fill_partition(
        &self,
        category: &str,
        index: u32,
        until: u64,
        how: How,
    ) -> Result<(), Error> {
        let mut reading = self.resume(category, index).await?;
        self.progress.records.fetch_add(reading.at.offset.min(until), Ordering::Relaxed);
        while reading.fold.next_offset() < until {
            if how == How::BehindTheLive {
                self.pace.wait(self).await?;
            }
            let batch = self.read(&mut reading, until).await?;
            let (events, records) = (
                batch.items.iter().map(|item| item.what.weight() as u64).sum::<u64>(),
                batch.to.offset.saturating_sub(batch.from.offset),
            );
            if batch.to.offset > batch.from.offset {
                self.bring(&mut reading, &batch).await?;
                reading.at = batch.to;
            }
            self.progress.events.fetch_add(events, Ordering::Relaxed);
            self.progress.records.fetch_add(records, Ordering::Relaxed);
            if how == How::BehindTheLive {
                self.pace.took(events).await;
            }
        }
        Ok(())
    }

    /// From where the last run ended, if the log is the same.
    async fn resume<'a>(&'a self, category: &'a str, index: u32) -> Result<Reading<'a>, Error> {
        let key = Key::new(self.name(), category, index)
            .map_err(|error| Error::Repair(error.to_string()))?
            .beside();
        let mut connection = self.pool.acquire().await?;
        checkpoints::make(&mut connection, &[key]).await?;
        let found = checkpoints::find(&mut connection, &[key]).await?;
        let at = found.into_iter().next().flatten().unwrap_or_else(Position::start);
        let parked = parked::counts(&mut connection, &[key]).await?;
        let topic_partition = TopicPartition::of_events(category, index);
        let partition = self.partition(category, index);
        self.check(&topic_partition, &partition, &at).await?;
        Ok(Reading {
            topic_partition,
            partition,
            key,
            fold: Fold::resume(at.clone()),
            at,
            parks: parked.iter().any(|count| *count != parked::Count::default()),
        })
    }

    /// The last record that was valid is still where it was.
    async fn check(
        &self,
        topic_partition: &TopicPartition,
        partition: &Partition,
        at: &Position<Wire>,
    ) -> Result<(), Error> {
        let end = self.log.end(partition).await?;
        if at.offset > end {
            let topic_partition = topic_partition.clone();
            return Err(Error::Shorter { topic_partition, end, at: at.offset });
        }
        let Some(witness) = &at.witness else { return Ok(()) };
        let stored = self.log.fetch(partition, witness.offset, 1).await?.into_iter().next();
        let entry = stored
            .filter(|stored| stored.offset == witness.offset)
            .and_then(|stored| wire::decode(stored.record).ok());
        let is_it = entry.is_some_and(|Entry { epoch, writer, seq, body, .. }| {
            (epoch, writer, seq) == (witness.epoch, witness.writer, witness.seq)
                && (seq.is_some() || matches!(body, Body::Fence))
        });
        if is_it {
            return Ok(());
        }
        Err(Error::OtherLog { topic_partition: topic_partition.clone() })
    }

    /// About as many events as a transaction takes.
    async fn read(&self, reading: &mut Reading<'_>, until: u64) -> Result<Batch, Error> {
        let from = reading.at.clone();
        let (mut items, mut events) = (Vec::new(), 0);
        while events < self.limits.batch_events && reading.fold.next_offset() < until {
            let next = reading.fold.next_offset();
            let limit = usize::try_from(until - next).unwrap_or(READ_RECORDS).min(READ_RECORDS);
            let records = self.log.fetch(&reading.partition, next, limit).await?;
            if records.is_empty() {
                let topic_partition = reading.topic_partition.clone();
                return Err(Error::Shorter { topic_partition, end: next, at: until });
            }
            for stored in records.into_iter().take_while(|stored| stored.offset < until) {
                let effect = reading
                    .fold
                    .apply(stored.offset, wire::decode(stored.record))
                    .map_err(|gap| Error::Gap {
                        topic_partition: reading.topic_partition.clone(),
                        expected: gap.expected,
                        found: gap.found,
                    })?;
                if let Some(what) = What::of(effect, stored.offset) {
                    events += what.weight();
                    items.push(Item { what, after: reading.fold.position().clone() });
                }
            }
        }
        Ok(Batch { items, from, to: reading.fold.position().clone() })
    }

    async fn bring(&self, reading: &mut Reading<'_>, batch: &Batch) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let brought = match reading.parks {
                false => self.at_once(reading, batch).await,
                true => Err(Failure::Deterministic(String::new()).into()),
            };
            let failed = match brought {
                Err(Stop::Failure(Failure::Deterministic(_))) => {
                    self.one_by_one(reading, batch).await
                }
                other => other,
            };
            match failed {
                Ok(()) => return Ok(()),
                Err(Stop::Failure(why)) if why.passes() && attempt < ATTEMPTS => {
                    tokio::time::sleep(super::AFTER_ATTEMPT).await;
                }
                Err(Stop::Failure(why)) => {
                    let topic_partition = reading.topic_partition.clone();
                    let before = batch.to.offset;
                    return Err(Error::NotApplied { topic_partition, before, why });
                }
                Err(Stop::Error(error)) => return Err(error),
            }
        }
    }

    async fn at_once(&self, reading: &Reading<'_>, batch: &Batch) -> Result<(), Stop> {
        let mut tx = self.begin().await?;
        let before = generations::written(&mut tx).await.map_err(Failure::from)?;
        advance(&mut tx, reading.key, batch).await?;
        if !batch.items.is_empty() {
            self.projection.fill(&mut tx, &[slice(reading, &batch.items)]).await?;
        }
        self.check_written(&mut tx, &before).await?;
        Ok(tx.commit().await.map_err(Failure::from)?)
    }

    /// What cannot be applied is parked, and what follows of its aggregate waits behind it.
    async fn one_by_one(&self, reading: &mut Reading<'_>, batch: &Batch) -> Result<(), Stop> {
        let mut tx = self.begin().await?;
        let before = generations::written(&mut tx).await.map_err(Failure::from)?;
        advance(&mut tx, reading.key, batch).await?;
        let touched = rows::touched(&[slice(reading, &batch.items)]);
        let found = parked::among(&mut tx, reading.key, &touched).await.map_err(Failure::from)?;
        let mut parked: std::collections::BTreeMap<_, _> = found.into_iter().collect();
        for item in &batch.items {
            let one = std::slice::from_ref(item);
            let (applied, waits) = parking::part(one, &parked)?;
            if !waits.is_empty() {
                parked::wait(&mut tx, reading.key, &waits).await.map_err(Failure::from)?;
            }
            if applied.is_empty() {
                continue;
            }
            execute(&mut tx, "SAVEPOINT one").await?;
            match self.apply(&mut tx, reading, one).await {
                Ok(()) => execute(&mut tx, "RELEASE SAVEPOINT one").await?,
                Err(Failure::Deterministic(why)) => {
                    execute(&mut tx, "ROLLBACK TO SAVEPOINT one").await?;
                    let aggregate = self.park(&mut tx, reading, item, why).await?;
                    parked.insert(aggregate, false);
                }
                Err(why) => return Err(why.into()),
            }
        }
        self.check_written(&mut tx, &before).await?;
        tx.commit().await.map_err(Failure::from)?;
        reading.parks = !parked.is_empty() || reading.parks;
        Ok(())
    }

    async fn park(
        &self,
        tx: &mut PostgresTx,
        reading: &Reading<'_>,
        item: &Item,
        why: String,
    ) -> Result<uuid::Uuid, Stop> {
        let fails = Failure::Deterministic(why);
        let (true, Some(events), Some(waiting)) =
            (self.projection.parks(), parking::commit(item), parking::waiting(item))
        else {
            // Not by the name of what may pass.
            return Err(Stop::Error(Error::NotApplied {
                topic_partition: reading.topic_partition.clone(),
                before: item.after.offset,
                why: fails,
            }));
        };
        let (waiting, cause) = (waiting?, parking::cause(events, &fails));
        parked::park(tx, reading.key, &waiting, &cause).await.map_err(Failure::from)?;
        let count = parked::counts(tx, &[reading.key]).await.map_err(Failure::from)?;
        let most = self.limits.parked_most;
        if count.iter().any(|count| count.waiting > most) {
            let (topic_partition, why) = (reading.topic_partition.clone(), cause.error);
            return Err(Stop::Error(Error::TooManyParked { topic_partition, most, why }));
        }
        Ok(waiting.aggregate)
    }

    async fn apply(
        &self,
        tx: &mut PostgresTx,
        reading: &Reading<'_>,
        items: &[Item],
    ) -> Result<(), Failure> {
        self.projection.apply(tx, &[slice(reading, items)]).await
    }

    /// A table that the projection does not name would be the live one.
    async fn check_written(
        &self,
        tx: &mut PostgresTx,
        before: &[(String, i64)],
    ) -> Result<(), Stop> {
        let written = generations::written(tx).await.map_err(Failure::from)?;
        match written.into_iter().find(|now| !before.contains(now)) {
            Some((table, _)) => Err(Stop::Error(Error::Unnamed { projection: self.name(), table })),
            None => Ok(()),
        }
    }
}

/// Why a transaction did not happen.
enum Stop {
    Failure(Failure),
    Error(Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            // Whatever keeps it from beginning has nothing to do with what is to be written.
            Error::Database(error) => Self::Failure(Failure::Unreachable(error.to_string())),
            error => Self::Error(error),
        }
    }
}

fn slice<'a>(reading: &'a Reading<'_>, items: &'a [Item]) -> Slice<'a> {
    Slice { topic_partition: &reading.topic_partition, items }
}

async fn execute(tx: &mut PostgresTx, statement: &'static str) -> Result<(), Failure> {
    sqlx::query(statement).execute(&mut **tx).await?;
    Ok(())
}

async fn advance(tx: &mut PostgresTx, key: Key<'_>, batch: &Batch) -> Result<(), Failure> {
    let mut moves = Moves::default();
    moves.push(key, &batch.from, &batch.to)?;
    match checkpoints::advance(tx, &moves).await? {
        1 => Ok(()),
        _ => Err(Failure::Conflict),
    }
}
