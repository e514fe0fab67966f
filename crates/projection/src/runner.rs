//! Drives projections along the log: one transaction for everything that arrived while the last one
//! ran, rows and checkpoints together, the checkpoints compared and swapped. Knows no projection,
//! and never lets one wait for another that fails.
//!
//! | module | what it owns |
//! |---|---|
//! | [`changes`] | what a transaction changed, for caches |
//! | [`batch`] | what a partition said, as projections see it |
//! | [`partition_reader`], [`commands`] | where that comes from: `events` through the fold, `commands` record by record |
//! | [`arrival`] | what one delivery of the log brought |
//! | [`projection`] | the traits: a projection, and the store of rows and checkpoints |
//! | [`rules`] | what is applied, skipped and read again |
//! | [`plan`] | the next transactions, and how one that failed is split |
//! | `consumers`, `schedule` | what is followed, and by whom; the next transactions and times |
//! | `resume`, `intake`, `attempt` | the beginning of a partition; what it brings; one transaction |
//! | [`careful`] | what the runner before may have died of, in small steps |
//! | `handoff`, `conflict` | the end of a partition; checkpoints that another runner moved |
//! | `verify` | whether the database fell back |
//! | `due` | when there is something to do |
//! | [`failure`] | what can go wrong, and the policy |
//! | [`follower`] | a partition being followed |
//! | [`parking`], [`redaction`] | what waits because it cannot be applied; error texts without data |
//! | [`membership`] | which partitions this runner has |
//! | [`postgres`] | the store on Postgres |
//! | [`lag`] | how far behind everything is |

pub mod arrival;
mod attempt;
pub mod batch;
pub mod careful;
pub mod changes;
pub mod commands;
mod conflict;
mod consumers;
mod due;
pub mod failure;
pub mod follower;
mod handoff;
mod intake;
pub mod lag;
pub mod membership;
pub mod parking;
pub mod partition_reader;
pub mod plan;
pub mod postgres;
pub mod projection;
pub mod redaction;
mod resume;
pub mod rules;
mod schedule;
mod verify;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use highwater_log::Log;
use highwater_runtime::resilience::{Backoff, Once};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::{
    batch::{Item, Slice, Source, TopicPartition, What},
    failure::{Failure, OnFailure},
    lag::Progress,
    membership::{Assignment, Change, Topics},
    plan::{Group, Job},
    postgres::{PostgresStore, PostgresTx},
    projection::{Key, Move, Projection, Start, Store},
};
use self::{consumers::Consumers, due::Due, handoff::Handoff, schedule::Schedule};

/// What a runner may take and how it waits.
#[derive(Clone, Debug)]
pub struct Limits {
    /// About so many events in one transaction.
    pub batch_events: usize,
    /// About so many bytes of their data.
    pub batch_bytes: usize,
    pub backoff: Backoff,
    /// How long leaving the group may take.
    pub leave_within: Duration,
    /// How long a partition that was taken back is projected further, until another runner moves
    /// its checkpoints.
    pub handoff: Duration,
    /// So many partitions are resumed at the same time.
    pub resume_at_once: usize,
    /// How often the checkpoints are compared with the stored ones: a database that crashes may
    /// fall back.
    pub verify_every: Duration,
    /// How often the log's own lag tools are told, at most.
    pub note_every: Duration,
    /// So many aggregates of a partition may be parked by a projection; beyond that it halts, as it
    /// does at once where this is 0.
    pub parked_most: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_events: 5_000,
            batch_bytes: 16 << 20,
            backoff: Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(5) },
            leave_within: Duration::from_secs(5),
            handoff: Duration::from_secs(5),
            resume_at_once: 4,
            verify_every: Duration::from_secs(5),
            note_every: Duration::from_secs(1),
            parked_most: 0,
        }
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One transaction went through.
    Projected { events: usize },
    /// One transaction, or the beginning of some partitions, failed; what is next is settled.
    Failed,
    /// Some partitions are being followed now.
    Resumed,
    /// The database stands where it was left.
    Verified,
    /// Nothing to do before something arrives, or a retry is due.
    Waiting,
    /// Nothing to do: every partition that this runner has is projected to its end.
    CaughtUp,
}

pub struct Runner<S: Store> {
    store: S,
    log: Arc<dyn Log>,
    projections: Vec<Arc<dyn Projection<S::Tx>>>,
    assignment: Assignment,
    limits: Limits,
    /// Whose runs it begins.
    id: Uuid,
    progress: Progress,
    consumers: Consumers,
    schedule: Schedule,
    handoff: Handoff,
    notices: Notices,
}

