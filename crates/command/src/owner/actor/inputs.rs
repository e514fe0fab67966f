//! What happened, as the writer takes it: records, loads, commands of the command queue.

use highwater_log::{Delivery as LogDelivery, follow};
use highwater_protocol::{record::StoredRecord, time::Micros, wire::decode, writer::Input};
use highwater_runtime::process::chain;
use metrics::counter;

use super::{Actor, End};
use crate::{
    category::Category,
    owner::{
        command_queue::{self, Understood},
        snapshots::{Error as SnapshotsError, Loaded, Snapshots},
    },
};

/// Queued commands taken before callers who wait have their turn.
const QUEUE_BURST: usize = 16;

impl<C: Category, S: Snapshots<C::State> + Clone> Actor<'_, C, S> {
    pub(super) fn end_known(&mut self, end: Result<u64, highwater_log::Error>) {
        match end {
            Ok(end) => self.ends_at(end),
            Err(error) => self.end = Some(End::Log(error.to_string())),
        }
    }

    /// The log ends there, or later: time for a fence when everything below has been read.
    fn ends_at(&mut self, end: u64) {
        match follow::check_length(self.partition, &self.from, end) {
            Ok(()) => {
                self.read_to = Some(end);
                self.caught_up();
            }
            Err(divergence) => self.end = Some(End::Diverged(divergence)),
        }
    }

    /// Never before the log has proved that it is the one that the place was taken from.
    pub(super) fn caught_up(&mut self) {
        if self.proven && self.read_to.is_some_and(|end| self.writer.fold().next_offset() >= end) {
            self.read_to = None;
            self.reads_to_its_end = false;
            if let Some(ahead) = self.times_ahead() {
                self.end = Some(ahead);
                return;
            }
            let writer = self.shared.ids.v4();
            self.step(Input::CaughtUp { writer });
        }
    }

    pub(super) fn delivered(&mut self, delivery: LogDelivery) {
        match delivery {
            LogDelivery::Records(records) => {
                self.notices.reading.over("the log can be read again");
                for stored in records {
                    if self.is_to_be_read(&stored) {
                        self.read(stored);
                    }
                }
                self.caught_up();
            }
            LogDelivery::CaughtUp(end) if self.reads_to_its_end => {
                self.end_query = None;
                self.ends_at(end);
            }
            LogDelivery::CaughtUp(_) => self.caught_up(),
            LogDelivery::Trouble(what) => {
                self.notices.reading.warn(&format!("{}: trouble reading", self.partition), &what)
            }
            LogDelivery::Failed(error) => self.end = Some(End::Log(error.to_string())),
        }
    }

    /// Whether the record lies where the partition was resumed, or after that. What lies below
    /// proves that it is a place in this log.
    fn is_to_be_read(&mut self, stored: &StoredRecord) -> bool {
        if let Some(witness) = self.from.witness.as_ref().filter(|_| !self.proven) {
            match follow::check_witness(self.partition, witness, Some(stored.clone())) {
                Ok(()) => self.proven = true,
                Err(divergence) => self.end = Some(End::Diverged(divergence)),
            }
        }
        self.proven && stored.offset >= self.from.offset
    }

    fn read(&mut self, stored: StoredRecord) {
        let StoredRecord { offset, appended_at_ms, record } = stored;
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
        let valid = self
            .writer
            .fold()
            .head()
            .witness
            .as_ref()
            .is_some_and(|witness| witness.offset == offset);
        if !valid {
            counter!(
                "highwater_void_records_total",
                "category" => C::NAME,
                "partition" => self.partition.index.to_string(),
                "reader" => "owner"
            )
            .increment(1);
        }
    }

    pub(super) fn command_queue_arrived(&mut self, arrived: command_queue::Arrived) {
        // Deadlines are compared with the last tick.
        self.step(Input::Tick { now_ms: self.now_ms() });
        if let Some(from) = self.writer.command_queue_next() {
            self.command_queue.arrived(arrived, from, &self.shared.log);
        }
    }

    /// Some of what lies in the command queue, as far as the writer takes it.
    pub(super) fn feed_command_queue(&mut self) {
        for _ in 0..QUEUE_BURST {
            let Some(offset) = self.writer.command_queue_next().filter(|_| {
                self.command_queue.is_buffered() && self.writer.command_queue_has_room()
            }) else {
                return;
            };
            self.look_at_clock();
            if self.end.is_some() {
                return;
            }
            let Some(record) = self.command_queue.take(offset) else { return };
            let (now, now_ms) = (self.shared.clock.now(), self.now_ms());
            let deadline_ms = |deadline| tick_of(deadline, Micros(now), now_ms);
            let submission = match command_queue::understand::<C>(
                &self.shared.command_queue,
                self.partition.index,
                offset,
                record,
                Micros(now),
                deadline_ms,
            ) {
                Understood::Command(submission) => Some(self.known(*submission)),
                Understood::Passed(why) => {
                    self.command_queue.passed(offset, &why);
                    None
                }
                Understood::Newer(what) => return self.command_queue.pause(offset, &what),
            };
            self.step(Input::Queued { offset, submission });
        }
    }

    pub(super) fn loaded(&mut self, loaded: Result<Loaded<C::State>, SnapshotsError>) {
        match loaded {
            Ok(Loaded { checkpoint, aggregates, outcomes }) => {
                self.notices.loading.over("snapshots can be read again");
                self.step(Input::Loaded { checkpoint, aggregates, outcomes });
            }
            Err(error) => {
                self.notices
                    .loading
                    .warn(&format!("{}: snapshots cannot be read", self.partition), &chain(&error));
                self.step(Input::LoadFailed);
            }
        }
    }
}

/// The milliseconds of ticks at which `deadline` passes, where it is `now` at `now_ms`. What has
/// passed, by however little, passed before every tick.
fn tick_of(deadline: Micros, now: Micros, now_ms: u64) -> u64 {
    u64::try_from(deadline.0.saturating_sub(now.0).div_euclid(1_000))
        .map_or(0, |left| now_ms.saturating_add(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_has_passed_by_less_than_a_millisecond_has_passed() {
        let ticks = [-1_001, -1_000, -999, -1, 0, 999, 1_000, 1_999]
            .map(|left| tick_of(Micros(5_000_000 + left), Micros(5_000_000), 7));
        assert_eq!(ticks, [0, 0, 0, 0, 7, 7, 8, 8]);
    }

    #[test]
    fn no_deadline_is_too_far() {
        assert_eq!(tick_of(Micros(i64::MAX), Micros(i64::MIN), u64::MAX), u64::MAX);
        assert_eq!(tick_of(Micros(i64::MIN), Micros(i64::MAX), 7), 0);
    }
}
