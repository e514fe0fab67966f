//! How far every projection is, for metrics: records and seconds behind the end of the log. Reads,
//! changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use highwater_log::Log;
use highwater_runtime::clock::Clock;
use metrics::gauge;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{batch::TopicPartition, failure::Failure, membership::Topics, projection::Key};

/// How far the runner is; shared with what shows it.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    reached: BTreeMap<Key, u64>,
    /// Stopped until a restart, before this offset.
    halted: BTreeMap<Key, u64>,
    /// How many aggregates wait; none where it is not here.
    parked: BTreeMap<Key, u64>,
    /// Tried again and again since then.
    failing: BTreeMap<Key, Failing>,
}

/// Where a projection fails: what goes right elsewhere says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Beginning,
    Transaction,
}

#[derive(Clone, Debug)]
struct Failing {
    stage: Stage,
    /// Where a transaction was to go: whichever runner gets there, nothing is left to do of what
    /// failed.
    to: Option<u64>,
    since: Instant,
    error: String,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    pub(super) fn reached(&self, key: Key, offset: u64) {
        let mut state = self.lock();
        if state.failing.get(&key).and_then(|failing| failing.to).is_some_and(|to| offset >= to) {
            state.failing.remove(&key);
        }
        state.reached.insert(key, offset);
    }

    pub(super) fn halted(&self, key: Key, offset: u64) {
        let mut state = self.lock();
        state.failing.remove(&key);
        state.halted.insert(key, offset);
    }

    /// `to`: where a transaction was to go; none for a beginning.
    pub(super) fn fails(&self, key: &Key, to: Option<u64>, failure: &Failure) {
        let (mut state, error) = (self.lock(), failure.to_string());
        let stage = if to.is_some() { Stage::Transaction } else { Stage::Beginning };
        let failing = state.failing.entry(key.clone()).or_insert_with(|| Failing {
            stage,
            to,
            since: Instant::now(),
            error: String::new(),
        });
        failing.error = error;
        // A transaction that fails is not mended by a beginning.
        if stage == Stage::Transaction {
            (failing.stage, failing.to) = (stage, to);
        }
    }

    pub(super) fn works(&self, key: &Key, stage: Stage) {
        let mut state = self.lock();
        if state.failing.get(key).is_some_and(|failing| failing.stage == stage) {
            state.failing.remove(key);
        }
    }

    /// So many aggregates wait.
    pub(super) fn parks(&self, key: &Key, count: u64) {
        let mut state = self.lock();
        gauge!("highwater_projection_parked", &labels(key)).set(count as f64);
        if count == 0 {
            state.parked.remove(key);
        } else {
            state.parked.insert(key.clone(), count);
        }
    }

    /// How many aggregates wait, where any do.
    pub fn all_parked(&self) -> BTreeMap<Key, u64> {
        self.lock().parked.clone()
    }

    /// What has failed for so long, with the last error.
    pub fn failing(&self, longer_than: Duration) -> BTreeMap<Key, String> {
        let state = self.lock();
        let long =
            state.failing.iter().filter(|(_, failing)| failing.since.elapsed() >= longer_than);
        long.map(|(key, failing)| (key.clone(), failing.error.clone())).collect()
    }

    /// The partition is another runner's now, and so are its lag and its trouble.
    pub(super) fn forget(&self, topic_partition: &TopicPartition) {
        let mut state = self.lock();
        for key in state
            .reached
            .keys()
            .chain(state.halted.keys())
            .filter(|key| key.topic_partition == *topic_partition)
        {
            show(key, 0, 0.0);
            gauge!("highwater_projection_halted", &labels(key)).set(0.0);
        }
        for key in state.parked.keys().filter(|key| key.topic_partition == *topic_partition) {
            gauge!("highwater_projection_parked", &labels(key)).set(0.0);
        }
        state.parked.retain(|key, _| key.topic_partition != *topic_partition);
        state.reached.retain(|key, _| key.topic_partition != *topic_partition);
        state.halted.retain(|key, _| key.topic_partition != *topic_partition);
        state.failing.retain(|key, _| key.topic_partition != *topic_partition);
    }

    pub fn offset(&self, key: &Key) -> Option<u64> {
        self.lock().reached.get(key).copied()
    }

    pub fn is_halted(&self, key: &Key) -> bool {
        self.lock().halted.contains_key(key)
    }

    /// Every projection that has begun, with the offset that it has reached.
    pub fn all(&self) -> BTreeMap<Key, u64> {
        self.lock().reached.clone()
    }

    /// Those that stopped, with the offset before which they did.
    pub fn all_halted(&self) -> BTreeMap<Key, u64> {
        self.lock().halted.clone()
    }
}

/// Shows the lag every `interval` until `stop`.
pub async fn watch(
    log: Arc<dyn Log>,
    topics: Topics,
    progress: Progress,
    clock: Arc<dyn Clock>,
    interval: Duration,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = show_all(&*log, &topics, &progress, &*clock) => {}
        }
    }
}

async fn show_all(log: &dyn Log, topics: &Topics, progress: &Progress, clock: &dyn Clock) {
    let reached = progress.all();
    let topic_partitions: BTreeSet<&TopicPartition> =
        reached.keys().map(|key| &key.topic_partition).collect();
    for topic_partition in topic_partitions {
        let Some(partition) = topics.partition(topic_partition) else { continue };
        let end = match log.end(&partition).await {
            Ok(end) => end,
            Err(error) => {
                debug!(%partition, %error, "the end of the log is not known");
                continue;
            }
        };
        for (key, offset) in
            reached.iter().filter(|(key, _)| key.topic_partition == *topic_partition)
        {
            let records = end.saturating_sub(*offset);
            let oldest = if records == 0 {
                None
            } else {
                log.fetch(&partition, *offset, 1)
                    .await
                    .ok()
                    .and_then(|found| found.into_iter().next())
            };
            let seconds =
                oldest.map_or(0, |oldest| (clock.now() / 1000 - oldest.appended_at_ms).max(0));
            show(key, records, Duration::from_millis(seconds.unsigned_abs()).as_secs_f64());
        }
    }
}

fn show(key: &Key, records: u64, seconds: f64) {
    let labels = labels(key);
    // A gauge holds integers exactly up to 2^53.
    gauge!("highwater_projection_lag_events", &labels)
        .set(u32::try_from(records).map_or(f64::from(u32::MAX), f64::from));
    gauge!("highwater_projection_lag_seconds", &labels).set(seconds);
}

/// Bounded: categories, partitions and projections are.
pub fn labels(key: &Key) -> [(&'static str, String); 3] {
    [
        ("category", key.topic_partition.category.to_string()),
        ("partition", key.topic_partition.partition.to_string()),
        ("projection", key.projection.to_owned()),
    ]
}

#[cfg(test)]
mod tests;
