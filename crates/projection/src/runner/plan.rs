//! What the next transactions are: jobs in groups, and how a group that failed is split. Pure.
//!
//! A group that fails goes singly: first by partition, then by projection, then by halves of what
//! the partition said, so that nothing sound waits for what is not.

use std::{collections::BTreeMap, sync::Arc};

use highwater_protocol::{position::Position, wire::Wire};
use highwater_tables::{parked::Cause, runs::Attempt};

use super::{
    batch::{Item, Slice, TopicPartition},
    projection::{Key, Move},
};

/// One projection on one partition, from its checkpoint to another position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub key: Key,
    pub from: Position<Wire>,
    pub to: Position<Wire>,
    /// Shared by all projections of the partition; this job covers `first..end`.
    pub items: Arc<[Item]>,
    pub first: usize,
    pub end: usize,
}

/// What one transaction covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub jobs: Vec<Job>,
    /// How often it has failed in a row.
    pub failed: u32,
    /// Another runner was seen to move these checkpoints.
    pub contested: bool,
    /// Why the one commit of the one job is not applied but parked.
    pub park: Option<Cause>,
    /// What is noted before it is applied, because a runner before died.
    pub noted: Option<Attempt>,
}

impl Job {
    pub fn items(&self) -> &[Item] {
        self.items.get(self.first..self.end).unwrap_or(&[])
    }

    pub fn slice(&self) -> Slice<'_> {
        Slice { topic_partition: &self.key.topic_partition, items: self.items() }
    }

    pub fn weight(&self) -> usize {
        self.items().iter().map(|item| item.what.weight()).sum()
    }

    /// The first `items`, then the rest with whatever follows the last item, if any is left.
    pub fn cut(self, items: usize) -> (Job, Option<Job>) {
        let middle = self.first + items;
        let last = middle.checked_sub(1).filter(|_| items > 0 && middle < self.end);
        let Some(between) = last.and_then(|last| self.items.get(last)) else {
            return (self, None);
        };
        let between = between.after.clone();
        let head = Job { to: between.clone(), end: middle, ..self.clone() };
        (head, Some(Job { from: between, first: middle, ..self }))
    }
}

impl Group {
    pub fn of(jobs: Vec<Job>) -> Self {
        Self { jobs, ..Self::default() }
    }

    pub fn can_split(&self) -> bool {
        self.jobs.len() > 1 || self.jobs.first().is_some_and(|job| job.items().len() > 1)
    }

    /// Smaller groups that do the same, in turn.
    pub fn split(self) -> Vec<Group> {
        let mut by_topic_partition: BTreeMap<TopicPartition, Vec<Job>> = BTreeMap::new();
        for job in self.jobs {
            by_topic_partition.entry(job.key.topic_partition.clone()).or_default().push(job);
        }
        if by_topic_partition.len() > 1 {
            return by_topic_partition.into_values().map(Group::of).collect();
        }
        let mut jobs: Vec<Job> = by_topic_partition.into_values().flatten().collect();
        match (jobs.len(), jobs.pop()) {
            (1, Some(job)) => {
                let half = job.items().len() / 2;
                let (head, rest) = job.cut(half);
                std::iter::once(head).chain(rest).map(|half| Group::of(vec![half])).collect()
            }
            (_, last) => jobs.into_iter().chain(last).map(|job| Group::of(vec![job])).collect(),
        }
    }

    /// Every checkpoint that moves, sorted by key.
    pub fn moves(&self) -> Vec<Move> {
        let mut moves: Vec<Move> = self
            .jobs
            .iter()
            .map(|job| Move { key: job.key.clone(), from: job.from.clone(), to: job.to.clone() })
            .collect();
        moves.sort_by(|a, b| a.key.cmp(&b.key));
        moves
    }
}

#[cfg(test)]
mod tests {
    use highwater_protocol::{
        entry::{CommandMetadata, OutcomeBody, Verdict},
        wire::{Fingerprint, Meta, Reason},
    };
    use uuid::Uuid;

    use super::*;
    use crate::runner::batch::What;

    fn at(offset: u64) -> Position<Wire> {
        Position { offset, ..Position::start() }
    }

