//! The end of a partition: what the group took back is projected further until another runner moves
//! its checkpoints, so that no query that waits for a position waits for the group. Safe, because
//! each transaction compares the checkpoints: of two runners one wins.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tracing::{debug, info};

use super::{
    Runner, Step,
    batch::TopicPartition,
    consumers::Consumer,
    projection::{Key, Store},
};

/// Once others have begun to take over, and nothing of what is left could be projected here for so
/// long, they have all of it: quiet partitions show nothing.
const THE_REST_WITHIN: Duration = Duration::from_secs(1);

/// How long a runner waits between transactions for what it is to hand off, so that the runner that
/// has resumed it moves it first.
const OTHERS_FIRST: Duration = Duration::from_millis(200);

/// What this runner is to hand off.
#[derive(Default)]
pub(super) struct Handoff {
    /// Taken back by the group and projected further, until when at most.
    pub(super) leaving: BTreeMap<TopicPartition, Instant>,
    /// Nothing of it is projected before.
    pub(super) others_first: Option<Instant>,
    /// The runner ends, then at the latest.
    leave_by: Option<Instant>,
    /// While it ends: some partition was taken over.
    others_began: bool,
    /// The runs of these end in good order.
    ended: Vec<TopicPartition>,
}

impl Handoff {
    pub(super) fn is_leaving(&self, topic_partition: &TopicPartition) -> bool {
        self.leaving.contains_key(topic_partition)
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.leaving.values().min().copied()
    }

    fn over(&self, now: Instant) -> Vec<TopicPartition> {
        let ended = self.leaving.iter().filter(|(_, until)| **until <= now);
        ended.map(|(topic_partition, _)| topic_partition.clone()).collect()
    }

    /// Whether nothing of it is projected now, because others go first.
    pub(super) fn waits_for_others(&self, now: Instant) -> bool {
        self.others_first.is_some_and(|until| until > now)
    }

    /// Some of it is projected now, and others go first afterwards.
    pub(super) fn let_others_go_first(&mut self, now: Instant) {
        self.others_first = Some(now + OTHERS_FIRST);
    }

    /// A runner that ends waits a little longer.
    pub(super) fn go_on_for_the_rest(&mut self, now: Instant) {
        if let Some(last) = self.leave_by.filter(|_| self.others_began) {
            let until = last.min(now + THE_REST_WITHIN);
            self.leaving.values_mut().for_each(|at| *at = until);
        }
    }
}

impl<S: Store> Runner<S> {
    pub(super) fn begin_handoff(&mut self, topic_partition: TopicPartition) {
        // Now, so that the next runner does not take this for one that died.
        self.handoff.ended.push(topic_partition.clone());
        // What was not begun is begun elsewhere.
        if self.consumers.follows(&topic_partition) && !self.limits.handoff.is_zero() {
            self.handoff.leaving.insert(topic_partition, Instant::now() + self.limits.handoff);
        } else {
            self.let_go(&topic_partition);
        }
    }

    pub(super) fn end_handoffs(&mut self, now: Instant) {
        for topic_partition in self.handoff.over(now) {
            self.let_go(&topic_partition);
        }
    }

    /// Whether `topic_partition` was to be handed off; then it is another runner's now.
    pub(super) fn was_taken_over(&mut self, topic_partition: &TopicPartition) -> bool {
        let leaving = self.handoff.is_leaving(topic_partition);
        if leaving {
            info!(
                category = %topic_partition.category,
                partition = topic_partition.partition, source = ?topic_partition.source,
                "taken over"
            );
            self.let_go(topic_partition);
            self.handoff.others_began = true;
            self.handoff.go_on_for_the_rest(Instant::now());
        }
        leaving
    }

    /// Leaves the group at once, and projects on until every partition was taken over, or for as
    /// long as that may take.
    pub(super) async fn hand_off_all(&mut self) {
        let left = self.assignment.leave(self.limits.leave_within);
        let waiting = self.consumers.waiting.keys();
        self.handoff.ended.extend(waiting.map(|consumer| consumer.topic_partition.clone()));
        self.consumers.waiting.clear();
        self.handoff.others_began = false;
        self.handoff.leave_by = Some(Instant::now() + self.limits.handoff);
        self.consumers
            .followed()
            .into_iter()
            .for_each(|topic_partition| self.begin_handoff(topic_partition));
        let rest = async {
            self.end_runs().await;
            while !self.handoff.leaving.is_empty() {
                if matches!(self.step().await, Step::Waiting | Step::CaughtUp)
                    && !self.handoff.leaving.is_empty()
                {
                    self.wait().await;
                }
            }
        };
        tokio::join!(left, rest);
    }

    /// A run that cannot be ended now looks like one of a runner that died: the next one is careful.
    pub(super) async fn end_runs(&mut self) {
        let ended = std::mem::take(&mut self.handoff.ended);
        let mut keys: Vec<Key> = Vec::new();
        for topic_partition in ended {
            // It may have been given back meanwhile.
            if self.consumers.follows(&topic_partition)
                && !self.handoff.is_leaving(&topic_partition)
            {
                continue;
            }
            let consumer = Consumer::of(topic_partition);
            let own = self.projections.iter().filter(|projection| {
                projection.source() == consumer.topic_partition.source
                    && projection.categories().contains(&&*consumer.topic_partition.category)
            });
            keys.extend(own.map(|projection| consumer.key(projection.name())));
        }
        if keys.is_empty() {
            return;
        }
        let end = async {
            let mut tx = self.store.begin().await?;
            self.store.end_runs(&mut tx, self.id, &keys).await?;
            self.store.commit(tx, None).await
        };
        if let Err(failure) = end.await {
            debug!(error = %failure, "an end is not noted");
        }
    }

    fn let_go(&mut self, topic_partition: &TopicPartition) {
        self.handoff.leaving.remove(topic_partition);
        self.drop_work(topic_partition);
        self.consumers.careful.retain(|key, _| key.topic_partition != *topic_partition);
        self.progress.forget(topic_partition);
    }
}