/// What lasts, and is said when it begins and when it ends.
struct Notices {
    /// Transactions fail and are tried again.
    failing: Once,
    /// The checkpoints cannot be compared.
    unverified: Once,
    /// Some partitions cannot be begun.
    not_begun: Once,
}

impl<S: Store> Runner<S> {
    /// `id`: no other runner has it, also no one before.
    pub fn new(
        store: S,
        log: Arc<dyn Log>,
        projections: Vec<Arc<dyn Projection<S::Tx>>>,
        assignment: Assignment,
        limits: Limits,
        id: Uuid,
    ) -> Self {
        Self {
            store,
            log,
            projections,
            assignment,
            limits,
            id,
            progress: Progress::default(),
            consumers: Consumers::default(),
            schedule: Schedule::default(),
            handoff: Handoff::default(),
            notices: Notices {
                failing: Once::new("projector-transaction"),
                unverified: Once::new("projector-verification"),
                not_begun: Once::new("projector-beginning"),
            },
        }
    }

    /// How far every projection is, and which ones have halted. Stays true while the runner runs.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Steps until `soft`; then finishes the transaction that runs, leaves the group, and projects
    /// on until others do.
    pub async fn run(mut self, soft: CancellationToken) {
        while !soft.is_cancelled() {
            if matches!(self.step().await, Step::Waiting | Step::CaughtUp) {
                tokio::select! {
                    () = soft.cancelled() => {}
                    () = self.wait() => {}
                }
            }
        }
        self.hand_off_all().await;
    }

    /// One transaction at most; never waits for the log. Gives way to other tasks now and then,
    /// also if it finds nothing to wait for.
    pub async fn step(&mut self) -> Step {
        tokio::task::consume_budget().await;
        while let Some(change) = self.assignment.happened() {
            self.on_assignment(change);
        }
        let now = Instant::now();
        if self.is_due(Due::Note, now) {
            self.note();
        }
        self.end_handoffs(now);
        if self.schedule.retry_at.is_some_and(|at| at > now) {
            return Step::Waiting;
        }
        self.schedule.retry_at = None;
        self.end_runs().await;
        if self.is_due(Due::Verify, now) {
            return self.verify().await;
        }
        let due = self.consumers.to_resume(now, self.limits.resume_at_once);
        if self.schedule.queue.is_empty() {
            if !due.is_empty() && self.schedule.may_resume() {
                return self.resume(due).await;
            }
            self.gather();
        }
        match self.schedule.queue.pop_front() {
            Some(group) => self.attempt(group).await,
            None if !due.is_empty() => self.resume(due).await,
            None if self.consumers.is_caught_up() => Step::CaughtUp,
            None => Step::Waiting,
        }
    }

    /// Waits until [`Runner::step`] may have something to do. Dropping the future loses nothing.
    pub async fn wait(&mut self) {
        let due = self.next_due(Instant::now());
        // What has arrived already is taken by the next step; while a retry is due the log may
        // wait.
        let arrivals: FuturesUnordered<_> = match self.schedule.retry_at {
            None => self
                .consumers
                .followers
                .values_mut()
                .map(|follower| follower.arrival().boxed())
                .collect(),
            Some(_) => FuturesUnordered::new(),
        };
        let change = tokio::select! {
            change = self.assignment.change_to_come() => Some(change),
            Some(()) = first_of(arrivals) => None,
            () = sleep_until(due) => None,
        };
        if let Some(change) = change {
            self.on_assignment(change);
        }
    }

    /// Tells the log's own lag tools how far the slowest projection of each partition is.
    fn note(&mut self) {
        self.schedule.note_at = None;
        let mut slowest: BTreeMap<highwater_log::Partition, u64> = BTreeMap::new();
        for follower in self.consumers.followers.values() {
            for (_, at) in follower.checkpoints() {
                slowest
                    .entry(follower.partition().clone())
                    .and_modify(|offset| *offset = at.offset.min(*offset))
                    .or_insert(at.offset);
            }
        }
        self.assignment.note(&slowest.into_iter().collect::<Vec<_>>());
    }
}

async fn first_of<F: Future<Output = ()>>(mut futures: FuturesUnordered<F>) -> Option<()> {
    match futures.next().await {
        Some(()) => Some(()),
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
pub(crate) mod tests;
