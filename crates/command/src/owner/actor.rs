//! Drives one writer: carries out its effects, feeds it what happened. Decides nothing, and ends
//! when the writer steps down.

mod effects;
mod gauges;
mod inputs;
mod notices;
mod pace;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use highwater_log::{Appended, Divergence, Log, Partition, Report, ReportError, Subscription};
use highwater_protocol::{
    position::Position,
    time::Micros,
    wire::Wire,
    writer::{Answer, AppendReport, Input, Limits, StepDown, Submission, Token, Writer},
};
use highwater_runtime::{
    clock::{Clock, Ids},
    resilience::Backoff,
};
use highwater_tables::dedup_filter::DedupFilter;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use gauges::Gauges;
pub use notices::Notices;
use pace::Pace;

use super::{
    Delivery,
    announcements::Announcements,
    command_queue,
    origin::Origins,
    snapshots::{Error as SnapshotsError, Loaded, Snapshots},
    status::{Phase, Status},
};
use crate::category::Category;

/// What all actors of a category share.
pub struct Shared<C: Category, S> {
    pub domain: C,
    pub log: Arc<dyn Log>,
    pub snapshots: S,
    /// Where `snapshots` stands, by partition.
    pub checkpoints: watch::Receiver<BTreeMap<u32, u64>>,
    pub origins: Arc<Origins>,
    pub announcements: Arc<Announcements>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    pub limits: Limits,
    /// What the filter of ids may take; beyond it every unknown id is looked up.
    pub filter_bytes: usize,
    /// `ce_source`.
    pub source: String,
    /// The command queue of the category.
    pub command_queue: command_queue::Source,
    pub clock_skew: Duration,
    /// How far, beyond `clock_skew`, the last time in a partition may lie ahead of this machine's
    /// clock.
    pub accept_ahead: Duration,
    pub drain: Duration,
    /// The waits between the fences of one partition, when one follows soon after the other.
    pub fences: Backoff,
}

/// Why an actor ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error(transparent)]
    SteppedDown(StepDown),
    #[error("the partition cannot be read: {0}")]
    Log(String),
    #[error(transparent)]
    Diverged(Divergence),
    #[error("this machine's clock is {off_ms} ms off the log's")]
    ClockSkew { off_ms: i64 },
    #[error(
        "this machine's clock went {by_ms} ms ahead at once: what is dated by it must be held \
         against the log again"
    )]
    ClockStepped { by_ms: i64 },
    #[error(
        "the last event of the partition is dated {last}, {ahead_ms} ms ahead of this machine's \
         clock, and times in a partition never \
         run backwards: set the clock right; if it is right, owner.accept_ahead_ms = {ahead_ms} \
         serves it, and dates all events {last} \
         until then"
    )]
    TimesAhead { last: String, ahead_ms: i64 },
    #[error("confirmations were still missing at the end of the drain")]
    DrainedLate,
}

const TICK: Duration = Duration::from_millis(50);
/// The same where nothing waits for time to pass. An instance may own many partitions that no
/// caller sends commands to.
const IDLE_TICK: Duration = Duration::from_millis(250);
/// Inputs of one kind taken before the others have their turn.
const BURST: usize = 256;
/// Commands taken in before reports and reading have their turn.
const INTAKE_BURST: usize = 32;
/// Turns that an owner leaves to all other tasks before it takes commands in: a task that sends one
/// wakes it at once, and what each of them sends would go to the log as a request of its own. Under
/// load a turn is as long as the queue of the tasks that are ready, and without load nothing.
const GATHERING_TURNS: usize = 4;

struct Actor<'a, C: Category, S> {
    shared: &'a Shared<C, S>,
    partition: &'a Partition,
    status: &'a Status,
    gauges: Gauges,
    notices: &'a mut Notices,
    pace: Pace,
    writer: Writer<Wire, C>,
    /// Where it took the partition up. What lies below is only read for the witness.
    from: Position<Wire>,
    /// The witness has been read, so `from` is a place in this very log. No fence before that.
    proven: bool,
    /// The reading began after the end was asked for: where it first finds no more will do as well.
    reads_to_its_end: bool,
    started: Instant,
    /// When this machine's clock was last looked at, and what it said.
    clock_seen: (Instant, i64),
    reports_to: mpsc::UnboundedSender<Report>,
    tokens: BTreeMap<Token, oneshot::Sender<Answer<Wire>>>,
    next_token: Token,
    load: Option<BoxFuture<'static, Result<Loaded<C::State>, SnapshotsError>>>,
    end_query: Option<BoxFuture<'static, Result<u64, highwater_log::Error>>>,
    /// A fence was sent, and is neither valid nor refused yet.
    fence_is_out: bool,
    /// Where the reading must come to before the next fence.
    read_to: Option<u64>,
    /// When the last fence was sent, and when the log says it took it; microseconds and
    /// milliseconds.
    fence_sent_us: i64,
    fence_appended_ms: i64,
    end: Option<End>,
    /// Every id of the log up to what was read, and every own one that was appended; maybe more.
    filter: DedupFilter,
    command_queue: command_queue::Intake,
}

