//! What this runner has of the log: what it follows, what it is to follow, and which projections go
//! alone because their transactions fail. Knows no transaction, and waits for nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use highwater_protocol::{position::Position, wire::Wire};
use tokio::time::Instant;

use super::{
    batch::{Source, TopicPartition},
    careful::Careful,
    follower::Follower,
    projection::Key,
};

/// What follows a partition together: all its projections, or one of them alone, because its
/// transactions fail for now and the others do not wait for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Consumer {
    pub(super) topic_partition: TopicPartition,
    pub(super) alone: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempts {
    pub(super) failed: u32,
    pub(super) not_before: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    times: u32,
    at: Instant,
}

#[derive(Default)]
pub(super) struct Consumers {
    pub(super) followers: BTreeMap<Consumer, Follower>,
    /// To be followed, but not yet: how often that failed, and when it is tried again.
    pub(super) waiting: BTreeMap<Consumer, Attempts>,
    /// How often the transactions of a projection that goes alone have failed in a row.
    pub(super) troubled: BTreeMap<Key, u32>,
    /// Where aggregates may be parked, which each transaction looks up then.
    pub(super) parked: BTreeSet<Key>,
    /// What is applied in small steps, because a runner before ended in no good order.
    pub(super) careful: BTreeMap<Key, Careful>,
    /// How often the log has stopped under a consumer, one time soon after the other.
    lost: BTreeMap<Consumer, Lost>,
}

impl Consumer {
    pub(super) fn of(topic_partition: TopicPartition) -> Self {
        Self { topic_partition, alone: None }
    }

    pub(super) fn alone(key: &Key) -> Self {
        Self { topic_partition: key.topic_partition.clone(), alone: Some(key.projection) }
    }

    pub(super) fn key(&self, projection: &'static str) -> Key {
        Key { projection, topic_partition: self.topic_partition.clone() }
    }
}

impl Consumers {
    /// It is to be followed. Projections that go alone follow by themselves; the others need a
    /// consumer all the same.
    pub(super) fn gain(&mut self, topic_partition: TopicPartition) {
        let consumer = Consumer::of(topic_partition);
        if !self.followers.contains_key(&consumer) && !self.waiting.contains_key(&consumer) {
            self.waiting.insert(consumer, Attempts::default());
        }
    }

    pub(super) fn follows(&self, topic_partition: &TopicPartition) -> bool {
        self.followers.keys().any(|consumer| consumer.topic_partition == *topic_partition)
    }

    pub(super) fn followed(&self) -> BTreeSet<TopicPartition> {
        self.followers.keys().map(|consumer| consumer.topic_partition.clone()).collect()
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.waiting.is_empty() && self.followers.values().all(Follower::is_caught_up)
    }

    /// Everything of the topic-partition: what is read but not projected is read again by the next
    /// follower.
    pub(super) fn drop_topic_partition(&mut self, topic_partition: &TopicPartition) {
        self.followers.retain(|consumer, _| consumer.topic_partition != *topic_partition);
        self.waiting.retain(|consumer, _| consumer.topic_partition != *topic_partition);
        self.troubled.retain(|key, _| key.topic_partition != *topic_partition);
        self.parked.retain(|key| key.topic_partition != *topic_partition);
        self.lost.retain(|consumer, _| consumer.topic_partition != *topic_partition);
    }

    pub(super) fn drop_consumer(&mut self, consumer: &Consumer) {
        self.followers.remove(consumer);
        self.waiting.remove(consumer);
    }

    pub(super) fn follow(&mut self, consumer: Consumer, follower: Follower) {
        self.waiting.remove(&consumer);
        self.followers.insert(consumer, follower);
    }

    /// It is begun later.
    pub(super) fn postpone(&mut self, consumer: Consumer, failed: u32, until: Instant) {
        self.waiting.insert(consumer, Attempts { failed, not_before: Some(until) });
    }

    /// How often its beginning has failed in a row.
    pub(super) fn failed(&self, consumer: &Consumer) -> u32 {
        self.waiting.get(consumer).map_or(0, |attempts| attempts.failed)
    }

    /// At most so many of what is due, those that readers wait for first.
    pub(super) fn to_resume(&self, now: Instant, most: usize) -> Vec<Consumer> {
        let due = self
            .waiting
            .iter()
            .filter(|(_, attempts)| attempts.not_before.is_none_or(|at| at <= now));
        let mut due: Vec<Consumer> = due.map(|(consumer, _)| consumer.clone()).collect();
        // Readers wait for events.
        due.sort_by_key(|consumer| consumer.topic_partition.source != Source::Events);
        due.truncate(most.max(1));
        due
    }

    pub(super) fn next_to_resume(&self, now: Instant) -> Option<Instant> {
        self.waiting.values().map(|attempts| attempts.not_before.unwrap_or(now)).min()
    }

    /// The follower that holds the checkpoint of `key`.
    pub(super) fn track_of(&mut self, key: &Key) -> Option<&mut Follower> {
        let alone = Consumer::alone(key);
        let consumer = if self.followers.contains_key(&alone) {
            alone
        } else {
            Consumer::of(key.topic_partition.clone())
        };
        self.followers.get_mut(&consumer)
    }

    /// Every checkpoint of what is followed.
    pub(super) fn checkpoints(&self) -> impl Iterator<Item = (Key, &Position<Wire>)> {
        self.followers.iter().flat_map(|(consumer, follower)| {
            follower.checkpoints().map(|(projection, at)| (consumer.key(projection), at))
        })
    }

    /// No follower reads for this projection any more, on this partition.
    pub(super) fn leave_out(&mut self, key: &Key) {
        if let Some(follower) = self.track_of(key) {
            follower.leave_out(key.projection);
        }
        self.followers.remove(&Consumer::alone(key));
    }

    /// The projection follows by itself, or will.
    pub(super) fn goes_alone(&self, key: &Key) -> bool {
        let alone = Consumer::alone(key);
        self.followers.contains_key(&alone) || self.waiting.contains_key(&alone)
    }

    /// A projection that went alone and stands where the others stand goes with them again.
    pub(super) fn rejoin(&mut self) {
        let alone: Vec<Consumer> =
            self.followers.keys().filter(|consumer| consumer.alone.is_some()).cloned().collect();
        for consumer in alone {
            let Some(mut follower) = self.followers.remove(&consumer) else { continue };
            let rejoined = self
                .followers
                .get_mut(&Consumer::of(consumer.topic_partition.clone()))
                .is_some_and(|others| others.take_in(&mut follower));
            if !rejoined {
                self.followers.insert(consumer, follower);
            }
        }
    }

    /// The log has stopped under it: how often in a row, one time within `soon` after the other.
    pub(super) fn lose(&mut self, consumer: &Consumer, now: Instant, soon: Duration) -> u32 {
        let before = self.lost.get(consumer).filter(|lost| now.duration_since(lost.at) <= soon);
        let times = before.map_or(1, |lost| lost.times.saturating_add(1));
        self.lost.insert(consumer.clone(), Lost { times, at: now });
        times
    }
}
