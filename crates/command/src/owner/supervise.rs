//! One partition from assignment to release: take-over, again after a loss as long as it is
//! assigned, handoff, drain.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use highwater_log::Partition;
use highwater_protocol::{position::Position, wire::Wire, writer::StepDown};
use highwater_runtime::{process::chain, shutdown::Shutdown};
use highwater_tables::dedup_filter::DedupFilter;
use metrics::{counter, gauge};
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Delivery,
    actor::{self, End, Notices, Shared},
    assignment::{Assignment, Right},
    snapshots::Snapshots,
    status::{Status, Statuses, TIMES_AHEAD},
    table::Table,
};
use crate::category::Category;

/// The supervisors of one category.
pub struct Supervisors<C: Category, S> {
    topic: Arc<str>,
    shared: Arc<Shared<C, S>>,
    table: Arc<Table<C::Command>>,
    statuses: Arc<Statuses>,
    shutdown: Shutdown,
    timing: Timing,
    running: Mutex<BTreeMap<u32, Running>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The least wait after another writer's fence: an owner that has lost the partition to it
    /// hears so from the group before.
    pub deposed: Duration,
    /// How long a partition that the group takes back is served on, if no other instance fences.
    pub handoff: Duration,
    /// Commands that wait for the actor.
    pub intake: usize,
}

struct Running {
    stop: CancellationToken,
    assignment: Arc<Assignment>,
    status: Arc<Status>,
    /// `None`: another task waits for it already.
    done: Option<JoinHandle<()>>,
}

/// What memberships, and the task that sees an owner go, ask of a category.
pub trait Assignable: Send + Sync {
    fn category(&self) -> &'static str;
    fn topic(&self) -> &Arc<str>;
    /// The group says that the partition belongs here.
    fn assign(&self, partition: u32);
    /// Its owner is gone, and the group has not said anything yet. `why`: what is written into its
    /// history.
    fn fail_over_eagerly(&self, partition: u32, why: &'static str);
    /// The group takes it back: it is served until another's fence, or for [`Timing::handoff`].
    fn hand_off(&self, partition: u32);
    /// Says that this instance is about to end, and serves on until others have fenced everything
    /// that they can be expected to take.
    fn leave(&self) -> BoxFuture<'static, ()>;
    /// Stops intake, confirms what is in flight, ends, says so.
    fn release(&self, partition: u32) -> BoxFuture<'static, ()>;
    /// By whatever right.
    fn owned(&self) -> Vec<u32>;
}

impl<C: Category, S: Snapshots<C::State> + Clone> Supervisors<C, S> {
    pub fn new(
        topic: Arc<str>,
        shared: Arc<Shared<C, S>>,
        table: Arc<Table<C::Command>>,
        statuses: Arc<Statuses>,
        shutdown: Shutdown,
        timing: Timing,
    ) -> Self {
        Self { topic, shared, table, statuses, shutdown, timing, running: Mutex::default() }
    }

    /// Unless it is owned already, or this instance is about to end: the task that releases
    /// everything must see what was begun.
    fn begin(&self, running: &mut BTreeMap<u32, Running>, index: u32, right: Right, why: &str) {
        if self.shutdown.is_draining() {
            return;
        }
        let before = running.remove(&index).and_then(|running| running.done);
        let (stop, assignment) = (CancellationToken::new(), Arc::new(Assignment::new(right)));
        let (announcements, clock) = (self.shared.announcements.clone(), self.shared.clock.clone());
        let status = Arc::new(Status::new(announcements, clock, C::NAME, index, right, why));
        self.statuses.insert(C::NAME, index, status.clone());
        let ownership = Ownership {
            shared: self.shared.clone(),
            partition: Partition { topic: self.topic.clone(), index },
            table: self.table.clone(),
            timing: self.timing,
            stop: stop.clone(),
            assignment: assignment.clone(),
            status: status.clone(),
        };
        let (statuses, ending) = (self.statuses.clone(), status.clone());
        let done = self.shutdown.tasks.spawn(async move {
            if let Some(before) = before {
                // The drain of the assignment before this one; bounded by itself.
                let _ = before.await;
            }
            ownership.run().await;
            statuses.remove(C::NAME, index, &ending);
        });
        running.insert(index, Running { stop, assignment, status, done: Some(done) });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Running>> {
        self.running.lock()
    }
}

impl<C: Category, S: Snapshots<C::State> + Clone> Assignable for Supervisors<C, S> {
    fn category(&self) -> &'static str {
        C::NAME
    }

    fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    fn assign(&self, index: u32) {
        let mut running = self.lock();
        let raised = running.get(&index).is_some_and(|running| {
            running.status.right(Right::Group);
            running.is_up() && running.assignment.raise()
        });
        if !raised {
            self.begin(&mut running, index, Right::Group, "assigned");
        }
    }

    fn fail_over_eagerly(&self, index: u32, why: &'static str) {
        let mut running = self.lock();
        if !running.get(&index).is_some_and(Running::is_up) {
            tracing::info!(
                category = C::NAME,
                partition = index,
                why,
                "taking a partition whose owner is gone"
            );
            counter!("highwater_owner_eager_failovers_total", "category" => C::NAME, "why" => why)
                .increment(1);
            self.begin(&mut running, index, Right::EagerFailover, why);
        }
    }

    fn hand_off(&self, index: u32) {
        let running = self.lock();
        let Some(handed) = running.get(&index).filter(|running| running.is_up()) else { return };
        let (assignment, stop, longest) =
            (handed.assignment.clone(), handed.stop.clone(), self.timing.handoff);
        handed.status.right(Right::HandedOff);
        let change = assignment.hand_off();
        // Not waited for: the task that drains has cancelled `stop`.
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(longest) => if assignment.is_still(change) {
                    stop.cancel();
                },
            }
        });
    }

    fn leave(&self) -> BoxFuture<'static, ()> {
        for (index, running) in self.lock().iter().filter(|(_, running)| running.is_up()) {
            running.assignment.hand_off();
            running.status.right(Right::HandedOff);
            match running.status.epoch() {
                Some(epoch) => self.shared.announcements.leave(C::NAME, *index, epoch),
                // It does not serve yet, so there is nothing to hand off.
                None => running.stop.cancel(),
            }
        }
        let (table, announcements) = (self.table.clone(), self.shared.announcements.clone());
        Box::pin(async move {
            let (mut owned, mut heard) = (table.watch(), announcements.watch());
            loop {
                // Seen before the look, so that a change after it wakes.
                owned.mark_unchanged();
                heard.mark_unchanged();
                if table.is_empty() || !announcements.another_stays() {
                    return;
                }
                tokio::select! {
                    _ = owned.changed() => {}
                    _ = heard.changed() => {}
                }
            }
        })
    }

    fn release(&self, index: u32) -> BoxFuture<'static, ()> {
        let mut running = self.lock();
        let Some(released) = running.get_mut(&index) else { return Box::pin(async {}) };
        released.stop.cancel();
        let done = released.done.take();
        Box::pin(async move {
            if let Some(done) = done {
                let _ = done.await;
            }
        })
    }

    fn owned(&self) -> Vec<u32> {
        self.lock()
            .iter()
            .filter(|(_, running)| !running.stop.is_cancelled())
            .map(|(index, _)| *index)
            .collect()
    }
}

impl Running {
    fn is_up(&self) -> bool {
        !self.stop.is_cancelled()
            && !self.assignment.has_ended()
            && self.done.as_ref().is_some_and(|done| !done.is_finished())
    }
}

/// What it takes to own one partition.
struct Ownership<C: Category, S> {
    shared: Arc<Shared<C, S>>,
    partition: Partition,
    table: Arc<Table<C::Command>>,
    timing: Timing,
    stop: CancellationToken,
    assignment: Arc<Assignment>,
    status: Arc<Status>,
}

