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
use highwater_tables::parked::Count;
use metrics::gauge;
use tokio::time::Instant;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{
    Runner, Step,
    batch::TopicPartition,
    careful::Careful,
    consumers::Consumer,
    failure::Failure,
    follower::Follower,
    lag::{self, Stage},
    partition_reader::{self, PartitionReader},
    projection::{Key, Projection, Start, Store},
    rules,
};

enum Trouble {
    /// Tried again.
    Passing(Failure),
    /// The history is another one, or has a hole: no projection goes on here.
    Final(String),
}

/// What came of a beginning.
struct Beginning {
    /// None: every projection is halted here.
    follower: Option<Follower>,
    halted: Vec<(Key, Failure)>,
    /// How many aggregates are parked, by projection.
    parked: BTreeMap<&'static str, Count>,
    /// What a runner before may have died of, by projection.
    careful: BTreeMap<&'static str, Careful>,
}

impl<S: Store> Runner<S> {
    /// Resumes all of `consumers` at the same time: one waits for the log while another waits
    /// for the database.
    pub(super) async fn resume(&mut self, consumers: Vec<Consumer>) -> Step {
        let begun: Vec<(Consumer, Result<Beginning, Trouble>)> = {
            let begin = |consumer: Consumer| {
                let (readers, partition) = (
                    self.readers_of(&consumer),
                    self.assignment.partition(&consumer.topic_partition),
                );
                let (store, log) = (&self.store, &*self.log);
                let me = Me { id: self.id, batch_events: self.limits.batch_events };
                async move {
                    let begun =
                        begin(store, log, &consumer.topic_partition, partition, &readers, me).await;
                    (consumer, begun)
                }
            };
            join_all(consumers.into_iter().map(begin)).await
        };
        let failed = begun
            .into_iter()
            .filter_map(|(consumer, begun)| self.resumed(consumer, begun).err())
            .count();
        if self.consumers.waiting.values().all(|attempts| attempts.failed == 0) {
            self.notices.not_begun.over("every partition has begun");
        }
        if failed == 0 { Step::Resumed } else { Step::Failed }
    }

    fn resumed(&mut self, consumer: Consumer, begun: Result<Beginning, Trouble>) -> Result<(), ()> {
        match begun {
            Ok(Beginning { follower, halted, parked, mut careful }) => {
                halted.into_iter().for_each(|(key, failure)| self.halt(key, 0, &failure));
                self.consumers.waiting.remove(&consumer);
                let Some(follower) = follower else { return Ok(()) };
                debug!(
                    category = %consumer.topic_partition.category,
                    partition = consumer.topic_partition.partition,
                    source = ?consumer.topic_partition.source, "following"
                );
                for (projection, at) in follower.checkpoints() {
                    let key = consumer.key(projection);
                    self.shows_parked(&key, parked.get(projection).copied().unwrap_or_default());
                    gauge!("highwater_projection_halted", &lag::labels(&key)).set(0.0);
                    if let Some(careful) = careful.remove(projection) {
                        info!(
                            category = %key.topic_partition.category,
                            partition = key.topic_partition.partition, projection,
                            died_over = ?careful.attempt(),
                            "the runner before did not end in good order: in small steps at first"
                        );
                        self.consumers.careful.insert(key.clone(), careful);
                    }
                    self.progress.works(&key, Stage::Beginning);
                    self.progress.reached(key, at.offset);
                }
                self.consumers.follow(consumer, follower);
                self.schedule.verify_by(Instant::now() + self.limits.verify_every);
                Ok(())
            }
            Err(Trouble::Passing(why)) => {
                let failed = self.consumers.failed(&consumer).saturating_add(1);
                let wait = self.limits.backoff.after(failed);
                debug!(
                    category = %consumer.topic_partition.category,
                    partition = consumer.topic_partition.partition,
                    error = %why, wait_ms = wait.as_millis(), "could not begin"
                );
                self.notices.not_begun.warn("partitions cannot be begun", &why);
                if matches!(why, Failure::ReadOnly(_)) {
                    self.store.distrust();
                }
                for reader in self.readers_of(&consumer) {
                    self.progress.fails(&consumer.key(reader.name()), None, &why);
                }
                self.consumers.postpone(consumer, failed, Instant::now() + wait);
                Err(())
            }
            Err(Trouble::Final(why)) => {
                self.halt_consumer(&consumer, &why);
                Err(())
            }
        }
    }

    /// The projections of the consumer: none that has halted, and none that goes alone.
    fn readers_of(&self, consumer: &Consumer) -> Vec<Arc<dyn Projection<S::Tx>>> {
        let reads = |projection: &&Arc<dyn Projection<S::Tx>>| {
            let key = consumer.key(projection.name());
            let belongs = match consumer.alone {
                Some(name) => name == key.projection,
                None => !self.consumers.goes_alone(&key),
            };
            let reads = projection.source() == consumer.topic_partition.source
                && projection.categories().contains(&&*consumer.topic_partition.category);
            reads && belongs && !self.progress.is_halted(&key)
        };
        self.projections.iter().filter(reads).cloned().collect()
    }

