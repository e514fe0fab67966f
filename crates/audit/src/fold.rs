//! The fold of one partition, written from the text of docs/log-format.md for the audit alone.
//! Judges; never decides whether a verdict is a fault.

use super::record::{About, Body, Entry, Event, Id, Time, Unreadable};

/// What a reader would store: everything below `offset` is folded in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The writer of the first valid fence.
    pub identity: Option<Id>,
    pub offset: u64,
    pub epoch: u64,
    pub writer: Option<Id>,
    pub next_seq: u64,
    pub drained: u64,
    pub sealed: bool,
    pub last_time: Option<Time>,
    pub witness: Option<Witness>,
}

/// The last valid record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    pub offset: u64,
    pub epoch: u64,
    pub writer: Id,
    pub seq: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Void(Void),
    Fence,
    Barrier,
    Sealed,
    Unknown,
    Outcome,
    /// Part of a commit that is not complete yet.
    Opened,
    /// Neither opens nor continues a commit.
    Ineffective,
    Commit(Commit),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Void {
    Unreadable(Unreadable),
    AfterSealed,
    StaleFence,
    /// Another epoch or writer than the partition has.
    Stranger,
    /// The writer's own, but what should have come before it is missing.
    AfterHole,
    /// The writer's own, once more.
    Again,
}

/// What became visible: events `first_version` to `last_version` of one aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    pub first: u64,
    pub aggregate: Id,
    pub command: Id,
    pub first_version: u64,
    pub last_version: u64,
}

/// A commit whose end never came: its first record's offset.
pub type Torn = Option<u64>;

#[derive(Clone, Debug, Default)]
pub struct Fold {
    now: Position,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    before: Position,
    commit: Commit,
    index: u64,
    of: u64,
}

impl Fold {
    pub fn from(position: Position) -> Self {
        Self { now: position, open: None }
    }

    /// As of the next record, also inside a commit.
    pub fn now(&self) -> &Position {
        &self.now
    }

    /// Never inside a commit.
    pub fn position(&self) -> &Position {
        self.open.as_ref().map_or(&self.now, |open| &open.before)
    }

    /// The verdict on the next record, and the open commit that it dropped.
    pub fn apply(&mut self, entry: Result<&Entry, Unreadable>) -> (Verdict, Torn) {
        let before = self.now.clone();
        self.now.offset += 1;
        let entry = match entry {
            Ok(entry) => entry,
            Err(why) => return (Verdict::Void(Void::Unreadable(why)), None),
        };
        if before.sealed {
            return (Verdict::Void(Void::AfterSealed), None);
        }
        if let Some(void) = stranger(&before, entry) {
            return (Verdict::Void(void), None);
        }
        self.now.witness = Some(Witness {
            offset: before.offset,
            epoch: entry.epoch,
            writer: entry.writer,
            seq: entry.seq,
        });
        self.now.drained = before.drained.max(entry.drained.unwrap_or_default());
        self.now.next_seq = entry.seq.map_or(0, |seq| seq + 1);
        let open = self.open.take();
        let first = open.as_ref().map(|open| open.commit.first);
        match &entry.body {
            Body::Fence => {
                self.now.identity = before.identity.or(Some(entry.writer));
                self.now.epoch = entry.epoch;
                self.now.writer = Some(entry.writer);
                (Verdict::Fence, first)
            }
            Body::Event(about, event) => self.event(about, event, open, before),
            Body::Barrier => (Verdict::Barrier, first),
            Body::Unknown => (Verdict::Unknown, first),
            Body::Rejected(_) | Body::Unchanged(_) => (Verdict::Outcome, first),
            Body::Sealed => {
                self.now.sealed = true;
                (Verdict::Sealed, first)
            }
        }
    }

    fn event(
        &mut self,
        about: &About,
        event: &Event,
        open: Option<Open>,
        before: Position,
    ) -> (Verdict, Torn) {
        self.now.last_time = before.last_time.max(Some(event.time));
        let (first_version, last_version) = (about.version, about.version);
        let alone = Commit {
            first: before.offset,
            aggregate: about.aggregate,
            command: about.command,
            first_version,
            last_version,
        };
        let (open, torn) = match open {
            Some(open) if open.goes_on_with(&alone, event) => (open.with(&alone, event), None),
            other => {
                let torn = other.map(|open| open.commit.first);
                if event.index != 1 {
                    return (Verdict::Ineffective, torn);
                }
                (Open { before, commit: alone, index: 1, of: event.of }, torn)
            }
        };
        if open.index == open.of {
            return (Verdict::Commit(open.commit), torn);
        }
        self.open = Some(open);
        (Verdict::Opened, torn)
    }
}

/// Rules 1 and 2.
fn stranger(now: &Position, entry: &Entry) -> Option<Void> {
    let Some(seq) = entry.seq else {
        return (Some(entry.epoch) != now.epoch.checked_add(1)).then_some(Void::StaleFence);
    };
    if entry.epoch != now.epoch || Some(entry.writer) != now.writer {
        return Some(Void::Stranger);
    }
    match seq.cmp(&now.next_seq) {
        std::cmp::Ordering::Less => Some(Void::Again),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(Void::AfterHole),
    }
}

impl Open {
    /// Rule 3.
    fn goes_on_with(&self, next: &Commit, event: &Event) -> bool {
        (next.command, next.aggregate, event.of, event.index, Some(next.first_version))
            == (
                self.commit.command,
                self.commit.aggregate,
                self.of,
                self.index + 1,
                self.commit.last_version.checked_add(1),
            )
    }

    fn with(mut self, next: &Commit, event: &Event) -> Self {
        self.commit.last_version = next.last_version;
        self.index = event.index;
        self
    }
}