impl<C: Category, S: Snapshots<C::State> + Clone> Ownership<C, S> {
    /// Takes the partition over, again and again, until it is released, or lost without a right to
    /// have it back.
    async fn run(self) {
        let Self { shared, partition, table, timing, stop, assignment, status } = self;
        let (to_actor, mut from_requests) = mpsc::channel::<Delivery<C::Command>>(timing.intake);
        let (mut failures, mut notices) = (0_u32, Notices::default());
        while !stop.is_cancelled() {
            let began = tokio::time::Instant::now();
            status.taking_over();
            if shared.announcements.other(C::NAME, partition.index).is_none() {
                // No other instance serves it, so commands may as well wait here.
                table.insert(partition.index, to_actor.clone());
            }
            let resumed = resume(&shared, &partition).await;
            table.insert(partition.index, to_actor.clone());
            tracing::debug!(%partition, took_ms = began.elapsed().as_millis(), "knows where to \
                begin");
            let end = match resumed {
                Ok((from, filter)) => {
                    actor::run(
                        &shared,
                        &partition,
                        &status,
                        &mut notices,
                        (from, filter),
                        &mut from_requests,
                        &stop,
                    )
                    .await
                }
                Err(what) => End::Log(what),
            };
            let epoch = status.epoch();
            status.ended(reason(&end));
            gauge!(
                "highwater_owner_epoch",
                "category" => C::NAME,
                "partition" => partition.index.to_string()
            )
            .set(0.0);
            counter!(
                "highwater_owner_ended_total",
                "category" => C::NAME,
                "reason" => reason(&end)
            )
            .increment(1);
            if matches!(end, End::SteppedDown(StepDown::Drained) | End::DrainedLate)
                && stop.is_cancelled()
            {
                tracing::info!(%partition, end = %end, "released");
                if let Some(epoch) = epoch {
                    shared.announcements.release(C::NAME, partition.index, epoch);
                }
                break;
            }
            if assignment.end_unless_assigned() {
                tracing::info!(%partition, end = %end, "left to another owner");
                break;
            }
            failures = if began.elapsed() > shared.fences.longest {
                0
            } else {
                failures.saturating_add(1)
            };
            let least = if matches!(end, End::SteppedDown(StepDown::Deposed { .. })) {
                timing.deposed
            } else {
                Duration::ZERO
            };
            let wait = least + shared.fences.jittered(failures, shared.ids.as_ref());
            tracing::debug!(%partition, end = %end, wait_ms = wait.as_millis(), "the partition has \
                no owner here for now");
            notices.ownerless.warn(&format!("{partition} has no owner here for now"), &end);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        assignment.end();
        table.remove(partition.index, &to_actor);
    }
}

/// Where `snapshots` stands, in a history that began as this log did, and which ids lie below.
async fn resume<C: Category, S: Snapshots<C::State>>(
    shared: &Shared<C, S>,
    partition: &Partition,
) -> Result<(Position<Wire>, DedupFilter), String> {
    let from = shared.snapshots.position(partition.index).await.map_err(|error| chain(&error))?;
    // Neither waits for the other: each is many times as long as the fence.
    let check = async {
        shared
            .origins
            .check(shared.log.as_ref(), partition, &from)
            .await
            .map_err(|error| chain(&error))
    };
    let filter = async {
        shared
            .snapshots
            .dedup_filter(partition.index, from.offset, shared.filter_bytes)
            .await
            .map_err(|error| chain(&error))
    };
    let ((), filter) = tokio::try_join!(check, filter)?;
    Ok((from, filter))
}

fn reason(end: &End) -> &'static str {
    match end {
        End::SteppedDown(StepDown::Deposed { .. }) => "deposed",
        End::SteppedDown(StepDown::Drained) => "drained",
        End::SteppedDown(StepDown::Sealed) => "sealed",
        // Tenures in `owners` have it: the name stays.
        End::SteppedDown(StepDown::BelowEvictionWatermark { .. }) => "below-watermark",
        End::SteppedDown(StepDown::Diverged { .. }) => "diverged",
        End::SteppedDown(StepDown::Gap { .. }) => "gap",
        End::Log(_) | End::Diverged(_) => "log",
        End::ClockSkew { .. } => "clock-skew",
        End::ClockStepped { .. } => "clock-stepped",
        End::TimesAhead { .. } => TIMES_AHEAD,
        End::DrainedLate => "drained-late",
    }
}
