//! Drives projections along the log: one transaction for everything that arrived while the last one ran, rows and checkpoints
//! together, the checkpoints compared and swapped. Knows no projection, and never lets one wait for another that fails.
//!
//! | module | what it owns |
//! |---|---|
//! | [`batch`] | what a partition said, as projections see it |
//! | [`projection`] | the traits: a projection, and the store of rows and checkpoints |
//! | [`plan`] | the next transactions, and how one that failed is split |
//! | `attempt`, `take_up` | one transaction; the beginning of a partition |
//! | [`failure`] | what can go wrong, and the policy |
//! | [`track`] | a partition being followed |
//! | [`membership`] | which partitions this runner has |
//! | [`checkpoint`], [`postgres`] | positions as rows, and the store on Postgres |
//! | [`lag`] | how far behind everything is |

mod attempt;
pub mod batch;
pub mod checkpoint;
pub mod failure;
pub mod lag;
pub mod membership;
pub mod plan;
pub mod postgres;
pub mod projection;
mod take_up;
pub mod track;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use eventlog::{Follow, Log, follow};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use metrics::{counter, gauge};
use protocol::{position::Position, wire::Wire};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use batch::{Item, Place, Slice, What};
pub use failure::{Backoff, Failure, OnFailure};
pub use lag::Progress;
pub use membership::{Change, Share, Topics};
pub use plan::{Group, Job};
pub use postgres::{GENERATION, PostgresStore, PostgresTx};
pub use projection::{Key, Move, Projection, Start, Store};
use track::Track;

/// What a runner may take and how it waits.
#[derive(Clone, Debug)]
pub struct Limits {
    /// About so many events in one transaction.
    pub batch_events: usize,
    pub backoff: Backoff,
    /// How long leaving the group may take.
    pub leave_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { batch_events: 5_000, backoff: Backoff::default(), leave_within: Duration::from_secs(5) }
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One transaction went through.
    Projected { events: usize },
    /// One transaction, or one partition's beginning, failed; what is next is settled.
    Failed,
    /// A partition is being followed now.
    TookUp,
    /// Nothing to do before something arrives, or a retry is due.
    Waiting,
    /// Nothing to do: every partition that this runner has is projected to its end.
    CaughtUp,
}

pub struct Runner<S: Store> {
    store: S,
    log: Arc<dyn Log>,
    projections: Vec<Arc<dyn Projection<S::Tx>>>,
    share: Share,
    limits: Limits,
    progress: Progress,
    tracks: BTreeMap<Place, Track>,
    /// Assigned, but not followed yet: how often that failed, and when it is tried again.
    waiting: BTreeMap<Place, Attempts>,
    queue: VecDeque<Group>,
    retry_at: Option<Instant>,
    halted: BTreeSet<Key>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    failed: u32,
    not_before: Option<Instant>,
}

impl<S: Store> Runner<S> {
    pub fn new(store: S, log: Arc<dyn Log>, projections: Vec<Arc<dyn Projection<S::Tx>>>, share: Share, limits: Limits) -> Self {
        Self {
            store,
            log,
            projections,
            share,
            limits,
            progress: Progress::default(),
            tracks: BTreeMap::new(),
            waiting: BTreeMap::new(),
            queue: VecDeque::new(),
            retry_at: None,
            halted: BTreeSet::new(),
        }
    }

    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The projections that stopped on a partition until a restart.
    pub fn halted(&self) -> &BTreeSet<Key> {
        &self.halted
    }

    /// Steps until `soft`; then finishes the transaction that runs and leaves the group.
    pub async fn run(mut self, soft: CancellationToken) {
        while !soft.is_cancelled() {
            if matches!(self.step().await, Step::Waiting | Step::CaughtUp) {
                tokio::select! {
                    () = soft.cancelled() => {}
                    () = self.wait() => {}
                }
            }
        }
        self.share.leave(self.limits.leave_within).await;
    }

    /// One transaction at most; never waits for the log.
    pub async fn step(&mut self) -> Step {
        while let Some(change) = self.share.happened() {
            self.heed(change);
        }
        let now = Instant::now();
        if let Some(place) = self.next_to_take_up(now) {
            return self.take_up(place).await;
        }
        if self.retry_at.is_some_and(|at| at > now) {
            return Step::Waiting;
        }
        self.retry_at = None;
        if self.queue.is_empty() {
            self.gather();
        }
        match self.queue.pop_front() {
            Some(group) => self.attempt(group).await,
            None if self.waiting.is_empty() && self.tracks.values().all(Track::is_caught_up) => Step::CaughtUp,
            None => Step::Waiting,
        }
    }

    /// Waits until [`Runner::step`] may have something to do. Dropping the future loses nothing.
    pub async fn wait(&mut self) {
        let due = self.waiting.values().filter_map(|attempts| attempts.not_before).chain(self.retry_at).min();
        // What has arrived already is taken by the next step; while a retry is due the log may wait.
        let arrivals: FuturesUnordered<_> = match self.retry_at {
            None => self.tracks.values_mut().map(|track| track.arrival().boxed()).collect(),
            Some(_) => FuturesUnordered::new(),
        };
        let change = tokio::select! {
            change = self.share.change_to_come() => Some(change),
            Some(()) = first_of(arrivals) => None,
            () = sleep_until(due) => None,
        };
        if let Some(change) = change {
            self.heed(change);
        }
    }

    fn heed(&mut self, change: Change) {
        match change {
            Change::Gained(places) => {
                for place in places.into_iter().filter(|place| !self.tracks.contains_key(place)).collect::<Vec<_>>() {
                    info!(category = %place.category, partition = place.partition, "assigned");
                    self.waiting.insert(place, Attempts::default());
                }
            }
            Change::Gone(places) => {
                for place in places {
                    info!(category = %place.category, partition = place.partition, "revoked");
                    self.drop_work(&place);
                    self.waiting.remove(&place);
                    self.halted.retain(|key| key.place != place);
                    self.progress.forget(&place);
                }
            }
        }
    }

    /// What is read but not projected is read again by whoever follows next.
    fn drop_work(&mut self, place: &Place) {
        self.tracks.remove(place);
        self.queue.iter_mut().for_each(|group| group.jobs.retain(|job| job.key.place != *place));
        self.queue.retain(|group| !group.jobs.is_empty());
    }

    fn next_to_take_up(&self, now: Instant) -> Option<Place> {
        let due = self.waiting.iter().find(|(_, attempts)| attempts.not_before.is_none_or(|at| at <= now));
        due.map(|(place, _)| place.clone())
    }

    /// Everything that has arrived, as one group.
    fn gather(&mut self) {
        let mut room = self.limits.batch_events;
        let mut jobs = Vec::new();
        let mut ended = Vec::new();
        // However busy the first ones are, every partition gives at least what the log delivers at once.
        for (place, track) in &mut self.tracks {
            track.take_arrived(room);
            let taken = track.take_jobs();
            room = room.saturating_sub(taken.iter().map(Job::weight).max().unwrap_or(0)).max(1);
            jobs.extend(taken);
            if let Some(end) = track.take_end() {
                ended.push((place.clone(), end));
            }
        }
        if !jobs.is_empty() {
            self.queue.push_back(Group::of(jobs));
        }
        for (place, end) in ended {
            self.lost_the_log(place, end);
        }
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