    fn item(offset: u64) -> Item {
        let metadata = CommandMetadata {
            aggregate: Uuid::nil(),
            command: Uuid::nil(),
            fingerprint: Fingerprint { key_number: 0, hmac: [0; 32] },
            meta: Meta::default(),
            source: None,
        };
        let body = OutcomeBody {
            metadata,
            version: 0,
            verdict: Verdict::Rejected,
            reason: Reason(Vec::new()),
        };
        Item { what: What::Outcome { offset, body }, after: at(offset + 1) }
    }

    fn job(projection: &'static str, partition: u32, items: u64) -> Job {
        let topic_partition = TopicPartition::of_events("a", partition);
        let end = usize::try_from(items).unwrap_or(0);
        Job {
            key: Key { projection, topic_partition },
            from: at(0),
            to: at(items + 5),
            items: (0..items).map(item).collect(),
            first: 0,
            end,
        }
    }

    #[test]
    fn splits_by_partition_then_by_projection_then_by_halves() {
        let all = Group::of(vec![job("x", 0, 3), job("y", 0, 3), job("x", 1, 3)]);
        let by_partition = all.split();
        assert_eq!(by_partition.iter().map(|group| group.jobs.len()).collect::<Vec<_>>(), [2, 1]);
        let by_projection = by_partition[0].clone().split();
        assert_eq!(
            by_projection.iter().map(|group| group.jobs[0].key.projection).collect::<Vec<_>>(),
            ["x", "y"]
        );
        let halves = by_projection[0].clone().split();
        assert_eq!(
            halves.iter().map(|group| group.jobs[0].items().len()).collect::<Vec<_>>(),
            [1, 2]
        );
    }

    #[test]
    fn the_parts_of_a_job_cover_it_without_a_gap() {
        let mut parts = vec![Group::of(vec![job("x", 0, 7)])];
        // So often that every item is by itself.
        for _ in 0..3 {
            parts = parts
                .into_iter()
                .flat_map(|group| if group.can_split() { group.split() } else { vec![group] })
                .collect();
        }
        assert_eq!(parts.iter().map(|part| part.jobs[0].items().len()).collect::<Vec<_>>(), [1; 7]);
        let mut expected = at(0);
        for part in &parts {
            assert_eq!(part.jobs[0].from, expected);
            expected = part.jobs[0].to.clone();
        }
        assert_eq!(expected, at(12));
    }

    #[test]
    fn several_jobs_can_be_split_however_little_each_brings() {
        for items in [0, 1] {
            let group = Group::of(vec![job("x", 0, items), job("y", 0, items)]);
            assert!(group.can_split());
            assert_eq!(
                group.split().iter().map(|group| group.jobs.len()).collect::<Vec<_>>(),
                [1, 1]
            );
        }
        assert!(!Group::default().can_split());
        assert!(!Group::of(vec![job("x", 0, 0)]).can_split());
        assert!(Group::of(vec![job("x", 0, 2)]).can_split());
    }

    #[test]
    fn the_last_item_of_several_cannot_be_split_either() {
        let job = Job { first: 1, end: 2, ..job("x", 0, 3) };
        assert_eq!((job.items().len(), job.weight()), (1, 1));
        let group = Group::of(vec![job]);
        assert!(!group.can_split());
        assert_eq!(group.clone().split(), vec![group]);
    }

    #[test]
    fn checkpoints_move_in_the_sequence_of_their_keys() {
        let moves = Group::of(vec![job("y", 0, 1), job("x", 1, 2), job("x", 0, 3)]).moves();
        let found: Vec<_> = moves
            .iter()
            .map(|step| {
                (
                    step.key.projection,
                    step.key.topic_partition.partition,
                    step.from.offset,
                    step.to.offset,
                )
            })
            .collect();
        assert_eq!(found, [("x", 0, 0, 8), ("x", 1, 0, 7), ("y", 0, 0, 6)]);
    }

    #[test]
    fn a_single_item_cannot_be_split() {
        let group = Group::of(vec![job("x", 0, 1)]);
        assert!(!group.can_split());
        assert_eq!(group.clone().split(), vec![group]);
    }
}
