//! Which partitions this runner has: the group's say, turned into places. Membership is a hint; the checkpoints decide.

use std::{sync::Arc, time::Duration};

use eventlog::{Membership, MembershipEvent, Partition};

use super::batch::Place;

/// How a category and its topic are called.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Category and topic.
    names: Vec<(Arc<str>, Arc<str>)>,
}

impl Topics {
    /// `<prefix>.<category>.events` for each category.
    pub fn of(prefix: &str, categories: &[&str]) -> Self {
        let name = |category: &&str| (Arc::from(*category), Arc::from(format!("{prefix}.{category}.events")));
        Self { names: categories.iter().map(name).collect() }
    }

    pub fn topics(&self) -> Vec<Arc<str>> {
        self.names.iter().map(|(_, topic)| topic.clone()).collect()
    }

    pub fn partition(&self, place: &Place) -> Option<Partition> {
        let (_, topic) = self.names.iter().find(|(category, _)| *category == place.category)?;
        Some(Partition { topic: topic.clone(), index: place.partition })
    }

    fn place(&self, partition: &Partition) -> Option<Place> {
        let (category, _) = self.names.iter().find(|(_, topic)| *topic == partition.topic)?;
        Some(Place { category: category.clone(), partition: partition.index })
    }
}

/// A change of what this runner has.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Gained(Vec<Place>),
    Gone(Vec<Place>),
}

pub struct Share {
    membership: Option<Membership>,
    topics: Topics,
}

impl Share {
    pub fn new(membership: Membership, topics: Topics) -> Self {
        Self { membership: Some(membership), topics }
    }

    pub fn partition(&self, place: &Place) -> Option<Partition> {
        self.topics.partition(place)
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
        let places = |partitions: Vec<Partition>| partitions.iter().filter_map(|partition| self.topics.place(partition)).collect();
        match event {
            MembershipEvent::Assigned(partitions) => Change::Gained(places(partitions)),
            // Lost or given up: in both cases a transaction that still runs is decided by its checkpoints.
            MembershipEvent::Revoked { partitions, lost: _ } => Change::Gone(places(partitions)),
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

    pub async fn leave(&mut self, within: Duration) {
        if let Some(membership) = self.membership.take() {
            (membership.leave)(within).await;
        }
    }
}
