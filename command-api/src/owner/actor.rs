//! Drives one writer: carries out its effects, feeds it what happened. Decides nothing, and ends when the writer steps down.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eventlog::{Appended, Delivery as LogDelivery, Log, Partition, Reply, Report, Subscription, Ticket};
use futures_util::future::BoxFuture;
use metrics::{counter, gauge};
use protocol::{
    entry::Entry,
    position::Position,
    record::Stored,
    time::Micros,
    wire::{Wire, decode, encode},
    writer::{Answer, Effect, Input, Limits, Reported, StepDown, Submission, Token, Writer},
};
use service::{
    clock::{Clock, Ids},
    seen::Seen,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Delivery,
    hints::Hints,
    lane::{self, Understood},
    snapshots::{Error as SnapshotsError, Loaded, Snapshots},
};
use crate::category::Category;

/// What all actors of a category share.
pub struct Shared<C: Category, S> {
    pub domain: C,
    pub log: Arc<dyn Log>,
    pub snapshots: S,
    /// Where `snapshots` stands, by partition.
    pub checkpoints: watch::Receiver<BTreeMap<u32, u64>>,
    pub hints: Arc<Hints>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    pub limits: Limits,
    /// What the filter of seen ids may take; beyond it every unknown id is looked up.
    pub filter_bytes: usize,
    /// `ce_source`.
    pub source: String,
    /// The asynchronous lane of the category.
    pub lane: lane::Source,
    pub clock_skew: Duration,
    pub drain: Duration,
}

/// Why an actor ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error(transparent)]
    SteppedDown(StepDown),
    #[error("the partition cannot be read: {0}")]
    Log(String),
    #[error("this machine's clock is {off_ms} ms off the log's")]
    ClockSkew { off_ms: i64 },
    #[error("confirmations were still missing at the end of the drain")]
    DrainedLate,
}

const TICK: Duration = Duration::from_millis(50);
/// Inputs of one kind taken before the others have their turn.
const BURST: usize = 256;
/// Commands of the lane taken before callers who wait have their turn.
const LANE_BURST: usize = 16;

struct Actor<'a, C: Category, S> {
    shared: &'a Shared<C, S>,
    partition: &'a Partition,
    writer: Writer<Wire, C>,
    started: Instant,
    reports_to: mpsc::UnboundedSender<Report>,
    tokens: BTreeMap<Token, oneshot::Sender<Answer<Wire>>>,
    next_token: Token,
    load: Option<BoxFuture<'static, Result<Loaded<C::State>, SnapshotsError>>>,
    end_query: Option<BoxFuture<'static, Result<u64, eventlog::Error>>>,
    /// Where the reading must come to before the next fence.
    read_to: Option<u64>,
    /// When the last fence was sent, and when the log says it took it; microseconds and milliseconds.
    fence_sent_us: i64,
    fence_appended_ms: i64,
    end: Option<End>,
    /// Every id of the log up to what was read, and every own one that was appended; maybe more.
    seen: Seen,
    lane: lane::Intake,
}

