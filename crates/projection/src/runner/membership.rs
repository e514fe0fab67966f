//! Which partitions this runner has: the group's say, turned into topic-partitions. Membership is a
//! hint; the checkpoints decide.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use highwater_log::{Membership, MembershipEvent, Partition, Topic, TopicKind};

use super::batch::{Source, TopicPartition};

/// How the categories and their topics are called.
#[derive(Clone, Debug)]
pub struct Topics(Vec<Name>);

#[derive(Clone, Debug)]
struct Name {
    category: Arc<str>,
    source: Source,
    topic: Arc<str>,
}

impl Topics {
    /// `<prefix>.<category>.events` and `<prefix>.<category>.commands` for each category.
    pub fn of(prefix: &str, categories: &[&str]) -> Self {
        let name = |category: &str, source, kind| Name {
            category: category.into(),
            source,
            topic: format!("{prefix}.{category}.{kind}").into(),
        };
        let both = |category: &&str| {
            [name(category, Source::Events, "events"), name(category, Source::Commands, "commands")]
        };
        Self(categories.iter().flat_map(both).collect())
    }

    pub fn topics(&self) -> Vec<Arc<str>> {
        self.0.iter().map(|name| name.topic.clone()).collect()
    }

    /// What the log is asked to have.
    pub fn wanted(&self, partitions: u32) -> Vec<Topic> {
        let kind = |source| match source {
            Source::Events => TopicKind::Events,
            Source::Commands => TopicKind::Commands,
        };
        self.0
            .iter()
            .map(|name| Topic { name: name.topic.clone(), partitions, kind: kind(name.source) })
            .collect()
    }

    pub fn partition(&self, topic_partition: &TopicPartition) -> Option<Partition> {
        let name = self.0.iter().find(|name| {
            name.category == topic_partition.category && name.source == topic_partition.source
        })?;
        Some(Partition { topic: name.topic.clone(), index: topic_partition.partition })
    }

    fn topic_partition(&self, partition: &Partition) -> Option<TopicPartition> {
        let name = self.0.iter().find(|name| name.topic == partition.topic)?;
        Some(TopicPartition {
            category: name.category.clone(),
            partition: partition.index,
            source: name.source,
        })
    }
}

/// A change of what this runner has.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Gained(Vec<TopicPartition>),
    Gone(Vec<TopicPartition>),
}

pub struct Assignment {
    membership: Option<Membership>,
    topics: Topics,
}

impl Assignment {
    pub fn new(membership: Membership, topics: Topics) -> Self {
        Self { membership: Some(membership), topics }
    }

    pub fn partition(&self, topic_partition: &TopicPartition) -> Option<Partition> {
        self.topics.partition(topic_partition)
    }

    /// A change that has happened already.
    pub fn happened(&mut self) -> Option<Change> {
        let event = self.membership.as_mut()?.events.try_recv().ok()?;
        Some(self.change(event))
    }

    /// Waits for a change. Dropping the future loses nothing.
    pub async fn change_to_come(&mut self) -> Change {
        let event = match self.membership.as_mut() {
            Some(membership) => membership.events.recv().await,
            None => None,
        };
        match event {
            Some(event) => self.change(event),
            // Left, or the log was closed: nothing more will change.
            None => std::future::pending().await,
        }
    }

    fn change(&self, event: MembershipEvent) -> Change {
        let topic_partitions = |partitions: Vec<Partition>| {
            partitions
                .iter()
                .filter_map(|partition| self.topics.topic_partition(partition))
                .collect()
        };
        match event {
            MembershipEvent::Assigned(partitions) => Change::Gained(topic_partitions(partitions)),
            // Lost or given up: in both cases a transaction that still runs is decided by its
            // checkpoints.
            MembershipEvent::Revoked { partitions, lost: _ } => {
                Change::Gone(topic_partitions(partitions))
            }
        }
    }

    /// For the log's own lag tools; best effort.
    pub fn note(&self, offsets: &[(Partition, u64)]) {
        if let Some(membership) = &self.membership
            && !offsets.is_empty()
        {
            (membership.commit)(offsets);
        }
    }

    /// Begins to leave at once; the future waits until the group was left.
    pub fn leave(&mut self, within: Duration) -> BoxFuture<'static, ()> {
        match self.membership.take() {
            Some(membership) => (membership.leave)(within),
            None => Box::pin(std::future::ready(())),
        }
    }
}

#[cfg(test)]
mod tests;
