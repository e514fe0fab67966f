//! A process that owns the partition, or wants to: its writer, its producer's queue, and what is on
//! its way to it.
//!
//! Which reports can come when, of what the driver (command-api, `owner/actor`) and the producer
//! (eventlog, `kafka/producer.rs`) deliver:
//!
//! - One channel brings the reports of one owner, over all its writers. What it brings, and what is
//!   read, come in any sequence among each other, so a report may come after its record was read
//!   back.
//! - Reports with an offset come in the sequence of the records: one partition, one idempotent
//!   producer, batches in sequence. Not so over two writers of one owner: a producer that had a
//!   fatal error is replaced, and what is left of the old one is reported by another thread.
//! - A failure may come before or after any other report: what `append` refuses is reported at
//!   once, before all that is queued; what times out or is purged is reported by another thread
//!   than what was sent. The same holds of success without an offset, which is told when a later
//!   batch proves it.
//! - Each record has at most one report. A process that ended hears none; what it queued may come
//!   to the log all the same.

use std::{
    any::Any,
    collections::VecDeque,
    fmt::Debug,
    hash::{Hash, Hasher},
    ops::{Deref, DerefMut},
};

use highwater_protocol::{
    entry::Entry,
    fold::Fold,
    writer::{AppendReport, Effect, Input, Writer, rules::Rules},
};

use super::small::{Counter, Does, Small};

/// A writer with some set of rules.
pub trait Drive: Debug + Send + Sync {
    fn step(&mut self, input: Input<Small, Does, u8>) -> Vec<Effect<Small>>;
    fn fold(&self) -> &Fold<Small>;
    fn serving(&self) -> Option<(u64, u8)>;
    fn in_flight(&self) -> usize;
    /// The next offset of the command queue, if there is room for it.
    fn takes(&self) -> Option<usize>;
    /// Where the command queue stands, if nothing of it is open.
    fn passed(&self) -> Option<usize>;
    fn copy(&self) -> Box<dyn Drive>;
    fn as_any(&self) -> &dyn Any;
    fn is_equal(&self, other: &dyn Drive) -> bool;
    fn hash_to(&self, state: &mut dyn Hasher);
}

impl<R: Rules> Drive for Writer<Small, Counter, R> {
    fn step(&mut self, input: Input<Small, Does, u8>) -> Vec<Effect<Small>> {
        Writer::step(self, input)
    }
    fn fold(&self) -> &Fold<Small> {
        Writer::fold(self)
    }
    fn serving(&self) -> Option<(u64, u8)> {
        Writer::serving(self)
    }
    fn in_flight(&self) -> usize {
        Writer::in_flight(self)
    }
    fn takes(&self) -> Option<usize> {
        self.command_queue_next()
            .filter(|_| self.command_queue_has_room())
            .and_then(|next| usize::try_from(next).ok())
    }
    fn passed(&self) -> Option<usize> {
        self.command_queue_next()
            .filter(|_| self.command_queue_open() == 0)
            .and_then(|next| usize::try_from(next).ok())
    }
    fn copy(&self) -> Box<dyn Drive> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn is_equal(&self, other: &dyn Drive) -> bool {
        other.as_any().downcast_ref::<Self>() == Some(self)
    }
    fn hash_to(&self, mut state: &mut dyn Hasher) {
        self.hash(&mut state);
    }
}

/// A writer, whatever its rules.
#[derive(Debug)]
pub struct Driven(pub Box<dyn Drive>);

impl Deref for Driven {
    type Target = dyn Drive;
    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl DerefMut for Driven {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.0
    }
}

impl Clone for Driven {
    fn clone(&self) -> Self {
        Self(self.copy())
    }
}

impl PartialEq for Driven {
    fn eq(&self, other: &Self) -> bool {
        self.is_equal(&**other)
    }
}

impl Eq for Driven {}

impl Hash for Driven {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash_to(state);
    }
}

pub type Report = (u8, Option<u64>, AppendReport);

/// A load that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Load {
    pub aggregates: Vec<u8>,
    pub commands: Vec<u8>,
    /// The checkpoint that the statement saw, once it has run.
    pub seen_at: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    pub writer: Driven,
    /// The epoch and the id of its last fence that was valid.
    pub own: Option<(u64, u8)>,
    pub queue: VecDeque<Entry<Small>>,
    /// The sequence after that of its last record.
    pub next_seq: u64,
    pub reports: Vec<Report>,
    pub read_to_end: Option<usize>,
    pub load: Option<Load>,
    /// What its clock says.
    pub clock: u8,
    pub seconds: u8,
    /// The filters: commands and aggregates that it has read or appended, as bits.
    pub seen: (u16, u16),
}

impl Owner {
    pub fn read(&self) -> usize {
        usize::try_from(self.writer.fold().next_offset()).unwrap_or(usize::MAX)
    }

    pub fn has_seen(&mut self, entry: &Entry<Small>) {
        if let Some(metadata) = entry.body.metadata() {
            self.seen.0 |= 1 << metadata.command;
            self.seen.1 |= 1 << metadata.aggregate;
        }
    }

    /// The places of the reports that may come next.
    pub fn reports_that_may_come(&self) -> impl Iterator<Item = usize> {
        let is_first = move |place: &usize| {
            let (writer, _, reported) = self.reports[*place];
            let same =
                |report: &Report| report.0 == writer && matches!(report.2, AppendReport::At(_));
            !matches!(reported, AppendReport::At(_)) || !self.reports[..*place].iter().any(same)
        };
        (0..self.reports.len()).filter(is_first)
    }

    /// The log has dealt with a record. Of a fence only failures are heard: a valid one is read.
    pub fn reported(&mut self, entry: &Entry<Small>, reported: AppendReport) {
        if entry.seq.is_some() || !matches!(reported, AppendReport::At(_) | AppendReport::Somewhere)
        {
            self.reports.push((entry.writer, entry.seq, reported));
        }
    }
}
