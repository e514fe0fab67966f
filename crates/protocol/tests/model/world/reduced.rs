//! What makes no difference to any promise, so that a larger world can be walked through whole: it
//! happens at once, or is made the same.
//!
//! Each rule says why no behaviour is lost by it. That none is can be checked, too: `covered` walks
//! through small worlds without these rules, and looks at every step for its counterpart among
//! those of the reduced world. An answer that comes earlier is measured by fewer versions, so a
//! step that tells one may be early, and never late.

use std::collections::VecDeque;

use highwater_protocol::{
    entry::{Body, Entry, OutcomeBody, Verdict},
    writer::{AppendReport, Input},
};

use super::{
    Action, World,
    owner::{Owner, Report},
    small::Small,
};
use crate::setup::Setup;

impl World {
    pub fn reduce(&mut self, setup: &Setup) {
        self.forget_voids(setup);
        for i in 0..self.owners.len() {
            self.forget_reports(i);
            while let Some(next) =
                self.at_once(setup, i).and_then(|action| self.silently(setup, i, action))
            {
                *self = next;
                self.forget_reports(i);
            }
            self.forget_seen(setup, i);
        }
        self.sort_owners();
    }

    /// What is appended may be lost with its process: when that happens makes a difference.
    fn silently(&self, setup: &Setup, i: usize, action: Action) -> Option<Self> {
        let queued = |world: &Self| world.owners[i].as_ref().map(|owner| owner.queue.len());
        let mut next = self.clone();
        next.happens(setup, action);
        (queued(&next) == queued(self)).then_some(next)
    }

    /// A step of one owner that commutes with all that can happen: whatever comes first, both
    /// together lead to the same state.
    fn at_once(&self, setup: &Setup, i: usize) -> Option<Action> {
        let owner = self.owners[i].as_ref()?;
        if self.reads_at_once(setup, i, owner) {
            return Some(Action::Read(i));
        }
        owner
            .reports_that_may_come()
            .find(|place| self.is_heard_at_once(setup, i, owner, owner.reports[*place]))
            .map(|place| Action::Report(i, place))
    }

    fn reads_at_once(&self, setup: &Setup, i: usize, owner: &Owner) -> bool {
        let offset = owner.read();
        let Some(entry) = self.log.entries.get(offset) else { return false };
        let serving = owner.writer.serving();
        let is_own = owner.own == Some((entry.epoch, entry.writer));
        if self.log.is_void[offset] {
            // Nothing but the offset is kept of it. One of its own may be a hole, or contradict a
            // report.
            return !is_own;
        }
        if matches!(entry.body, Body::Fence) {
            return false;
        }
        if is_own && entry.seq.is_some_and(|seq| seq < owner.confirmed()) {
            // It has been told already.
            return true;
        }
        // Unknown if that is heard first, and confirmed if it is read first. Of any other record it
        // is heard with the same result.
        let is_said_to_have_failed =
            || {
                let of_it = |report: &&Report| (report.0, report.1) == (entry.writer, entry.seq);
                owner.reports.iter().filter(of_it).any(|report| {
                    !matches!(report.2, AppendReport::At(_) | AppendReport::Somewhere)
                })
            };
        match serving {
            // Nothing is decided before the next own fence, and then with all that lies below it.
            None => {
                (setup.snapshots == 0 && owner.load.is_none() || self.confirms_at_once(setup, i))
                    && !is_said_to_have_failed()
            }
            Some(_) => is_own && self.confirms_at_once(setup, i) && !is_said_to_have_failed(),
        }
    }

    fn is_heard_at_once(
        &self,
        setup: &Setup,
        i: usize,
        owner: &Owner,
        (writer, seq, reported): Report,
    ) -> bool {
        let is_it = |entry: &Entry<Small>| (entry.writer, entry.seq) == (writer, seq);
        let mut valid = self
            .log
            .entries
            .iter()
            .zip(&self.log.is_void)
            .filter(|(_, is_void)| !**is_void)
            .map(|(entry, _)| entry);
        if !valid.any(is_it) || !matches!(reported, AppendReport::At(_) | AppendReport::Somewhere) {
            return false;
        }
        // A report without an offset never proves anything: its record is read, and only a clock
        // would tell since when it is waited for.
        let is_silent = || {
            reported == AppendReport::Somewhere
                && owner.writer.copy().step(Input::Report { writer, seq, reported }).is_empty()
        };
        setup.ticks == 0
            && setup.command_queue.is_empty()
            && (self.confirms_at_once(setup, i) || is_silent())
    }

    /// That a record is confirmed is seen by the caller that waits for it, and by what is decided
    /// and may be held. A decision that is recorded rests on what is in flight, and confirmed or
    /// not is the same to it. If something else fails first, it is read before the next own fence.
    fn confirms_at_once(&self, setup: &Setup, i: usize) -> bool {
        let asked = self
            .client
            .asked
            .values()
            .filter(|asked| asked.owner == i)
            .map(|asked| &setup.commands[asked.command]);
        let is_minded = self.client.to_come(setup).chain(asked).any(|sent| !sent.is_recorded());
        // Nor does memory lose anything by when it was learnt.
        !is_minded && setup.command_queue.is_empty() && setup.snapshots == 0
    }

    /// Reports that an owner will not look at.
    fn forget_reports(&mut self, i: usize) {
        let Some(owner) = &self.owners[i] else { return };
        if owner.reports.iter().any(|report| owner.ignores(report)) {
            self.change(i, |owner| {
                let reports = std::mem::take(&mut owner.reports);
                owner.reports =
                    reports.into_iter().filter(|report| !owner.ignores(report)).collect();
            });
        }
    }

