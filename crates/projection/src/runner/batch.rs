//! What a partition said between two positions, as projections see it: whole commits and outcomes,
//! or the queued commands, in their sequence.

use std::sync::Arc;

use highwater_protocol::{
    command_queue,
    entry::OutcomeBody,
    fold::{Commit, Effect},
    position::Position,
    wire::Wire,
};

/// Which topic of a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Read through the fold.
    Events,
    /// The command queue, read record by record. The log forgets it after a while.
    Commands,
}

/// One partition of one topic of one category.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub category: Arc<str>,
    pub partition: u32,
    pub source: Source,
}

/// One visible thing, and where the fold stands after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub what: What,
    pub after: Position<Wire>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Commit(Commit<Wire>),
    /// A recorded rejection or "nothing to do", in the record at `offset`.
    Outcome {
        offset: u64,
        body: OutcomeBody<Wire>,
    },
    /// A record of the command queue at `offset`, without its body, or why it is none.
    Accepted {
        offset: u64,
        appended_at_ms: i64,
        command: Result<Box<command_queue::AcceptedCommand>, command_queue::DecodeError>,
    },
}

/// A run of one partition that a projection applies as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    pub topic_partition: &'a TopicPartition,
    pub items: &'a [Item],
}

/// What one transaction still has room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub events: usize,
    pub bytes: usize,
}

impl Room {
    /// Never nothing: however much the others brought, every follower gets at least one delivery of
    /// the log in.
    pub fn less(self, events: usize, bytes: usize) -> Self {
        Self {
            events: self.events.saturating_sub(events).max(1),
            bytes: self.bytes.saturating_sub(bytes).max(1),
        }
    }
}

impl What {
    /// What the fold shows of the record at `offset`, if projections see it.
    pub fn of(effect: Effect<Wire>, offset: u64) -> Option<Self> {
        match effect {
            Effect::Commit(commit) => Some(Self::Commit(commit)),
            Effect::Outcome(body) => Some(Self::Outcome { offset, body }),
            Effect::Void(_)
            | Effect::Fence { .. }
            | Effect::Barrier
            | Effect::Sealed
            | Effect::Unknown
            | Effect::Opened
            | Effect::Ineffective => None,
        }
    }

    /// The offset of the first record.
    pub fn start(&self) -> u64 {
        match self {
            What::Commit(commit) => commit.first,
            What::Outcome { offset, .. } | What::Accepted { offset, .. } => *offset,
        }
    }

    /// The bytes of its data.
    pub fn size_bytes(&self) -> usize {
        match self {
            What::Commit(commit) => commit.events.iter().map(|event| event.event.data.len()).sum(),
            What::Outcome { body, .. } => body.reason.0.len(),
            What::Accepted { .. } => 0,
        }
    }

    /// How many events; everything else counts as one.
    pub fn weight(&self) -> usize {
        match self {
            What::Commit(commit) => commit.events.len(),
            What::Outcome { .. } | What::Accepted { .. } => 1,
        }
    }
}

impl<'a> Slice<'a> {
    /// Every event with the offset after its commit, which names it in messages.
    pub fn events(
        &self,
    ) -> impl Iterator<Item = (u64, &'a highwater_protocol::entry::EventBody<Wire>)> + use<'a> {
        self.items
            .iter()
            .filter_map(|item| match &item.what {
                What::Commit(commit) => Some(commit),
                What::Outcome { .. } | What::Accepted { .. } => None,
            })
            .flat_map(|commit| commit.events.iter().map(move |event| (commit.end, event)))
    }
}

impl TopicPartition {
    pub fn of_events(category: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { category: category.into(), partition, source: Source::Events }
    }

    pub fn of_commands(category: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { category: category.into(), partition, source: Source::Commands }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.category, self.partition)?;
        match self.source {
            Source::Events => Ok(()),
            Source::Commands => f.write_str(" (commands)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::tests::history::{Act, History, Shelf};

    #[tokio::test]
    async fn the_events_of_a_slice_are_those_of_its_commits_in_their_sequence() {
        let history = Arc::new(History::of(&[
            Act::Fence,
            Act::Commit(2),
            Act::Outcome,
            Act::Void,
            Act::Commit(1),
        ]));
        let shelf = Shelf::new(std::slice::from_ref(&history), &[], usize::MAX, 100);
        let (topic_partition, partition) = (
            TopicPartition::of_events("thing", 0),
            highwater_log::Partition { topic: "test.thing.events".into(), index: 0 },
        );
        let mut reader = crate::runner::partition_reader::PartitionReader::resume(
            &shelf,
            &partition,
            topic_partition.source,
            Position::start(),
        )
        .await
        .expect("a reader");
        let items = reader.next().await.expect("a delivery").items;
        assert_eq!(items.len(), 3);
        let slice = Slice { topic_partition: &topic_partition, items: &items };
        let found: Vec<_> = slice
            .events()
            .map(|(end, event)| (end, event.metadata.command.as_u128(), event.part.index))
            .collect();
        // Each with where its commit ends, and the offset at which it began as its command.
        assert_eq!(found, [(3, 1, 1), (3, 1, 2), (6, 5, 1)]);
    }
}
