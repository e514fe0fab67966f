//! What a projection applies, skips and reads again, given where its checkpoint stands and what
//! lies in the log. Pure: the runner brings positions and items, and does what is said here.
//!
//! | the stored checkpoint of a job | what becomes of the job |
//! |---|---|
//! | where this runner left it | done as it is |
//! | further on its way | done for the items that begin at or above it |
//! | at its end, or further in the same log | nothing is left of it |
//! | below where this runner left it, of another log, or of another past | the partition is read again from what is stored |

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use highwater_protocol::{position::Position, wire::Wire};

use super::{
    batch::{Item, TopicPartition},
    plan::Job,
    projection::Key,
};

/// The checkpoints of the projections that follow a partition together, by their names.
pub type Checkpoints = BTreeMap<&'static str, Position<Wire>>;

/// What becomes of a job whose checkpoint stands elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub enum Rebase {
    /// From there on.
    Job(Box<Job>),
    /// Nothing of it is left to do.
    Done,
    /// Not a place on the way of this job.
    Elsewhere,
}

/// A stored checkpoint is not where this runner left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// By another runner.
    Further,
    /// The database fell back, or belongs to another log.
    Elsewhere,
}

/// Where following begins: at the lowest checkpoint. And the others, each once: they are to be of
/// the same history, too.
pub fn beginning(checkpoints: &Checkpoints) -> Option<(Position<Wire>, Vec<Position<Wire>>)> {
    let lowest = checkpoints.values().min_by_key(|at| at.offset)?;
    let mut others: Vec<Position<Wire>> = Vec::new();
    for at in checkpoints.values() {
        if at != lowest && !others.contains(at) {
            others.push(at.clone());
        }
    }
    Some((lowest.clone(), others))
}

/// How many of `items` a projection has that stands at `at`. A position is never inside a commit.
pub fn had_at(at: &Position<Wire>, items: &[Item]) -> usize {
    items.partition_point(|item| item.what.start() < at.offset)
}

/// A job for each projection that stands below `read_to`, which is where the fold stands after
/// `items`.
pub fn jobs(
    topic_partition: &TopicPartition,
    checkpoints: &Checkpoints,
    items: &Arc<[Item]>,
    read_to: &Position<Wire>,
) -> Vec<Job> {
    let behind = checkpoints.iter().filter(|(_, at)| at.offset < read_to.offset);
    let job = |(projection, at): (&&'static str, &Position<Wire>)| Job {
        key: Key { projection, topic_partition: topic_partition.clone() },
        from: at.clone(),
        to: read_to.clone(),
        items: items.clone(),
        first: had_at(at, items),
        end: items.len(),
    };
    behind.map(job).collect()
}

pub fn is_moved(job: &Job, at: &Position<Wire>) -> bool {
    job.from.offset != at.offset || job.from.identity != at.identity
}

/// What is left of `job`, whose checkpoint stands at `at`.
pub fn rebase(job: Job, at: &Position<Wire>) -> Rebase {
    let same_log = at.identity == job.to.identity;
    // Where this job has been as well, nothing but the very same position will do.
    let seen = job.items().iter().find(|item| item.after.offset == at.offset);
    let differs = seen.is_some_and(|item| item.after != *at);
    if !same_log
        || differs
        || at.offset < job.from.offset
        || (at.offset > job.to.offset && at.identity.is_none())
    {
        return Rebase::Elsewhere;
    }
    if at.offset >= job.to.offset {
        return Rebase::Done;
    }
    let first = job.first + had_at(at, job.items());
    Rebase::Job(Box::new(Job { from: at.clone(), first, ..job }))
}

/// What a comparison of checkpoints shows, while nothing of this runner is on its way. `None`: it
/// is where it was left.
pub fn compare(known: &Position<Wire>, stored: &Position<Wire>) -> Option<Moved> {
    let same_log = stored.identity.is_some() && stored.identity == known.identity;
    match stored.offset.cmp(&known.offset) {
        Ordering::Equal => None,
        Ordering::Greater if same_log => Some(Moved::Further),
        Ordering::Greater | Ordering::Less => Some(Moved::Elsewhere),
    }
}

#[cfg(test)]
mod tests;
