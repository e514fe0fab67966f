//! The beginning of a partition: its checkpoints, the proof that the log is still the same history,
//! and the follower.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use highwater_log::{Log, follow};
use highwater_protocol::{position::Position, wire::Wire};
use metrics::gauge;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{
    Runner, Step,
    assignment::Consumer,
    batch::Place,
    failure::Failure,
    feed::{self, Feed},
    lag::{self, Stage},
    projection::{Key, Projection, Start, Store},
    rules,
    track::Track,
};

enum Trouble {
    /// Tried again.
    Passing(Failure),
    /// The history is another one, or has a hole: nobody goes on here.
    Final(String),
}

/// What came of a beginning.
struct Begun {
    /// None: every projection is halted here.
    track: Option<Track>,
    halted: Vec<(Key, Failure)>,
}

impl<S: Store> Runner<S> {
    /// Resumes all of `consumers` at the same time: one waits for the log while another waits
    /// for the database.
    pub(super) async fn resume(&mut self, consumers: Vec<Consumer>) -> Step {
        let begun: Vec<(Consumer, Result<Begun, Trouble>)> = {
            let begin = |consumer: Consumer| {
                let (readers, partition) =
                    (self.readers_of(&consumer), self.share.partition(&consumer.place));
                let (store, log) = (&self.store, &*self.log);
                async move {
                    let begun = begin(store, log, &consumer.place, partition, &readers).await;
                    (consumer, begun)
                }
            };
            join_all(consumers.into_iter().map(begin)).await
        };
        let failed = begun
            .into_iter()
            .filter_map(|(consumer, begun)| self.resumed(consumer, begun).err())
            .count();
        if self.assignment.waiting.values().all(|attempts| attempts.failed == 0) {
            self.said.not_begun.over("every partition has begun");
        }
        if failed == 0 { Step::Resumed } else { Step::Failed }
    }

    fn resumed(&mut self, consumer: Consumer, begun: Result<Begun, Trouble>) -> Result<(), ()> {
        match begun {
            Ok(Begun { track, halted }) => {
                halted.into_iter().for_each(|(key, failure)| self.halt(key, 0, &failure));
                self.assignment.waiting.remove(&consumer);
                let Some(track) = track else { return Ok(()) };
                info!(
                    category = %consumer.place.category, partition = consumer.place.partition,
                    source = ?consumer.place.source, "following"
                );
                for (projection, at) in track.checkpoints() {
                    let key = consumer.key(projection);
                    gauge!("highwater_projection_halted", &lag::labels(&key)).set(0.0);
                    self.progress.works(&key, Stage::Beginning);
                    self.progress.reached(key, at.offset);
                }
                self.assignment.follow(consumer, track);
                self.schedule.verify_by(Instant::now() + self.limits.verify_every);
                Ok(())
            }
            Err(Trouble::Passing(why)) => {
                let failed = self.assignment.failed(&consumer).saturating_add(1);
                let wait = self.limits.backoff.after(failed);
                debug!(
                    category = %consumer.place.category, partition = consumer.place.partition,
                    error = %why, wait_ms = wait.as_millis(), "could not begin"
                );
                self.said.not_begun.warn("partitions cannot be begun", &why);
                if matches!(why, Failure::ReadOnly(_)) {
                    self.store.distrust();
                }
                for reader in self.readers_of(&consumer) {
                    self.progress.fails(&consumer.key(reader.name()), None, &why);
                }
                self.assignment.postpone(consumer, failed, Instant::now() + wait);
                Err(())
            }
            Err(Trouble::Final(why)) => {
                self.halt_consumer(&consumer, &why);
                Err(())
            }
        }
    }

    /// Who belongs to the consumer: not who has halted, and not who goes alone.
    fn readers_of(&self, consumer: &Consumer) -> Vec<Arc<dyn Projection<S::Tx>>> {
        let reads = |projection: &&Arc<dyn Projection<S::Tx>>| {
            let key = consumer.key(projection.name());
            let belongs = match consumer.alone {
                Some(name) => name == key.projection,
                None => !self.assignment.goes_alone(&key),
            };
            let reads = projection.source() == consumer.place.source
                && projection.categories().contains(&&*consumer.place.category);
            reads && belongs && !self.progress.is_halted(&key)
        };
        self.projections.iter().filter(reads).cloned().collect()
    }