/// Owns `partition` from `from` on, until the writer steps down. `filter` holds every id below
/// `from`; that both histories began alike has been checked.
pub async fn run<C: Category, S: Snapshots<C::State> + Clone>(
    shared: &Shared<C, S>,
    partition: &Partition,
    status: &Status,
    notices: &mut Notices,
    (from, filter): (Position<Wire>, DedupFilter),
    intake: &mut mpsc::Receiver<Delivery<C::Command>>,
    stop: &CancellationToken,
) -> End {
    // From the witness on: reading it costs a take-over nothing then.
    let begin = from.witness.as_ref().map_or(from.offset, |witness| witness.offset);
    let mut subscription = match shared.log.read_behind(partition, begin) {
        Ok(subscription) => subscription,
        Err(error) => return End::Log(error.to_string()),
    };
    let (reports_to, mut reports) = mpsc::unbounded_channel();
    let proven = from.witness.is_none();
    let (writer, effects) = Writer::take_over(shared.domain.clone(), shared.limits, from.clone());
    let mut actor = Actor {
        shared,
        partition,
        status,
        gauges: Gauges::new(C::NAME, partition.index),
        notices,
        pace: Pace::default(),
        writer,
        from,
        proven,
        reads_to_its_end: true,
        started: Instant::now(),
        clock_seen: (Instant::now(), shared.clock.now()),
        reports_to,
        tokens: BTreeMap::new(),
        next_token: 0,
        load: None,
        end_query: None,
        fence_is_out: false,
        read_to: None,
        fence_sent_us: 0,
        fence_appended_ms: 0,
        end: None,
        filter,
        command_queue: command_queue::Intake::new(
            Partition { topic: shared.command_queue.topic.clone(), index: partition.index },
            C::NAME,
        ),
    };
    actor.carry_out(effects);
    actor.drive(&mut subscription, &mut reports, intake, stop).await
}

