//! [`FaultyLog`]: a log that does by a seed what real ones do now and then, and on demand what a
//! test needs: delays, losses, duplicates, reports without offset, errors for what was appended,
//! records held back, a foreign writer in between. For tests and simulations; never used in
//! production. The same seed gives the appends of a partition the same fates.

mod queue;
mod random;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use highwater_protocol::record::{Header, Record, StoredRecord};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use self::{
    queue::{Answer, FaultQueue},
    random::Random,
};
use crate::log::{
    Appended, Delivery, Error, Group, Log, Membership, Partition, Reply, Report, ReportError,
    Subscription, Ticket, Topic,
};

/// How often what goes wrong, in a thousand appends, drawn anew for each.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Never appended, and reported as failed.
    pub dropped: u16,
    /// Appended twice, reported once.
    pub duplicated: u16,
    /// Reported without offset.
    pub stripped: u16,
    /// Appended, and reported as failed.
    pub misreported: u16,
    /// A foreign writer's record comes in between, just before this one.
    pub foreign: u16,
    /// Appended later, by up to `delay_up_to`; what comes after it waits with it.
    pub delayed: u16,
    /// Reported later, by up to `delay_up_to`; what comes after it waits with it.
    pub reported_late: u16,
    pub delay_up_to: Duration,
}

/// Which records it takes at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takes {
    #[default]
    All,
    /// As a full disk: none is handed over.
    Nothing,
    /// As a broker whose topic was given a lower `max.message.bytes`: larger ones are reported as
    /// refused.
    UpTo(usize),
}

/// What a partition keeps back at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Gates {
    appends: bool,
    reports: bool,
    reads: bool,
}

/// See the module.
pub struct FaultyLog {
    inner: Arc<dyn Log>,
    seed: u64,
    faults: Faults,
    partitions: Mutex<HashMap<Partition, PerPartition>>,
    runtime: Handle,
    tasks: TaskTracker,
    closed: CancellationToken,
    takes: Mutex<Takes>,
    asked: AtomicU64,
    ends_said: AtomicU64,
}

struct PerPartition {
    gates: watch::Sender<Gates>,
    queue: FaultQueue,
    /// So many more appends, and the next one is held.
    passes: Option<u64>,
}

impl FaultyLog {
    /// Must be called within a Tokio runtime, whose tasks do the delaying.
    pub fn new(inner: Arc<dyn Log>, seed: u64, faults: Faults) -> Result<Self, Error> {
        Ok(Self {
            inner,
            seed,
            faults,
            partitions: Mutex::default(),
            runtime: Handle::try_current().map_err(|error| Error::Refused(error.to_string()))?,
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
            takes: Mutex::default(),
            asked: AtomicU64::new(0),
            ends_said: AtomicU64::new(0),
        })
    }

    pub fn take(&self, takes: Takes) {
        *self.takes.lock() = takes;
    }

    /// How many appends were asked for, taken or not.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// How often it said where a partition ends.
    pub fn ends_said(&self) -> u64 {
        self.ends_said.load(Ordering::Relaxed)
    }

    /// Keeps back what is appended from now on, and what waits already, until
    /// [`FaultyLog::release`].
    pub fn hold(&self, partition: &Partition) {
        self.gate(partition, |gates| gates.appends = true);
    }

    /// The same, from the append on that comes after so many more.
    pub fn hold_after(&self, partition: &Partition, appends: u64) {
        self.with(partition, |per| per.passes = Some(appends));
    }

    /// Keeps back the reports of this partition until [`FaultyLog::release`].
    pub fn hold_reports(&self, partition: &Partition) {
        self.gate(partition, |gates| gates.reports = true);
    }

    /// Keeps back what readers of this partition would be given until [`FaultyLog::release`].
    pub fn hold_reads(&self, partition: &Partition) {
        self.gate(partition, |gates| gates.reads = true);
    }

    /// Lets everything go that is held.
    pub fn release(&self) {
        for partition in self.lock().values() {
            partition.gates.send_replace(Gates::default());
        }
    }

    /// Lets everything of one partition go.
    pub fn release_partition(&self, partition: &Partition) {
        self.gate(partition, |gates| *gates = Gates::default());
    }

    /// Lets the appends of one partition go, and their reports; readers still wait.
    pub fn release_appends(&self, partition: &Partition) {
        self.gate(partition, |gates| (gates.appends, gates.reports) = (false, false));
    }

    /// How many appends of this partition are kept back by [`FaultyLog::hold`] or
    /// [`FaultyLog::hold_after`]; none before the latter has begun to keep them back, however long
    /// an append takes to pass.
    pub fn held(&self, partition: &Partition) -> usize {
        self.lock()
            .get(partition)
            .map_or(0, |per| if per.gates.borrow().appends { per.queue.waiting() } else { 0 })
    }