    /// The follower ended: the log has a problem, or is another log.
    pub(super) fn lost_the_log(&mut self, consumer: Consumer, end: &follow::Error) {
        // What was read and not projected is read again.
        if let Some(track) = self.assignment.tracks.remove(&consumer) {
            let readers: BTreeSet<&'static str> =
                track.checkpoints().map(|(projection, _)| projection).collect();
            self.schedule.drop_jobs(|job| {
                job.key.place == consumer.place && readers.contains(job.key.projection)
            });
        }
        match trouble(end) {
            Trouble::Passing(why) => {
                let wait = self.lost_again(&consumer, &why);
                self.assignment.postpone(consumer, 1, Instant::now() + wait);
            }
            Trouble::Final(why) => self.halt_consumer(&consumer, &why),
        }
    }

    /// How long to wait before the log is followed again: longer each time, until it was followed
    /// for long.
    fn lost_again(&mut self, consumer: &Consumer, why: &Failure) -> Duration {
        let soon = self.limits.backoff.longest * 2;
        let times = self.assignment.lose(consumer, Instant::now(), soon);
        if times == 1 {
            warn!(
                category = %consumer.place.category, partition = consumer.place.partition,
                error = %why,
                "the log stopped: it is followed again, and the same is not said again soon"
            );
        }
        self.limits.backoff.after(times)
    }

    fn halt_consumer(&mut self, consumer: &Consumer, why: &str) {
        for projection in self.readers_of(consumer) {
            let key = consumer.key(projection.name());
            let offset = self.progress.offset(&key).unwrap_or(0);
            self.halt(key, offset, &why);
        }
        self.assignment.drop_consumer(consumer);
    }
}

fn trouble(error: &follow::Error) -> Trouble {
    match error {
        follow::Error::Diverged(_) | follow::Error::Gap { .. } => Trouble::Final(error.to_string()),
        follow::Error::Log(_) | follow::Error::Closed(_) => {
            Trouble::Passing(Failure::Log(error.to_string()))
        }
    }
}

async fn begin<S: Store>(
    store: &S,
    log: &dyn Log,
    place: &Place,
    partition: Option<highwater_log::Partition>,
    readers: &[Arc<dyn Projection<S::Tx>>],
) -> Result<Begun, Trouble> {
    let Some(partition) = partition else {
        return Err(Trouble::Final(format!("no topic is known for {place}")));
    };
    let (mut checkpoints, mut halted) = (BTreeMap::new(), Vec::new());
    match checkpoints_of(store, readers, place).await {
        Ok(all) => checkpoints.extend(all),
        Err(failure) if failure.passes() => return Err(Trouble::Passing(failure)),
        // One by one, to see whose it is.
        Err(_) => {
            for reader in readers {
                match checkpoints_of(store, std::slice::from_ref(reader), place).await {
                    Ok(one) => checkpoints.extend(one),
                    Err(failure) if failure.passes() => return Err(Trouble::Passing(failure)),
                    Err(failure) => halted
                        .push((Key { projection: reader.name(), place: place.clone() }, failure)),
                }
            }
        }
    }
    let Some((lowest, others)) = rules::beginning(&checkpoints) else {
        return Ok(Begun { track: None, halted });
    };
    for at in &others {
        feed::check(log, &partition, place.source, at).await.map_err(|error| trouble(&error))?;
    }
    let feed = Feed::resume(log, &partition, place.source, lowest)
        .await
        .map_err(|error| trouble(&error))?;
    Ok(Begun { track: Some(Track::new(place.clone(), feed, checkpoints)), halted })
}

/// In one transaction, so that a beginning costs few of them.
async fn checkpoints_of<S: Store>(
    store: &S,
    readers: &[Arc<dyn Projection<S::Tx>>],
    place: &Place,
) -> Result<Vec<(&'static str, Position<Wire>)>, Failure> {
    if readers.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = store.begin().await?;
    let mut over = Vec::new();
    for reader in readers {
        if reader.resume(&mut tx, place).await? == Start::Over {
            over.push(reader.name());
        }
    }
    let mut keys: Vec<Key> = readers
        .iter()
        .map(|reader| Key { projection: reader.name(), place: place.clone() })
        .collect();
    keys.sort();
    let mut stored = store.load(&mut tx, &keys).await?;
    for (key, at) in keys.iter().zip(&mut stored).filter(|(key, _)| over.contains(&key.projection))
    {
        info!(
            category = %place.category, partition = place.partition, projection = key.projection,
            "projected again from the beginning"
        );
        store.reset(&mut tx, key).await?;
        *at = Position::start();
    }
    store.commit(tx, None).await?;
    Ok(keys.into_iter().map(|key| key.projection).zip(stored).collect())
}
