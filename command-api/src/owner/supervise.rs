//! One partition from assignment to release: take-over, again after a loss as long as it is assigned, drain.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use eventlog::Partition;
use futures_util::future::BoxFuture;
use metrics::{counter, gauge};
use protocol::{position::Position, wire::Wire, writer::StepDown};
use service::{clock::Ids, process::chain, seen::Seen, shutdown::Shutdown};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Delivery,
    actor::{self, End, Shared},
    snapshots::Snapshots,
    table::Table,
};
use crate::category::Category;

/// The supervisors of one category.
pub struct Supervisors<C: Category, S> {
    topic: Arc<str>,
    shared: Arc<Shared<C, S>>,
    table: Arc<Table<C::Command>>,
    shutdown: Shutdown,
    backoff: Backoff,
    intake: usize,
    running: Mutex<BTreeMap<u32, Running>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
    /// The least wait after another writer's fence: whoever has lost the partition to it hears so from the group before.
    pub deposed: Duration,
}

struct Running {
    stop: CancellationToken,
    /// `None`: somebody waits for it already.
    done: Option<JoinHandle<()>>,
}

/// What the membership asks of a category.
pub trait Assignable: Send + Sync {
    fn topic(&self) -> &Arc<str>;
    fn assign(&self, partition: u32);
    /// Stops intake, confirms what is in flight, ends.
    fn release(&self, partition: u32) -> BoxFuture<'static, ()>;
    fn assigned(&self) -> Vec<u32>;
}

impl<C: Category, S: Snapshots<C::State> + Clone> Supervisors<C, S> {
    pub fn new(
        topic: Arc<str>,
        shared: Arc<Shared<C, S>>,
        table: Arc<Table<C::Command>>,
        shutdown: Shutdown,
        backoff: Backoff,
        intake: usize,
    ) -> Self {
        Self { topic, shared, table, shutdown, backoff, intake, running: Mutex::default() }
    }
}

impl<C: Category, S: Snapshots<C::State> + Clone> Assignable for Supervisors<C, S> {
    fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    fn assign(&self, index: u32) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.get(&index).is_some_and(|running| running.is_up()) {
            return;
        }
        let before = running.remove(&index).and_then(|running| running.done);
        let stop = CancellationToken::new();
        let partition = Partition { topic: self.topic.clone(), index };
        let (shared, table, backoff, intake) = (self.shared.clone(), self.table.clone(), self.backoff, self.intake);
        let stopping = stop.clone();
        let done = self.shutdown.tasks.spawn(async move {
            if let Some(before) = before {
                // The drain of the assignment before this one; bounded by itself.
                let _ = before.await;
            }
            own(&shared, &partition, &table, backoff, intake, &stopping).await;
        });
        running.insert(index, Running { stop, done: Some(done) });
    }

    fn release(&self, index: u32) -> BoxFuture<'static, ()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(released) = running.get_mut(&index) else { return Box::pin(async {}) };
        released.stop.cancel();
        let done = released.done.take();
        Box::pin(async move {
            if let Some(done) = done {
                let _ = done.await;
            }
        })
    }

    fn assigned(&self) -> Vec<u32> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().filter(|(_, running)| !running.stop.is_cancelled()).map(|(index, _)| *index).collect()
    }
}

impl Running {
    fn is_up(&self) -> bool {
        !self.stop.is_cancelled() && self.done.as_ref().is_some_and(|done| !done.is_finished())
    }
}

/// Takes the partition over, again and again, until it is released.
async fn own<C: Category, S: Snapshots<C::State> + Clone>(
    shared: &Shared<C, S>,
    partition: &Partition,
    table: &Table<C::Command>,
    backoff: Backoff,
    intake: usize,
    stop: &CancellationToken,
) {
    let (to_actor, mut from_requests) = mpsc::channel::<Delivery<C::Command>>(intake);
    table.insert(partition.index, to_actor.clone());
    let mut failures = 0_u32;
    while !stop.is_cancelled() {
        let began = tokio::time::Instant::now();
        let end = match take_up(shared, partition).await {
            Ok((from, seen)) => actor::run(shared, partition, from, seen, &mut from_requests, stop).await,
            Err(what) => End::Log(what),
        };
        gauge!("highwater_owner_epoch", "category" => C::NAME, "partition" => partition.index.to_string()).set(0.0);
        counter!("highwater_owner_ended_total", "category" => C::NAME, "reason" => reason(&end)).increment(1);
        if matches!(end, End::SteppedDown(StepDown::Drained) | End::DrainedLate) && stop.is_cancelled() {
            tracing::info!(%partition, end = %end, "released");
            break;
        }
        failures = if began.elapsed() > backoff.longest { 0 } else { failures.saturating_add(1) };
        let least = if matches!(end, End::SteppedDown(StepDown::Deposed { .. })) { backoff.deposed } else { Duration::ZERO };
        let wait = least + jittered(backoff, failures, shared.ids.as_ref());
        tracing::warn!(%partition, end = %end, wait_ms = wait.as_millis(), "the partition has no owner here for now");
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    table.remove(partition.index, &to_actor);
}

/// Where `snapshots` stands, proven to be a place in this very log, and which ids lie below.
async fn take_up<C: Category, S: Snapshots<C::State>>(
    shared: &Shared<C, S>,
    partition: &Partition,
) -> Result<(Position<Wire>, Seen), String> {
    let from = shared.snapshots.position(partition.index).await.map_err(|error| chain(&error))?;
    eventlog::follow::check(shared.log.as_ref(), partition, &from).await.map_err(|error| chain(&error))?;
    let seen = shared.snapshots.seen(partition.index, from.offset, shared.filter_bytes).await.map_err(|error| chain(&error))?;
    Ok((from, seen))
}

/// Doubles with each failure; between half and the whole of it.
fn jittered(backoff: Backoff, failures: u32, ids: &dyn Ids) -> Duration {
    let full = backoff.first.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(backoff.longest);
    let random = u32::from_le_bytes(ids.v4().as_bytes()[..4].try_into().unwrap_or_default());
    full / 2 + full.mul_f64(f64::from(random) / f64::from(u32::MAX)) / 2
}

fn reason(end: &End) -> &'static str {
    match end {
        End::SteppedDown(StepDown::Deposed { .. }) => "deposed",
        End::SteppedDown(StepDown::Drained) => "drained",
        End::SteppedDown(StepDown::Sealed) => "sealed",
        End::SteppedDown(StepDown::BelowHorizon { .. }) => "below-horizon",
        End::SteppedDown(StepDown::Diverged { .. }) => "diverged",
        End::SteppedDown(StepDown::Gap { .. }) => "gap",
        End::Log(_) => "log",
        End::ClockSkew { .. } => "clock-skew",
        End::DrainedLate => "drained-late",
    }
}
