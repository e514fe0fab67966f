//! The transactions that are next, and what is done by the clock. Knows nothing of what they are
//! about.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::plan::{Group, Job};

#[derive(Default)]
pub(super) struct Schedule {
    pub(super) queue: VecDeque<Group>,
    /// What is followed already goes first after each beginning.
    pub(super) just_resumed: bool,
    /// The database is away, or busy: nothing is tried before.
    pub(super) retry_at: Option<Instant>,
    pub(super) verify_at: Option<Instant>,
    pub(super) note_at: Option<Instant>,
}

impl Schedule {
    /// It is tried before everything else.
    pub(super) fn first(&mut self, group: Group) {
        self.queue.push_front(group);
    }

    /// Each has a transaction of its own, in turn, before everything else.
    pub(super) fn first_in_parts(&mut self, parts: Vec<Group>) {
        parts.into_iter().rev().for_each(|part| self.queue.push_front(part));
    }

    /// After everything else; those without jobs are nothing.
    pub(super) fn last(&mut self, groups: impl Iterator<Item = Vec<Job>>) {
        self.queue.extend(groups.filter(|jobs| !jobs.is_empty()).map(Group::of));
    }

    pub(super) fn drop_jobs(&mut self, dropped: impl Fn(&Job) -> bool) {
        self.queue.iter_mut().for_each(|group| group.jobs.retain(|job| !dropped(job)));
        self.queue.retain(|group| !group.jobs.is_empty());
    }

    /// Whether partitions may be begun now: everything that is followed already has its turn
    /// between two beginnings.
    pub(super) fn may_resume(&mut self) -> bool {
        self.just_resumed = !self.just_resumed;
        self.just_resumed
    }

    /// While the database is away nothing that needs it is tried.
    pub(super) fn with_the_database(&self, at: Instant) -> Instant {
        self.retry_at.map_or(at, |retry_at| at.max(retry_at))
    }

    pub(super) fn verify_by(&mut self, at: Instant) {
        self.verify_at.get_or_insert(at);
    }

    pub(super) fn note_by(&mut self, at: Instant) {
        self.note_at.get_or_insert(at);
    }
}