    /// What the filters of ids say of what no caller will send any more.
    fn forget_seen(&mut self, setup: &Setup, i: usize) {
        let Some(owner) = &self.owners[i] else { return };
        let bits = self.client.to_come(setup).fold((0, 0), |(commands, aggregates), sent| {
            let (command, aggregate) = sent.told_new;
            (
                commands | u16::from(command) << sent.id,
                aggregates | u16::from(aggregate) << sent.aggregate,
            )
        });
        let seen = (owner.seen.0 & bits.0, owner.seen.1 & bits.1);
        if seen != owner.seen {
            self.change(i, |owner| owner.seen = seen);
        }
    }

    /// Void records are all the same, but for the filters of ids, and for the owner whose own they
    /// are.
    fn forget_voids(&mut self, setup: &Setup) {
        let serving: Vec<_> = self
            .owners
            .iter()
            .flatten()
            .filter_map(|owner| owner.writer.serving())
            .map(|(_, writer)| writer)
            .collect();
        let (log, head) = (&self.log, self.log.head());
        let is_any = |offset: usize, entry: &Entry<Small>| {
            log.is_void[offset] && (entry.seq.is_none() || !serving.contains(&entry.writer))
        };
        let voids: Vec<_> = (0..)
            .zip(&log.entries)
            .filter(|(offset, entry)| is_any(*offset, entry))
            .map(|(offset, entry)| (offset, self.void(setup, entry), entry))
            .filter(|(_, void, entry)| void != *entry)
            .map(|(offset, void, _)| (offset, void))
            .collect();
        // Writers and epochs do not come back.
        let will_be_void = |entry: &Entry<Small>| match entry.seq {
            None => entry.epoch <= head.epoch,
            Some(_) => Some(entry.writer) != head.writer,
        };
        let mut zombies = Vec::new();
        for queue in &self.zombies {
            let queue: VecDeque<_> = queue
                .iter()
                .map(
                    |entry| {
                        if will_be_void(entry) { self.void(setup, entry) } else { entry.clone() }
                    },
                )
                .collect();
            if queue.iter().all(|entry| entry.epoch == 0 && entry.body == Body::Barrier) {
                zombies.extend(queue.into_iter().map(|entry| VecDeque::from([entry])));
            } else {
                zombies.push(queue);
            }
        }
        if !voids.is_empty() {
            self.log.change(|log| {
                voids.into_iter().for_each(|(offset, void)| log.entries[offset] = void)
            });
        }
        if zombies != self.zombies {
            self.zombies = zombies;
            self.sort_zombies();
        }
    }

    fn void(&self, setup: &Setup, entry: &Entry<Small>) -> Entry<Small> {
        let is_seen = |command, aggregate| {
            let mut to_come = self.client.to_come(setup);
            to_come.any(|sent| {
                sent.told_new.0 && sent.id == command
                    || sent.told_new.1 && sent.aggregate == aggregate
            })
        };
        let body = match entry.body.metadata() {
            Some(metadata) if is_seen(metadata.command, metadata.aggregate) => {
                Body::Outcome(OutcomeBody {
                    metadata: metadata.clone(),
                    version: 0,
                    verdict: Verdict::Rejected,
                    reason: (),
                })
            }
            _ => Body::Barrier,
        };
        Entry { epoch: 0, writer: 0, seq: Some(0), drained: None, body }
    }

    /// Which owner is which makes no difference.
    fn sort_owners(&mut self) {
        let rank =
            |i: usize| self.owners[i].as_ref().map_or((true, 0), |owner| (false, owner.hashed()));
        if rank(0) > rank(1) {
            self.owners.swap(0, 1);
            self.client.change(|client| {
                client.asked.values_mut().for_each(|asked| asked.owner = 1 - asked.owner)
            });
            self.owes = self.owes.map(|(owner, end)| (1 - owner, end));
        }
    }

    /// Everything was sent, answered and read, and no record of a command is on its way: only
    /// fences and barriers are left, and what owners make of them is told to no caller.
    pub fn is_over(&self, setup: &Setup) -> bool {
        let no_command = |queue: &VecDeque<Entry<Small>>| {
            queue.iter().all(|entry| entry.body.metadata().is_none())
        };
        setup.command_queue.is_empty()
            && self.client.asked.is_empty()
            && self.client.to_come(setup).next().is_none()
            && self
                .owners
                .iter()
                .flatten()
                .all(|owner| no_command(&owner.queue) && owner.read() == self.log.len())
            && self.zombies.iter().all(no_command)
    }

    /// A submission to an owner that does not serve waits for its fence, and is sent when that is
    /// read next: as if it had been sent before, but for the versions that its answer is measured
    /// by, which are fewer. Not so where memory may go meanwhile.
    pub fn is_asked(&self, setup: &Setup, owner: &Owner) -> bool {
        let offset = owner.read();
        let fence_next = || {
            self.log
                .entries
                .get(offset)
                .is_some_and(|entry| matches!(entry.body, Body::Fence) && !self.log.is_void[offset])
        };
        !setup.reduced || setup.snapshots > 0 || owner.writer.serving().is_some() || fence_next()
    }
}

impl Owner {
    /// The sequence of the first record that is not confirmed.
    fn confirmed(&self) -> u64 {
        self.next_seq.saturating_sub(self.writer.in_flight() as u64)
    }

    /// Reports on what is confirmed, on what another writer id sent, and, of what is not refused,
    /// on records before the next own fence.
    fn ignores(&self, (writer, seq, reported): &Report) -> bool {
        match (seq, self.writer.serving()) {
            (Some(seq), Some((_, own))) => *writer != own || *seq < self.confirmed(),
            (Some(_), None) => *reported != AppendReport::Refused,
            (None, serving) => serving.is_some(),
        }
    }
}
