//! One partition of a faulty log: appends go through in turn, each with the fate drawn when it was
//! accepted; their reports come back in turn. Every accepted append is answered exactly once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use highwater_protocol::record::Record;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::task::TaskTracker;

use super::{Faults, Gates, append_and_wait, foreign_record, random::Random};
use crate::log::{Appended, Error, Log, Partition, Reply, Report, ReportError};

/// The right to report, used once.
#[derive(Clone)]
pub struct Answer(Arc<Mutex<Option<Reply>>>);

/// What happens to one append.
#[derive(Clone, Copy)]
struct Fate {
    dropped: bool,
    duplicated: bool,
    stripped: bool,
    misreported: bool,
    foreign: bool,
    delay: Duration,
    report_delay: Duration,
}

struct PendingAppend {
    record: Record,
    answer: Answer,
    fate: Fate,
}

struct PendingReport {
    answer: Answer,
    fate: Fate,
    report: Source,
}

enum Source {
    Inner(mpsc::UnboundedReceiver<Report>),
    Known(ReportError),
}

pub struct FaultQueue {
    random: Random,
    queue: mpsc::UnboundedSender<PendingAppend>,
    /// How many are not handed over yet.
    waiting: Arc<AtomicUsize>,
}

impl FaultQueue {
    pub fn start(
        inner: &Arc<dyn Log>,
        partition: &Partition,
        random: Random,
        gates: watch::Receiver<Gates>,
        tasks: &TaskTracker,
        runtime: &Handle,
    ) -> Self {
        let (queue, queued) = mpsc::unbounded_channel();
        let (reports, reported) = mpsc::unbounded_channel();
        let waiting = Arc::<AtomicUsize>::default();
        let out = Outbound {
            inner: Arc::clone(inner),
            partition: partition.clone(),
            gates: gates.clone(),
            waiting: Arc::clone(&waiting),
        };
        tasks.spawn_on(out.run(queued, reports), runtime);
        tasks.spawn_on(inbound(reported, gates), runtime);
        Self { random, queue, waiting }
    }

    pub fn append(&mut self, faults: &Faults, record: Record, answer: Answer) -> Result<(), Error> {
        let fate = Fate::draw(&mut self.random, faults);
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.queue
            .send(PendingAppend { record, answer, fate })
            .map_err(|_| Error::Refused("the log was closed".to_owned()))
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

struct Outbound {
    inner: Arc<dyn Log>,
    partition: Partition,
    gates: watch::Receiver<Gates>,
    waiting: Arc<AtomicUsize>,
}

impl Outbound {
    async fn run(
        mut self,
        mut queue: mpsc::UnboundedReceiver<PendingAppend>,
        reports: mpsc::UnboundedSender<PendingReport>,
    ) {
        while let Some(queued) = queue.recv().await {
            if !queued.fate.delay.is_zero() {
                tokio::time::sleep(queued.fate.delay).await;
            }
            // An error: the log was closed, nothing is held any more.
            let _ = self.gates.wait_for(|gates| !gates.appends).await;
            if queued.fate.foreign {
                // A foreign writer's failure is its own.
                let _ = append_and_wait(&*self.inner, &self.partition, foreign_record()).await;
            }
            let PendingAppend { record, answer, fate } = queued;
            let report = self.hand_over(record, &answer, fate);
            // The other task ends after this one.
            let _ = reports.send(PendingReport { answer, fate, report });
        }
    }

    fn hand_over(&self, record: Record, answer: &Answer, fate: Fate) -> Source {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        if fate.dropped {
            return Source::Known(ReportError::Failed("lost on the way (injected)".to_owned()));
        }
        let again = fate.duplicated.then(|| record.clone());
        let source = self.append(record, answer);
        if let Some(again) = again {
            drop(self.append(again, answer));
        }
        source
    }

    fn append(&self, record: Record, answer: &Answer) -> Source {
        let (to, from) = mpsc::unbounded_channel();
        match self.inner.append(&self.partition, record, Reply { ticket: answer.ticket(), to }) {
            Ok(()) => Source::Inner(from),
            Err(error) => Source::Known(error.into()),
        }
    }
}

async fn inbound(
    mut reports: mpsc::UnboundedReceiver<PendingReport>,
    mut gates: watch::Receiver<Gates>,
) {
    while let Some(PendingReport { answer, fate, report }) = reports.recv().await {
        let (generation, result) = match report {
            Source::Known(error) => (0, Err(error)),
            Source::Inner(mut from) => match from.recv().await {
                Some(report) => (report.generation, report.result),
                None => (0, Err(ReportError::Failed("the log ended without a report".to_owned()))),
            },
        };
        if !fate.report_delay.is_zero() {
            tokio::time::sleep(fate.report_delay).await;
        }
        let _ = gates.wait_for(|gates| !gates.reports).await;
        answer.give(generation, fate.bend(result));
    }
}

impl Fate {
    /// Always the same count of draws, so that one rate does not shift the others.
    fn draw(random: &mut Random, faults: &Faults) -> Self {
        let [dropped, duplicated, stripped, misreported, foreign, delayed, late] = [
            faults.dropped,
            faults.duplicated,
            faults.stripped,
            faults.misreported,
            faults.foreign,
            faults.delayed,
            faults.reported_late,
        ]
        .map(|per_mille| random.happens(per_mille));
        let [delay, report_delay] = [delayed, late].map(|happens| {
            let delay = random.delay(faults.delay_up_to);
            if happens { delay } else { Duration::ZERO }
        });
        Self { dropped, duplicated, stripped, misreported, foreign, delay, report_delay }
    }

    fn bend(self, result: Result<Appended, ReportError>) -> Result<Appended, ReportError> {
        match result {
            Ok(_) if self.misreported => {
                Err(ReportError::Failed("timed out, though it was appended (injected)".to_owned()))
            }
            Ok(_) if self.stripped => Ok(Appended::Somewhere),
            result => result,
        }
    }
}

impl Answer {
    pub fn new(reply: Reply) -> Self {
        Self(Arc::new(Mutex::new(Some(reply))))
    }

    fn ticket(&self) -> crate::log::Ticket {
        let reply = lock(&self.0);
        reply
            .as_ref()
            .map_or(crate::log::Ticket { writer: uuid::Uuid::nil(), seq: None }, |reply| {
                reply.ticket
            })
    }

    /// The first one counts.
    fn give(&self, generation: u64, result: Result<Appended, ReportError>) {
        if let Some(reply) = lock(&self.0).take() {
            // An appender that dropped the receiver does not want to know.
            let _ = reply.to.send(Report { ticket: reply.ticket, generation, result });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> parking_lot::MutexGuard<'_, T> {
    mutex.lock()
}
