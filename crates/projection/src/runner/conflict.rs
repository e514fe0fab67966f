//! Checkpoints that are not where this runner left them: the partition was handed off, another
//! runner still moves it, or the database fell back. The runner that lost goes on from what is
//! stored, without reading the log again where that is possible.

use std::collections::BTreeSet;

use highwater_protocol::{position::Position, wire::Wire};

use super::{
    Runner, Step,
    batch::TopicPartition,
    failure::Failure,
    lag::Stage,
    plan::{Group, Job},
    projection::{Key, Store},
    rules::{Rebase, is_moved, rebase},
    verify::stored,
};

impl<S: Store> Runner<S> {
    /// What was not moved is tried again together, each partition that was moved by itself.
    pub(super) async fn after_conflict(&mut self, mut group: Group) -> Step {
        let positions = match stored(&self.store, &keys(&group)).await {
            Ok(positions) => positions,
            Err(failure) => {
                self.after_failure(group, &failure);
                return Step::Failed;
            }
        };
        let moved: BTreeSet<TopicPartition> = group
            .jobs
            .iter()
            .zip(&positions)
            .filter(|(job, at)| is_moved(job, at))
            .map(|(job, _)| job.key.topic_partition.clone())
            .collect();
        if moved.is_empty() {
            self.after_failure(group, &Failure::Conflict);
            return Step::Failed;
        }
        for topic_partition in moved {
            let (here, others): (Vec<Job>, Vec<Job>) =
                group.jobs.into_iter().partition(|job| job.key.topic_partition == topic_partition);
            group.jobs = others;
            if !self.was_taken_over(&topic_partition) {
                let noted = group.noted.clone();
                self.schedule.first(Group { contested: true, noted, ..Group::of(here) });
            }
        }
        if !group.jobs.is_empty() {
            self.schedule.first(group);
        }
        Step::Failed
    }

    /// Another runner moves these checkpoints as well, until it notices that it lost: this one
    /// begins where they stand once they are locked, so it does not lose.
    pub(super) async fn transact_contested(
        &mut self,
        group: &mut Group,
    ) -> Result<Vec<Key>, Failure> {
        let mut tx = self.store.begin().await?;
        let positions = self.store.lock(&mut tx, &keys(group)).await?;
        let jobs = std::mem::take(&mut group.jobs);
        for (job, at) in jobs.into_iter().zip(positions) {
            self.rebase_one(job, at, group);
        }
        if group.jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.write(group, tx).await
    }

    fn rebase_one(&mut self, job: Job, at: Position<Wire>, group: &mut Group) {
        let key = job.key.clone();
        // Let go while it waited its turn, or with an earlier job of this group.
        if !self.consumers.follows(&key.topic_partition) {
            return;
        }
        if !is_moved(&job, &at) {
            group.jobs.push(job);
            return;
        }
        if self.was_taken_over(&key.topic_partition) {
            // Nothing of it is ours any more, also of what was found where it was left.
            group.jobs.retain(|job| job.key.topic_partition != key.topic_partition);
            return;
        }
        match rebase(job, &at) {
            Rebase::Elsewhere => {
                group.jobs.retain(|job| job.key.topic_partition != key.topic_partition);
                return self.reload(key.topic_partition);
            }
            Rebase::Job(job) => group.jobs.push(*job),
            Rebase::Done => {
                // Its own commit whose answer was lost, or another's: what failed was done.
                self.consumers.troubled.remove(&key);
                self.progress.works(&key, Stage::Transaction);
            }
        }
        self.adopt(&key, at);
    }

    /// The checkpoint is further than this runner moved it.
    pub(super) fn adopt(&mut self, key: &Key, at: Position<Wire>) {
        let offset = at.offset;
        // The other runner may have parked something on its way.
        self.consumers.parked.insert(key.clone());
        if let Some(follower) = self.consumers.track_of(key) {
            follower.moved(key.projection, at);
            self.progress.reached(key.clone(), offset);
        }
    }
}

fn keys(group: &Group) -> Vec<Key> {
    group.jobs.iter().map(|job| job.key.clone()).collect()
}