    /// How many appends of this partition are held or delayed, not handed to the log yet.
    pub fn waiting(&self, partition: &Partition) -> usize {
        self.lock().get(partition).map_or(0, |partition| partition.queue.waiting())
    }

    /// Another writer's append, past everything that is held or delayed here.
    pub async fn inject(&self, partition: &Partition, record: Record) -> Result<Appended, Error> {
        append_and_wait(&*self.inner, partition, record).await
    }

    fn gate(&self, partition: &Partition, change: impl FnOnce(&mut Gates)) {
        self.with(partition, |per| per.gates.send_modify(change));
    }

    fn with<T>(&self, partition: &Partition, work: impl FnOnce(&mut PerPartition) -> T) -> T {
        let mut partitions = self.lock();
        work(partitions.entry(partition.clone()).or_insert_with(|| {
            let gates = watch::Sender::new(Gates::default());
            let random = Random::for_partition(self.seed, partition);
            let queue = FaultQueue::start(
                &self.inner,
                partition,
                random,
                gates.subscribe(),
                &self.tasks,
                &self.runtime,
            );
            PerPartition { gates, queue, passes: None }
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Partition, PerPartition>> {
        self.partitions.lock()
    }
}

impl Log for FaultyLog {
    fn prepare(&self, topics: Vec<Topic>) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.prepare(topics)
    }

    fn append(&self, to: &Partition, record: Record, reply: Reply) -> Result<(), Error> {
        if self.closed.is_cancelled() {
            return Err(Error::Refused("the log was closed".to_owned()));
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        match *self.takes.lock() {
            Takes::Nothing => {
                return Err(Error::ReadOnly("it takes nothing (injected)".to_owned()));
            }
            Takes::UpTo(bytes) if record.size_bytes() > bytes => {
                let result = Err(ReportError::Refused("it is too large (injected)".to_owned()));
                // An appender that dropped the receiver does not want to know.
                let _ = reply.to.send(Report { ticket: reply.ticket, generation: 0, result });
                return Ok(());
            }
            Takes::All | Takes::UpTo(_) => {}
        }
        self.with(to, |per| {
            match per.passes {
                Some(0) => {
                    per.passes = None;
                    per.gates.send_modify(|gates| gates.appends = true);
                }
                Some(left) => per.passes = Some(left - 1),
                None => {}
            }
            per.queue.append(&self.faults, record, Answer::new(reply))
        })
    }

    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        self.inner.begin(of)
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let end = self.inner.end(of);
        Box::pin(async move {
            let end = end.await;
            self.ends_said.fetch_add(1, Ordering::Relaxed);
            end
        })
    }

    fn read(&self, of: &Partition, offset: u64) -> Result<Subscription, Error> {
        let inner = self.inner.read(of, offset)?;
        let gates = self.with(of, |per| per.gates.subscribe());
        // One: what is held must not have been handed on already.
        let (deliveries, receiver) = mpsc::channel(1);
        let token = CancellationToken::new();
        let guard = token.clone().drop_guard();
        self.runtime.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = hand_on(inner, gates, deliveries) => {}
            }
        });
        Ok(Subscription { deliveries: receiver, guard })
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        self.inner.fetch(of, offset, limit)
    }

    fn join(&self, group: Group) -> Result<Membership, Error> {
        self.inner.join(group)
    }

    fn health(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.health()
    }

    fn close(&self, within: Duration) -> BoxFuture<'_, ()> {
        self.closed.cancel();
        self.lock().clear();
        self.tasks.close();
        Box::pin(async move {
            if tokio::time::timeout(within, self.tasks.wait()).await.is_err() {
                tracing::warn!("records are still held back while the log closes");
            }
            self.inner.close(within).await;
        })
    }
}

impl fmt::Debug for FaultyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyLog")
            .field("seed", &self.seed)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

async fn hand_on(
    mut inner: Subscription,
    mut gates: watch::Receiver<Gates>,
    to: mpsc::Sender<Delivery>,
) {
    while let Some(delivery) = inner.deliveries.recv().await {
        // The log was closed: nothing is held any more.
        let _ = gates.wait_for(|gates| !gates.reads).await;
        if to.send(delivery).await.is_err() {
            return;
        }
    }
}

async fn append_and_wait(
    log: &dyn Log,
    partition: &Partition,
    record: Record,
) -> Result<Appended, Error> {
    let (to, mut reports) = mpsc::unbounded_channel();
    log.append(partition, record, Reply { ticket: Ticket { writer: Uuid::nil(), seq: None }, to })?;
    let report = reports.recv().await;
    let result = report.map_or_else(
        || Err(ReportError::Failed("there was no report".to_owned())),
        |report| report.result,
    );
    result.map_err(|error| partition.error(error))
}

/// What the foreign writer of [`Faults::foreign`] appends: no record of this protocol, so void for
/// every reader.
fn foreign_record() -> Record {
    Record { headers: vec![Header::new("foreign", "1")], ..Record::default() }
}
