//! The verdict on every record of a partition: the same for every reader, always (log-format.md,
//! "Fold").
//!
//! | rule | record | effect |
//! |---|---|---|
//! | 0 | not decodable: a demanded header missing, repeated or not in its encoding | void |
//! | 1 | `fence(e, w)` with `e == epoch + 1`, partition not sealed | sets `(e, w, 0)`, drops an open commit |
//! | 1 | any other fence | void |
//! | 2 | `(epoch, writer, seq)` not the expected one, or sealed | void |
//! | 3 | event `1/n` | opens a commit, visible at once if `n == 1` |
//! | 3 | event `i/n` that continues the open commit | visible, whole, when `i == n` |
//! | 3 | any other event | no effect, its sequence counts, drops an open commit |
//! | 3 | barrier, outcome | counts in the sequence, drops an open commit |
//! | 4 | `sealed` | the same, and everything after it is void, fences too |
//! | 4 | a kind that is not known | counts in the sequence, drops an open commit |
//! | 5 | void | changes nothing but the offset |

use crate::{
    entry::{Body, Entry, EventBody, OutcomeBody, Part},
    position::{Position, Witness},
    vocabulary::Vocabulary,
    wire::Defect,
};

/// The fold of one partition up to some offset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fold<V: Vocabulary> {
    at: Position<V>,
    open: Option<Open<V>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open<V: Vocabulary> {
    start: Position<V>,
    of: u32,
    events: Vec<EventBody<V>>,
}

/// What one record did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect<V: Vocabulary> {
    Void(Void),
    /// The partition has a new writer.
    Fence {
        epoch: u64,
        writer: V::Writer,
    },
    Barrier,
    Sealed,
    Unknown,
    Outcome(OutcomeBody<V>),
    /// An event of a commit that is not complete yet.
    Opened,
    /// An event that neither opens nor continues a commit.
    Ineffective,
    Commit(Commit<V>),
}

/// The events of one command, complete.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Commit<V: Vocabulary> {
    /// The offset of the first record.
    pub first: u64,
    /// The offset after the last record.
    pub end: u64,
    /// The sequence of the last record.
    pub last_seq: u64,
    pub events: Vec<EventBody<V>>,
}

/// Why a record is void.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Void {
    /// Rule 0.
    Undecodable(Defect),
    /// Rule 1: the fence's epoch is not the next one.
    StaleFence,
    /// Rule 2: not the current writer's next record.
    Unexpected,
    /// Rule 4.
    Sealed,
}

/// Offsets are dense: a gap is a foreign transaction or a lost segment, and no reader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log continues at offset {found} where {expected} was expected: records are missing (lost, \
     deleted, or a transactional producer wrote here)"
)]
pub struct Gap {
    pub expected: u64,
    pub found: u64,
}

impl<V: Vocabulary> Fold<V> {
    pub fn new() -> Self {
        Self::resume(Position::start())
    }

    pub fn resume(at: Position<V>) -> Self {
        Self { at, open: None }
    }

    /// Where this fold can be resumed: never inside a commit.
    pub fn position(&self) -> &Position<V> {
        self.open.as_ref().map_or(&self.at, |open| &open.start)
    }

    /// The offset of the next record to apply.
    pub fn next_offset(&self) -> u64 {
        self.at.offset
    }

    /// Epoch, writer and the rest as of [`Fold::next_offset`], also inside a commit.
    pub fn head(&self) -> &Position<V> {
        &self.at
    }

    /// Applies the record at `offset`, which must be [`Fold::next_offset`].
    pub fn apply(
        &mut self,
        offset: u64,
        entry: Result<Entry<V>, Defect>,
    ) -> Result<Effect<V>, Gap> {
        if offset != self.at.offset {
            return Err(Gap { expected: self.at.offset, found: offset });
        }
        let before = self.at.clone();
        self.at.offset += 1;
        let entry = match entry {
            Ok(entry) => entry,
            Err(defect) => return Ok(Effect::Void(Void::Undecodable(defect))),
        };
        if self.at.sealed {
            return Ok(Effect::Void(Void::Sealed));
        }
        if matches!(entry.body, Body::Fence) {
            return Ok(self.fence(offset, &entry));
        }
        let seq = self.at.next_seq;
        if (entry.epoch, Some(entry.writer), entry.seq)
            != (self.at.epoch, self.at.writer, Some(seq))
        {
            return Ok(Effect::Void(Void::Unexpected));
        }
        self.at.next_seq = seq.saturating_add(1);
        self.at.drained = self.at.drained.max(entry.drained.unwrap_or(0));
        self.at.witness =
            Some(Witness { offset, epoch: entry.epoch, writer: entry.writer, seq: Some(seq) });
        Ok(self.valid(offset, seq, entry.body, before))
    }

    fn fence(&mut self, offset: u64, entry: &Entry<V>) -> Effect<V> {
        if Some(entry.epoch) != self.at.epoch.checked_add(1) {
            return Effect::Void(Void::StaleFence);
        }
        self.open = None;
        self.at.identity = self.at.identity.or(Some(entry.writer));
        (self.at.epoch, self.at.writer, self.at.next_seq) = (entry.epoch, Some(entry.writer), 0);
        self.at.witness =
            Some(Witness { offset, epoch: entry.epoch, writer: entry.writer, seq: None });
        Effect::Fence { epoch: entry.epoch, writer: entry.writer }
    }

    fn valid(&mut self, offset: u64, seq: u64, body: Body<V>, before: Position<V>) -> Effect<V> {
        let open = self.open.take();
        match body {
            Body::Event(event) => {
                self.at.last_time = self.at.last_time.max(Some(event.time));
                self.event(offset, seq, event, open, before)
            }
            Body::Barrier => Effect::Barrier,
            Body::Sealed => {
                self.at.sealed = true;
                Effect::Sealed
            }
            Body::Outcome(outcome) => Effect::Outcome(outcome),
            Body::Unknown | Body::Fence => Effect::Unknown,
        }
    }

    fn event(
        &mut self,
        offset: u64,
        seq: u64,
        event: EventBody<V>,
        open: Option<Open<V>>,
        before: Position<V>,
    ) -> Effect<V> {
        let Part { index, of } = event.part;
        let mut open = match open {
            Some(open) if open.continues_with(&event) => open,
            _ if index == 1 => Open { start: before, of, events: Vec::new() },
            _ => return Effect::Ineffective,
        };
        open.events.push(event);
        if index < of {
            self.open = Some(open);
            return Effect::Opened;
        }
        Effect::Commit(Commit {
            first: open.start.offset,
            end: offset + 1,
            last_seq: seq,
            events: open.events,
        })
    }
}

impl<V: Vocabulary> Default for Fold<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Vocabulary> Open<V> {
    fn continues_with(&self, event: &EventBody<V>) -> bool {
        self.events.last().is_some_and(|last| {
            last.metadata.command == event.metadata.command
                && last.metadata.aggregate == event.metadata.aggregate
                && self.of == event.part.of
                && last.part.index + 1 == event.part.index
                && last.version.checked_add(1) == Some(event.version)
        })
    }
}