impl<C: Category, S: Snapshots<C::State> + Clone> Actor<'_, C, S> {
    async fn drive(
        &mut self,
        subscription: &mut Subscription,
        reports: &mut mpsc::UnboundedReceiver<Report>,
        intake: &mut mpsc::Receiver<Delivery<C::Command>>,
        stop: &CancellationToken,
    ) -> End {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut checkpoints = self.shared.checkpoints.clone();
        let mut drain_until: Option<Instant> = None;
        let (mut stopped, mut open, mut idle) = (false, true, false);
        loop {
            if idle && (drain_until.is_some() || !self.is_idle()) {
                idle = false;
                tick.reset_after(TICK);
            }
            // Not with a fence on its way: no owner would follow the one that it deposes.
            if drain_until.is_some() && !stopped && !self.fence_is_out {
                stopped = true;
                self.step(Input::Stop);
            }
            self.feed_command_queue();
            if let Some(end) = self.end.take() {
                return end;
            }
            let queue_goes_on =
                self.command_queue.is_buffered() && self.writer.command_queue_has_room();
            tokio::select! {
                biased;
                () = stop.cancelled(), if drain_until.is_none() => {
                    drain_until = Some(Instant::now() + self.shared.drain);
                    self.status.phase(Phase::Draining);
                }
                Some(report) = reports.recv() => {
                    self.reported(report);
                    for _ in 0..BURST {
                        let Ok(report) = reports.try_recv() else { break };
                        self.reported(report);
                    }
                }
                delivery = subscription.deliveries.recv() => match delivery {
                    Some(delivery) => self.delivered(delivery),
                    None => return End::Log("the reader ended".to_owned()),
                },
                loaded = wait_for(&mut self.load) => self.loaded(loaded),
                end = wait_for(&mut self.end_query) => self.end_known(end),
                delivery = intake.recv(), if open => match delivery {
                    Some(delivery) => {
                        for _ in 0..GATHERING_TURNS {
                            tokio::task::yield_now().await;
                        }
                        // Commands are dated when they arrive, so what is submitted now was dated
                        // before this look.
                        self.look_at_clock();
                        if self.end.is_some() {
                            continue;
                        }
                        if idle {
                            self.step(Input::Tick { now_ms: self.now_ms() });
                        }
                        self.submit(delivery);
                        for _ in 0..INTAKE_BURST {
                            let Ok(delivery) = intake.try_recv() else { break };
                            self.submit(delivery);
                        }
                    }
                    None => open = false,
                },
                arrived = self.command_queue.next() => self.command_queue_arrived(arrived),
                Ok(()) = checkpoints.changed() => {
                    let offset =
                        checkpoints.borrow_and_update().get(&self.partition.index).copied();
                    if let Some(offset) = offset {
                        self.step(Input::Checkpoint { offset });
                    }
                }
                now = tick.tick() => {
                    if drain_until.is_some_and(|until| now >= until) {
                        return End::DrainedLate;
                    }
                    self.tick();
                    idle = drain_until.is_none() && self.is_idle();
                    tick.reset_after(if idle { IDLE_TICK } else { TICK });
                }
                () = std::future::ready(()), if queue_goes_on => {}
            }
        }
    }

    fn submit(&mut self, delivery: Delivery<C::Command>) {
        let Delivery { submission, reply, deadline } = delivery;
        let mut submission = self.known(submission);
        // It may have waited since the clock that dated it was set right; looked at a moment ago.
        submission.at = submission.at.min(Micros(self.clock_seen.1));
        submission.deadline_ms =
            u64::try_from(deadline.saturating_duration_since(self.started).as_millis())
                .unwrap_or(u64::MAX);
        self.tokens.insert(submission.token, reply);
        self.step(Input::Submit(submission));
    }

    /// With a number of its own, and with what the filter says of its ids.
    fn known(
        &mut self,
        mut submission: Submission<Wire, C::Command>,
    ) -> Submission<Wire, C::Command> {
        // Before it serves, the filter may lack what is still to be read.
        if self.writer.serving().is_some() {
            submission.fresh |= !self.filter.may_contain(submission.command);
            submission.new_aggregate |= !self.filter.may_contain(submission.aggregate);
        }
        submission.token = self.next_token;
        self.next_token += 1;
        submission
    }

    fn reported(&mut self, report: Report) {
        let reported = match report.result {
            Ok(appended) => {
                self.notices.sending.over("the log takes records again");
                match appended {
                    Appended::At(offset) => AppendReport::At(offset),
                    Appended::Somewhere => AppendReport::Somewhere,
                }
            }
            Err(error) => {
                tracing::debug!(
                    partition = %self.partition,
                    seq = ?report.ticket.seq,
                    %error,
                    "an append was not acknowledged"
                );
                match error {
                    ReportError::Refused(_) => {
                        self.notices
                            .refused
                            .warn(&format!("{}: the log refused a record", self.partition), &error);
                        AppendReport::Refused
                    }
                    ReportError::Unsent(_) => {
                        self.notices
                            .sending
                            .warn(&format!("{}: the log takes no records", self.partition), &error);
                        AppendReport::Unsent
                    }
                    ReportError::Purged | ReportError::Failed(_) => AppendReport::Failed,
                }
            }
        };
        self.step(Input::Report { writer: report.ticket.writer, seq: report.ticket.seq, reported });
    }

    fn step(&mut self, input: Input<Wire, C::Command, C::State>) {
        let effects = self.writer.step(input);
        self.carry_out(effects);
    }

    /// Nothing is waiting for a deadline or a retry: neither the writer nor what the driver does
    /// for it.
    fn is_idle(&self) -> bool {
        let driver = self.fence_is_out
            || self.read_to.is_some()
            || self.load.is_some()
            || self.end_query.is_some();
        let writer = self.writer.unanswered() > 0
            || self.writer.in_flight() > 0
            || self.writer.command_queue_open() > 0;
        !driver && !writer && self.writer.serving().is_some() && self.tokens.is_empty()
    }

    /// From 1: 0 is before every tick.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// Waits for the future that is there, or for ever.
async fn wait_for<T>(slot: &mut Option<BoxFuture<'static, T>>) -> T {
    match slot {
        Some(future) => {
            let value = future.await;
            *slot = None;
            value
        }
        None => std::future::pending().await,
    }
}