    /// The follower ended: the log has a problem, or is another log.
    pub(super) fn lost_the_log(&mut self, consumer: Consumer, end: &follow::Error) {
        // What was read and not projected is read again.
        if let Some(follower) = self.consumers.followers.remove(&consumer) {
            let readers: BTreeSet<&'static str> =
                follower.checkpoints().map(|(projection, _)| projection).collect();
            self.schedule.drop_jobs(|job| {
                job.key.topic_partition == consumer.topic_partition
                    && readers.contains(job.key.projection)
            });
        }
        match trouble(end) {
            Trouble::Passing(why) => {
                let wait = self.lost_again(&consumer, &why);
                self.consumers.postpone(consumer, 1, Instant::now() + wait);
            }
            Trouble::Final(why) => self.halt_consumer(&consumer, &why),
        }
    }

    /// How long to wait before the log is followed again: longer each time, until it was followed
    /// for long.
    fn lost_again(&mut self, consumer: &Consumer, why: &Failure) -> Duration {
        let soon = self.limits.backoff.longest * 2;
        let times = self.consumers.lose(consumer, Instant::now(), soon);
        if times == 1 {
            warn!(
                category = %consumer.topic_partition.category,
                partition = consumer.topic_partition.partition,
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
        self.consumers.drop_consumer(consumer);
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
    topic_partition: &TopicPartition,
    partition: Option<highwater_log::Partition>,
    readers: &[Arc<dyn Projection<S::Tx>>],
    me: Me,
) -> Result<Beginning, Trouble> {
    let Some(partition) = partition else {
        return Err(Trouble::Final(format!("no topic is known for {topic_partition}")));
    };
    let (mut resumed, mut halted) = (Vec::new(), Vec::new());
    match checkpoints_of(store, readers, topic_partition, me).await {
        Ok(all) => resumed = all,
        Err(failure) if failure.passes() => return Err(Trouble::Passing(failure)),
        // One by one, to see whose it is.
        Err(_) => {
            for reader in readers {
                let one = std::slice::from_ref(reader);
                match checkpoints_of(store, one, topic_partition, me).await {
                    Ok(one) => resumed.extend(one),
                    Err(failure) if failure.passes() => return Err(Trouble::Passing(failure)),
                    Err(failure) => halted.push((
                        Key { projection: reader.name(), topic_partition: topic_partition.clone() },
                        failure,
                    )),
                }
            }
        }
    }
    let (mut checkpoints, mut parked, mut careful) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for Resumed { projection, at, parked: count, careful: steps } in resumed {
        checkpoints.insert(projection, at);
        parked.insert(projection, count);
        careful.extend(steps.map(|steps| (projection, steps)));
    }
    let Some((lowest, others)) = rules::beginning(&checkpoints) else {
        return Ok(Beginning { follower: None, halted, parked, careful });
    };
    for at in &others {
        partition_reader::check(log, &partition, topic_partition.source, at)
            .await
            .map_err(|error| trouble(&error))?;
    }
    let reader = PartitionReader::resume(log, &partition, topic_partition.source, lowest)
        .await
        .map_err(|error| trouble(&error))?;
    Ok(Beginning {
        follower: Some(Follower::new(topic_partition.clone(), reader, checkpoints)),
        halted,
        parked,
        careful,
    })
}

/// Who begins, and how large its transactions are.
#[derive(Clone, Copy)]
struct Me {
    id: Uuid,
    batch_events: usize,
}

/// Where a projection stands.
struct Resumed {
    projection: &'static str,
    at: Position<Wire>,
    parked: Count,
    careful: Option<Careful>,
}

/// Where each projection stands, how many aggregates it has parked, and what a runner before may
/// have died of; in one transaction, so that a beginning costs few of them.
async fn checkpoints_of<S: Store>(
    store: &S,
    readers: &[Arc<dyn Projection<S::Tx>>],
    topic_partition: &TopicPartition,
    me: Me,
) -> Result<Vec<Resumed>, Failure> {
    if readers.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = store.begin().await?;
    let mut over = Vec::new();
    for reader in readers {
        if reader.resume(&mut tx, topic_partition).await? == Start::Over {
            over.push(reader.name());
        }
    }
    let mut keys: Vec<Key> = readers
        .iter()
        .map(|reader| Key { projection: reader.name(), topic_partition: topic_partition.clone() })
        .collect();
    keys.sort();
    let mut stored = store.load(&mut tx, &keys).await?;
    for (key, at) in keys.iter().zip(&mut stored).filter(|(key, _)| over.contains(&key.projection))
    {
        info!(
            category = %topic_partition.category,
            partition = topic_partition.partition, projection = key.projection,
            "projected again from the beginning"
        );
        store.reset(&mut tx, key).await?;
        *at = Position::start();
    }
    let parked = store.parked(&mut tx, &keys).await?;
    let runs = store.runs(&mut tx, &keys).await?;
    let (mut resumed, mut begun) = (Vec::new(), Vec::new());
    for (((key, at), parked), run) in keys.into_iter().zip(stored).zip(parked).zip(runs) {
        let is_mine = run.as_ref().is_some_and(|run| run.runner == me.id);
        let careful = run.and_then(|run| Careful::after(run, me.id, at.offset, me.batch_events));
        if !is_mine {
            let attempt = careful.as_ref().and_then(Careful::attempt);
            begun.push((key.clone(), attempt.cloned()));
        }
        resumed.push(Resumed { projection: key.projection, at, parked, careful });
    }
    if !begun.is_empty() {
        store.begin_runs(&mut tx, me.id, &begun).await?;
    }
    store.commit(tx, None).await?;
    Ok(resumed)
}
