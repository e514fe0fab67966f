//! The log, what it makes visible, and the promises about what lies in it. Everything but the
//! records follows from them.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
};

use highwater_protocol::{
    entry::{Entry, OutcomeBody, Verdict},
    fold::{self, Commit, Fold},
    position::Position,
    writer::{Outcome, RecordedOutcome, Snapshot},
};

use super::small::{Due, Small, due};
use crate::setup::{Sent, Setup};

#[derive(Clone, Debug)]
pub struct Log {
    pub entries: Vec<Entry<Small>>,
    fold: Fold<Small>,
    /// Where a fold of so many records can be resumed.
    positions: Vec<Position<Small>>,
    /// The versions that were ever committed, each with the offset after its commit.
    versions: BTreeMap<u8, Vec<(u64, usize)>>,
    pub outcomes: BTreeMap<u8, (usize, RecordedOutcome<Small>)>,
    /// Whether the record at an offset is void.
    pub is_void: Vec<bool>,
    pub broken: Option<&'static str>,
}

impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Log {}

impl Hash for Log {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entries.hash(state);
    }
}

impl Log {
    pub fn new() -> Self {
        let fold = Fold::new();
        let positions = vec![fold.position().clone()];
        Self {
            entries: Vec::new(),
            fold,
            positions,
            versions: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            is_void: Vec::new(),
            broken: None,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn head(&self) -> &Position<Small> {
        self.fold.head()
    }

    /// Where `snapshots` may stand when so many records have been folded.
    pub fn position(&self, records: usize) -> &Position<Small> {
        &self.positions[records]
    }

    /// The committed version below `offset`; 0: it does not exist.
    pub fn version(&self, aggregate: u8, offset: usize) -> u64 {
        self.versions(aggregate)
            .rev()
            .find(|(_, end)| *end <= offset)
            .map_or(0, |(version, _)| version)
    }

    /// From 0 on.
    pub fn versions(&self, aggregate: u8) -> impl DoubleEndedIterator<Item = (u64, usize)> {
        let committed = self.versions.get(&aggregate).map(Vec::as_slice).unwrap_or_default();
        std::iter::once((0, 0)).chain(committed.iter().copied())
    }

    /// The states that `snapshots` has at `checkpoint`.
    pub fn states(&self, aggregates: &[u8], checkpoint: usize) -> Vec<(u8, Snapshot<u8>)> {
        let found =
            aggregates.iter().map(|aggregate| (*aggregate, self.version(*aggregate, checkpoint)));
        let state = |version: u64| Snapshot::State {
            version,
            state: u8::try_from(version).unwrap_or(u8::MAX),
        };
        found
            .filter(|(_, version)| *version > 0)
            .map(|(aggregate, version)| (aggregate, state(version)))
            .collect()
    }

    /// The record at `offset` as a reader at `head` takes it.
    pub fn as_read(&self, setup: &Setup, head: &Position<Small>, offset: usize) -> Entry<Small> {
        let mut entry = in_sequence(setup, head, self.entries[offset].clone());
        if setup.resumes_after_source {
            entry.drained = entry.drained.max(
                entry.body.metadata().and_then(|metadata| metadata.source).map(|source| source + 1),
            );
        }
        entry
    }

    pub fn take(&mut self, setup: &Setup, entry: Entry<Small>) {
        let offset = self.entries.len();
        let last_time = self.head().last_time;
        let read = in_sequence(setup, self.head(), entry.clone());
        self.entries.push(entry);
        let (drained, time) = (
            read.drained,
            if let highwater_protocol::entry::Body::Event(event) = &read.body {
                Some(event.time)
            } else {
                None
            },
        );
        let effect = self.fold.apply(offset as u64, Ok(read));
        self.positions.push(self.fold.position().clone());
        let Ok(effect) = effect else { return self.breaks("offsets have a gap") };
        self.is_void.push(matches!(effect, fold::Effect::Void(_)));
        if matches!(effect, fold::Effect::Void(_)) {
            return;
        }
        if time.is_some() && time < last_time {
            self.breaks("times run backwards");
        }
        match effect {
            fold::Effect::Commit(commit) => self.commit(setup, &commit),
            fold::Effect::Outcome(outcome) => self.outcome(setup, &outcome, offset + 1),
            _ => {}
        }
        let drained = usize::try_from(drained.unwrap_or(0)).unwrap_or(usize::MAX);
        if !self.has_outcomes_below(setup, drained) {
            self.breaks(
                "the command queue is said to be drained, and a command of it has no outcome",
            );
        }
    }

    /// Whether every queued command below `offset` has its outcome.
    pub fn has_outcomes_below(&self, setup: &Setup, offset: usize) -> bool {
        setup
            .command_queue
            .iter()
            .take(offset)
            .all(|index| self.outcomes.contains_key(&setup.commands[*index].id))
    }

    fn commit(&mut self, setup: &Setup, commit: &Commit<Small>) {
        let Some(last) = commit.events.last() else { return self.breaks("a commit of no events") };
        let (metadata, end) = (&last.metadata, usize::try_from(commit.end).unwrap_or(usize::MAX));
        let before = self.version(metadata.aggregate, end);
        if !(before + 1..).zip(&commit.events).all(|(version, event)| event.version == version) {
            self.breaks("an aggregate's versions have a gap");
        }
        self.versions.entry(metadata.aggregate).or_default().push((last.version, end));
        let events = commit.events.iter().map(|event| ((), event.version)).collect();
        let outcome = Outcome::Accepted { version: last.version, end: commit.end, events };
        self.record(
            metadata.command,
            end,
            RecordedOutcome {
                aggregate: metadata.aggregate,
                fingerprint: metadata.fingerprint,
                outcome,
            },
        );
        if sent(setup, metadata.command, metadata.fingerprint)
            .map(|sent| due(sent.does, &sent.expected, before))
            != Some(Due::Events(commit.events.len() as u64))
        {
            self.breaks("a commit is not what its command does at that place of the log");
        }
    }

    fn outcome(&mut self, setup: &Setup, outcome: &OutcomeBody<Small>, end: usize) {
        let OutcomeBody { metadata, version, verdict, .. } = outcome;
        let due = sent(setup, metadata.command, metadata.fingerprint)
            .map(|sent| due(sent.does, &sent.expected, *version));
        let by_queue = metadata.source.is_some();
        let so = match verdict {
            Verdict::Unchanged => due == Some(Due::Unchanged),
            Verdict::Rejected => {
                due == Some(Due::Rejected)
                    || by_queue && matches!(due, Some(Due::NotFound | Due::Mismatch))
            }
        };
        if !so || *version != self.version(metadata.aggregate, end) {
            self.breaks("an outcome is not what its command comes to at that place of the log");
        }
        let (version, at, reason) = (*version, end as u64, ());
        let outcome = match verdict {
            Verdict::Rejected => Outcome::Rejected { version, end: at, reason },
            Verdict::Unchanged => Outcome::Unchanged { version, end: at, reason },
        };
        self.record(
            metadata.command,
            end,
            RecordedOutcome {
                aggregate: metadata.aggregate,
                fingerprint: metadata.fingerprint,
                outcome,
            },
        );
    }

    fn record(&mut self, command: u8, end: usize, recorded: RecordedOutcome<Small>) {
        if self.outcomes.insert(command, (end, recorded)).is_some() {
            self.breaks("a command is in the log twice");
        }
    }

    fn breaks(&mut self, what: &'static str) {
        self.broken.get_or_insert(what);
    }
}

fn sent(setup: &Setup, id: u8, fingerprint: u8) -> Option<&Sent> {
    setup.commands.iter().find(|sent| (sent.id, sent.fingerprint) == (id, fingerprint))
}

fn in_sequence(setup: &Setup, head: &Position<Small>, mut entry: Entry<Small>) -> Entry<Small> {
    if setup.ignores_sequence && (entry.epoch, Some(entry.writer)) == (head.epoch, head.writer) {
        entry.seq = entry.seq.map(|_| head.next_seq);
    }
    entry
}
