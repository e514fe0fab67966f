//! What the writer wants done: appends, look-ups, answers, announcements, and the figures that
//! others see.

use std::time::Duration;

use highwater_log::{Reply, Report, Ticket};
use highwater_protocol::{
    entry::Entry,
    wire::{Wire, encode},
    writer::{Effect, Input},
};
use metrics::{counter, gauge};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Actor, End};
use crate::{
    category::Category,
    owner::{
        snapshots::Snapshots,
        status::{self, Figures, Phase},
    },
};

/// The log has not refused anything for so long.
const QUIET: Duration = Duration::from_secs(60);

impl<C: Category, S: Snapshots<C::State> + Clone> Actor<'_, C, S> {
    pub(super) fn carry_out(&mut self, effects: Vec<Effect<Wire>>) {
        for effect in effects {
            match effect {
                Effect::Append(entries) => self.append(entries),
                Effect::ReadToEnd => self.ask_for_end_in_time(),
                Effect::Load { aggregates, commands } => {
                    let (snapshots, partition) =
                        (self.shared.snapshots.clone(), self.partition.index);
                    self.load = Some(Box::pin(async move {
                        snapshots.load(partition, aggregates, commands).await
                    }));
                }
                Effect::Answer { token, answer } => {
                    if let Some(reply) = self.tokens.remove(&token) {
                        // The caller may have gone: the outcome stands all the same.
                        let _ = reply.send(answer);
                    }
                }
                Effect::Serving { epoch, writer, .. } => self.serving(epoch, writer),
                Effect::OutcomeUnknown { records } => {
                    if self.pace.is_calm() {
                        tracing::warn!(partition = %self.partition, records, "outcome unknown: \
                            fencing under a new writer");
                    }
                    self.status.phase(Phase::Settling);
                    counter!(
                        "highwater_unknown_outcomes_total",
                        "category" => C::NAME,
                        "partition" => self.partition.index.to_string()
                    )
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
                self.fence_is_out = true;
                self.fence_sent_us = self.shared.clock.now();
            }
            let record = encode(&entry, &self.shared.source, self.shared.ids.v7());
            let reply = Reply { ticket, to: self.reports_to.clone() };
            if let Err(error) = self.shared.log.append(self.partition, record, reply) {
                // Heard in its turn: what follows it is void by its sequence.
                let _ = self.reports_to.send(Report {
                    ticket,
                    generation: 0,
                    result: Err(error.into()),
                });
            }
        }
    }

    /// The first time at once. After that each is a fence more, so they wait for longer and longer,
    /// until a fence has held for long.
    fn ask_for_end_in_time(&mut self) {
        let (log, partition) = (self.shared.log.clone(), self.partition.clone());
        self.fence_is_out = false;
        self.read_to = None;
        let wait = self.pace.next(self.shared.fences, self.shared.ids.as_ref());
        self.end_query = Some(Box::pin(async move {
            tokio::time::sleep(wait).await;
            log.end(&partition).await
        }));
    }

    /// The owner that dated the last event had another clock than this one: what is decided here
    /// would be dated like it, in silence. Before the fence, so that an owner whose clock is behind
    /// leaves the partition to others.
    pub(super) fn times_ahead(&self) -> Option<End> {
        let last = self.writer.fold().head().last_time?;
        let ahead_us = last.0.saturating_sub(self.shared.clock.now());
        let allowed = self.shared.clock_skew.saturating_add(self.shared.accept_ahead);
        if i128::from(ahead_us) <= i128::try_from(allowed.as_micros()).unwrap_or(i128::MAX) {
            return None;
        }
        Some(End::TimesAhead {
            last: last.to_text(),
            ahead_ms: ahead_us.saturating_add(999) / 1000,
        })
    }

    /// A clock that steps back is harmless: times in a partition do not run backwards. One that
    /// steps ahead dates events of the future, for ever, until the next fence is held against the
    /// log's clock; so there has to be one.
    pub(super) fn look_at_clock(&mut self) {
        let seen = (Instant::now(), self.shared.clock.now());
        let (then, said) = std::mem::replace(&mut self.clock_seen, seen);
        let went_us = i128::from(seen.1.saturating_sub(said));
        let allowed = seen.0.saturating_duration_since(then) + self.shared.clock_skew;
        let by_us = went_us - i128::try_from(allowed.as_micros()).unwrap_or(i128::MAX);
        if by_us > 0 {
            self.end =
                Some(End::ClockStepped { by_ms: i64::try_from(by_us / 1000).unwrap_or(i64::MAX) });
        }
    }

    /// The log's clock must lie between the sending of the fence and now, give or take what is
    /// allowed.
    fn serving(&mut self, epoch: u64, writer: Uuid) {
        self.fence_is_out = false;
        let (appended_us, now_us) =
            (self.fence_appended_ms.saturating_mul(1000), self.shared.clock.now());
        let off_us = (self.fence_sent_us - appended_us).max(appended_us - now_us).max(0);
        if i128::from(off_us)
            > i128::try_from(self.shared.clock_skew.as_micros()).unwrap_or(i128::MAX)
        {
            self.end = Some(End::ClockSkew { off_ms: off_us / 1000 });
            return;
        }
        if self.pace.is_calm() {
            tracing::info!(
                partition = %self.partition,
                epoch,
                %writer,
                took_ms = self.started.elapsed().as_millis(),
                "serving"
            );
        }
        self.notices.ownerless.over("the partition has an owner here again");
        self.notices.sending.over("the log takes records again");
        gauge!(
            "highwater_owner_epoch",
            "category" => C::NAME,
            "partition" => self.partition.index.to_string()
        )
        .set(epoch_gauge(epoch));
        self.shared.announcements.publish(C::NAME, self.partition.index, epoch);
        self.status.serving(epoch, writer);
        self.command_queue.open(&self.shared.log);
    }

    pub(super) fn has_seen(&mut self, entry: &Entry<Wire>) {
        if let Some(metadata) = entry.body.metadata() {
            self.filter.add(metadata.command);
            self.filter.add(metadata.aggregate);
        }
    }

    pub(super) fn tick(&mut self) {
        self.look_at_clock();
        let now_ms = self.now_ms();
        self.step(Input::Tick { now_ms });
        if let Some(drained) = self.command_queue.announcement(
            self.writer.command_queue_drained(),
            self.shared.command_queue.announce_step,
        ) {
            self.shared.announcements.publish_drained(C::NAME, self.partition.index, drained);
        }
        self.measure();
        self.notices.refused.over_if_quiet(QUIET, "the log has refused no record for a while");
    }

    /// For the operator.
    fn measure(&self) {
        let figures = Figures {
            offset: self.writer.fold().next_offset(),
            tail: self.writer.tail(),
            in_flight: self.writer.in_flight(),
            unanswered: self.writer.unanswered(),
            aggregates: self.writer.aggregates(),
            filter_bytes: self.filter.size_bytes(),
            queue: status::CommandQueue {
                drained: self.writer.command_queue_drained(),
                open: self.writer.command_queue_open(),
                served: self.command_queue.is_served(),
            },
        };
        self.gauges.set(&figures);
        self.status.measure(figures);
    }
}

/// Gauges are floating point: exact up to 2^53, and epochs count take-overs.
fn epoch_gauge(epoch: u64) -> f64 {
    f64::from(u32::try_from(epoch).unwrap_or(u32::MAX))
}