/// Owns `partition` from `from` on, until the writer steps down. `seen` holds every id below `from`.
pub async fn run<C: Category, S: Snapshots<C::State> + Clone>(
    shared: &Shared<C, S>,
    partition: &Partition,
    from: Position<Wire>,
    seen: Seen,
    intake: &mut mpsc::Receiver<Delivery<C::Command>>,
    stop: &CancellationToken,
) -> End {
    let mut subscription = match shared.log.read_behind(partition, from.offset) {
        Ok(subscription) => subscription,
        Err(error) => return End::Log(error.to_string()),
    };
    let (reports_to, mut reports) = mpsc::unbounded_channel();
    let (writer, effects) = Writer::take_over(shared.domain.clone(), shared.limits, from);
    let mut actor = Actor {
        shared,
        partition,
        writer,
        started: Instant::now(),
        reports_to,
        tokens: BTreeMap::new(),
        next_token: 0,
        load: None,
        end_query: None,
        read_to: None,
        fence_sent_us: 0,
        fence_appended_ms: 0,
        end: None,
        seen,
        lane: lane::Intake::new(&shared.lane, C::NAME, partition.index),
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
        let mut open = true;
        loop {
            self.feed_lane();
            if let Some(end) = self.end.take() {
                return end;
            }
            let lane_goes_on = self.lane.is_buffered() && self.writer.lane_has_room();
            tokio::select! {
                biased;
                () = stop.cancelled(), if drain_until.is_none() => {
                    drain_until = Some(Instant::now() + self.shared.drain);
                    self.step(Input::Stop);
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
                    Some(delivery) => self.submit(delivery),
                    None => open = false,
                },
                arrived = self.lane.next() => self.lane_arrived(arrived),
                Ok(()) = checkpoints.changed() => {
                    let offset = checkpoints.borrow_and_update().get(&self.partition.index).copied();
                    if let Some(offset) = offset {
                        self.step(Input::Checkpoint { offset });
                    }
                }
                now = tick.tick() => {
                    if drain_until.is_some_and(|until| now >= until) {
                        return End::DrainedLate;
                    }
                    self.tick();
                }
                () = std::future::ready(()), if lane_goes_on => {}
            }
        }
    }

    fn step(&mut self, input: Input<Wire, C::Command, C::State>) {
        let effects = self.writer.step(input);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect<Wire>>) {
        for effect in effects {
            match effect {
                Effect::Append(entries) => self.append(entries),
                Effect::ReadToEnd => self.ask_for_end(),
                Effect::Load { aggregates, commands } => {
                    let (snapshots, partition) = (self.shared.snapshots.clone(), self.partition.index);
                    self.load = Some(Box::pin(async move { snapshots.load(partition, aggregates, commands).await }));
                }
                Effect::Answer { token, answer } => {
                    if let Some(reply) = self.tokens.remove(&token) {
                        // The caller may have gone: the outcome stands all the same.
                        let _ = reply.send(answer);
                    }
                }
                Effect::Serving { epoch, writer, .. } => self.serving(epoch, writer),
                Effect::OutcomeUnknown { records } => {
                    tracing::warn!(partition = %self.partition, records, "outcome unknown: fencing under a new writer");
                    counter!("highwater_unknown_outcomes_total", "category" => C::NAME, "partition" => self.partition.index.to_string())
                        .increment(1);
                }
                Effect::StepDown(why) => self.end = Some(End::SteppedDown(why)),
            }
        }
    }

    fn append(&mut self, entries: Vec<Entry<Wire>>) {
        for entry in entries {
            let ticket = Ticket { writer: entry.writer, seq: entry.seq };
            self.has_seen(&entry);
            if ticket.seq.is_none() {
                self.fence_sent_us = self.shared.clock.now();
            }
            let record = encode(&entry, &self.shared.source, self.shared.ids.v7());
            let reply = Reply { ticket, to: self.reports_to.clone() };
            if let Err(error) = self.shared.log.append(self.partition, record, reply) {
                tracing::warn!(partition = %self.partition, %error, "an append was refused");
                // Reported by hand, in its turn: what follows it is void by its sequence.
                let refused = eventlog::ReportError::Failed(error.to_string());
                let _ = self.reports_to.send(Report { ticket, generation: 0, result: Err(refused) });
            }
        }
    }

    fn ask_for_end(&mut self) {
        let (log, partition) = (self.shared.log.clone(), self.partition.clone());
        self.read_to = None;
        self.end_query = Some(Box::pin(async move { log.end(&partition).await }));
    }

    fn end_known(&mut self, end: Result<u64, eventlog::Error>) {
        match end {
            Ok(end) => {
                self.read_to = Some(end);
                self.caught_up();
            }
            Err(error) => self.end = Some(End::Log(error.to_string())),
        }
    }

    fn caught_up(&mut self) {
        if self.read_to.is_some_and(|end| self.writer.fold().next_offset() >= end) {
            self.read_to = None;
            let writer = self.shared.ids.v4();
            self.step(Input::CaughtUp { writer });
        }
    }

    fn reported(&mut self, report: Report) {
        let reported = match report.result {
            Ok(Appended::At(offset)) => Reported::At(offset),
            Ok(Appended::Somewhere) => Reported::Somewhere,
            Err(error) => {
                tracing::debug!(partition = %self.partition, seq = ?report.ticket.seq, %error, "an append was not acknowledged");
                Reported::Failed
            }
        };
        self.step(Input::Report { writer: report.ticket.writer, seq: report.ticket.seq, reported });
    }

    fn delivered(&mut self, delivery: LogDelivery) {
        match delivery {
            LogDelivery::Records(records) => {
                for stored in records {
                    self.read(stored);
                }
                self.caught_up();
            }
            LogDelivery::CaughtUp(_) => self.caught_up(),
            LogDelivery::Trouble(what) => tracing::warn!(partition = %self.partition, what, "trouble reading"),
            LogDelivery::Failed(error) => self.end = Some(End::Log(error.to_string())),
        }
    }

    fn read(&mut self, stored: Stored) {
        let Stored { offset, appended_at_ms, record } = stored;
        let entry = decode(record);
        if let Ok(entry) = &entry {
            if entry.seq.is_none() {
                self.fence_appended_ms = appended_at_ms;
            }
            // While it serves, everything new is its own and was added when it was appended.
            if self.writer.serving().is_none() {
                self.has_seen(entry);
            }
        }
        self.step(Input::Read { offset, entry });
        let valid = self.writer.fold().head().witness.as_ref().is_some_and(|witness| witness.offset == offset);
        if !valid {
            counter!("highwater_void_records_total", "category" => C::NAME, "partition" => self.partition.index.to_string(), "reader" => "owner")
                .increment(1);
        }
    }

    /// The log's clock must lie between the sending of the fence and now, give or take what is allowed.
    fn serving(&mut self, epoch: u64, writer: Uuid) {
        let (appended_us, now_us) = (self.fence_appended_ms.saturating_mul(1000), self.shared.clock.now());
        let off_us = (self.fence_sent_us - appended_us).max(appended_us - now_us).max(0);
        if i128::from(off_us) > i128::try_from(self.shared.clock_skew.as_micros()).unwrap_or(i128::MAX) {
            self.end = Some(End::ClockSkew { off_ms: off_us / 1000 });
            return;
        }
        tracing::info!(partition = %self.partition, epoch, %writer, took_ms = self.started.elapsed().as_millis(), "serving");
        gauge!("highwater_owner_epoch", "category" => C::NAME, "partition" => self.partition.index.to_string()).set(epoch_gauge(epoch));
        self.shared.hints.publish(C::NAME, self.partition.index, epoch);
        self.lane.open(&self.shared.log);
    }

    fn has_seen(&mut self, entry: &Entry<Wire>) {
        if let Some(origin) = entry.body.origin() {
            self.seen.add(origin.command);
            self.seen.add(origin.aggregate);
        }
    }

    fn lane_arrived(&mut self, arrived: lane::Arrived) {
        // Deadlines are compared with the last tick.
        self.step(Input::Tick { now_ms: self.now_ms() });
        if let Some(from) = self.writer.lane_next() {
            self.lane.arrived(arrived, from, &self.shared.log);
        }
    }

    /// Some of what lies in the lane, as far as the writer takes it.
    fn feed_lane(&mut self) {
        for _ in 0..LANE_BURST {
            let Some(offset) = self.writer.lane_next().filter(|_| self.lane.is_buffered() && self.writer.lane_has_room()) else { return };
            let Some(record) = self.lane.take(offset) else { return };
            let (now, now_ms) = (self.shared.clock.now(), self.now_ms());
            let deadline_ms = |deadline: Micros| u64::try_from((deadline.0 - now) / 1_000).map_or(0, |left| now_ms.saturating_add(left));
            let submission = match lane::understand::<C>(&self.shared.lane, self.partition.index, offset, record, Micros(now), deadline_ms)
            {
                Understood::Command(submission) => Some(self.known(*submission)),
                Understood::Passed(why) => {
                    self.lane.passed(offset, &why);
                    None
                }
                Understood::Newer(what) => return self.lane.pause(offset, &what),
            };
            self.step(Input::Lane { offset, submission });
        }
    }

    /// With a number of its own, and with what the filter says of its ids.
    fn known(&mut self, mut submission: Submission<Wire, C::Command>) -> Submission<Wire, C::Command> {
        // Before it serves, the filter may lack what is still to be read.
        if self.writer.serving().is_some() {
            submission.fresh |= !self.seen.may_contain(submission.command);
            submission.new_aggregate |= !self.seen.may_contain(submission.aggregate);
        }
        submission.token = self.next_token;
        self.next_token += 1;
        submission
    }

    fn submit(&mut self, delivery: Delivery<C::Command>) {
        let Delivery { submission, reply, deadline } = delivery;
        let mut submission = self.known(submission);
        submission.deadline_ms = u64::try_from(deadline.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX);
        self.tokens.insert(submission.token, reply);
        self.step(Input::Submit(submission));
    }

    fn loaded(&mut self, loaded: Result<Loaded<C::State>, SnapshotsError>) {
        match loaded {
            Ok(Loaded { checkpoint, aggregates, outcomes }) => self.step(Input::Loaded { checkpoint, aggregates, outcomes }),
            Err(error) => {
                tracing::warn!(partition = %self.partition, error = &error as &dyn std::error::Error, "snapshots cannot be read");
                self.step(Input::LoadFailed);
            }
        }
    }

    /// From 1: 0 is before every tick.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn tick(&mut self) {
        let now_ms = self.now_ms();
        self.step(Input::Tick { now_ms });
        if let Some(drained) = self.lane.hint(self.writer.lane_drained(), self.shared.lane.hint_step) {
            self.shared.hints.publish_drained(C::NAME, self.partition.index, drained);
        }
        let partition = self.partition.index.to_string();
        gauge!("highwater_owner_in_flight_records", "category" => C::NAME, "partition" => partition.clone())
            .set(count(self.writer.in_flight()));
        gauge!("highwater_lane_open_commands", "category" => C::NAME, "partition" => partition.clone()).set(count(self.writer.lane_open()));
        gauge!("highwater_owner_filter_bytes", "category" => C::NAME, "partition" => partition.clone()).set(count(self.seen.size_bytes()));
        gauge!("highwater_owner_unanswered_commands", "category" => C::NAME, "partition" => partition).set(count(self.writer.unanswered()));
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

/// Gauges are floating point: exact up to 2^53, and epochs count take-overs.
fn epoch_gauge(epoch: u64) -> f64 {
    f64::from(u32::try_from(epoch).unwrap_or(u32::MAX))
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}
