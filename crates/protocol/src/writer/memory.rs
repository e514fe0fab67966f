//! Aggregates and recorded outcomes that the owner remembers.
//!
//! It holds at least everything that happened at or above the eviction watermark; whatever is not
//! here is complete in a snapshot at or above it. An aggregate's state is the confirmed one plus,
//! for each commit in flight, the state after it.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    domain::{Domain, Unreadable},
    entry::{Body, EventBody, OutcomeBody, Verdict},
    fold::Commit,
    vocabulary::{Value, Vocabulary},
    writer::{
        interface::{Outcome, RecordedOutcome, Snapshot},
        rules::Rules,
        table::Table,
    },
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Memory<V: Vocabulary, S: Value> {
    aggregates: Table<V::Aggregate, Aggregate<V, S>>,
    /// The same aggregates by the offset they were last touched below, for eviction.
    by_touch: BTreeSet<(u64, V::Aggregate)>,
    outcomes: Table<V::Command, (u64, RecordedOutcome<V>)>,
    by_end: BTreeSet<(u64, V::Command)>,
    /// Nothing at or above this offset was ever evicted.
    eviction_watermark: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Aggregate<V: Vocabulary, S> {
    pub(super) base: Base<V, S>,
    /// One for each commit in flight, in turn.
    pub(super) ahead: VecDeque<Ahead<S>>,
    pub(super) unanswered: usize,
    /// Open queued commands.
    pub(super) pinned: usize,
    touched: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Base<V: Vocabulary, S> {
    /// Events above the eviction watermark (none, if it was never seen); what lies below is in its
    /// snapshot.
    Behind {
        events: Vec<EventBody<V>>,
    },
    /// `None`: it does not exist.
    Known {
        version: u64,
        state: Option<S>,
    },
    Unreadable {
        version: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ahead<S> {
    pub(super) last_seq: u64,
    pub(super) version: u64,
    pub(super) state: S,
}

impl<V: Vocabulary, S: Value> Memory<V, S> {
    pub(super) fn new(eviction_watermark: u64) -> Self {
        Self {
            aggregates: Table::new(),
            by_touch: BTreeSet::new(),
            outcomes: Table::new(),
            by_end: BTreeSet::new(),
            eviction_watermark,
        }
    }

    pub(super) fn eviction_watermark(&self) -> u64 {
        self.eviction_watermark
    }

    pub(super) fn aggregates(&self) -> usize {
        self.aggregates.len()
    }

    pub(super) fn get(&self, id: V::Aggregate) -> Option<&Aggregate<V, S>> {
        self.aggregates.get(&id)
    }

    /// The aggregate, made as never seen if it is not there.
    pub(super) fn entry(&mut self, id: V::Aggregate) -> &mut Aggregate<V, S> {
        let (touched, by_touch) = (self.eviction_watermark, &mut self.by_touch);
        self.aggregates.get_or_insert_with(id, || {
            by_touch.insert((touched, id));
            Aggregate {
                base: Base::Behind { events: Vec::new() },
                ahead: VecDeque::new(),
                unanswered: 0,
                pinned: 0,
                touched,
            }
        })
    }

    pub(super) fn outcome(&self, command: V::Command) -> Option<&RecordedOutcome<V>> {
        self.outcomes.get(&command).map(|(_, recorded)| recorded)
    }

    pub(super) fn remember(&mut self, command: V::Command, end: u64, recorded: RecordedOutcome<V>) {
        if let Some((before, _)) = self.outcomes.insert(command, (end, recorded)) {
            self.by_end.remove(&(before, command));
        }
        self.by_end.insert((end, command));
    }

    /// A commit of an earlier writer, met while the tail is read.
    pub(super) fn learn_commit<D: Domain<V, State = S>>(&mut self, domain: &D, commit: Commit<V>) {
        let Some(first) = commit.events.first() else { return };
        let (id, command) = (first.metadata.aggregate, first.metadata.command);
        let recorded = RecordedOutcome {
            aggregate: id,
            fingerprint: first.metadata.fingerprint.clone(),
            outcome: accepted(&commit.events, commit.end),
        };
        self.remember(command, commit.end, recorded);
        let aggregate = self.entry(id);
        for event in commit.events {
            aggregate.learn(domain, event);
        }
        self.touch(id, commit.end);
    }

    pub(super) fn learn_outcome(&mut self, outcome: OutcomeBody<V>, end: u64) {
        let OutcomeBody { metadata, version, verdict, reason } = outcome;
        let outcome = match verdict {
            Verdict::Rejected => Outcome::Rejected { version, end, reason },
            Verdict::Unchanged => Outcome::Unchanged { version, end, reason },
        };
        self.remember(
            metadata.command,
            end,
            RecordedOutcome {
                aggregate: metadata.aggregate,
                fingerprint: metadata.fingerprint,
                outcome,
            },
        );
    }

    /// Puts a snapshot below the events that are remembered. `None`: it does not exist there.
    pub(super) fn found<D: Domain<V, State = S>>(
        &mut self,
        domain: &D,
        id: V::Aggregate,
        snapshot: Option<Snapshot<S>>,
        checkpoint: u64,
    ) {
        let aggregate = self.entry(id);
        if let Base::Behind { events } = &mut aggregate.base {
            let events = std::mem::take(events);
            aggregate.base = match snapshot {
                None => Base::Known { version: 0, state: None },
                Some(Snapshot::State { version, state }) => {
                    Base::Known { version, state: Some(state) }
                }
                Some(Snapshot::Unreadable { version }) => Base::Unreadable { version },
            };
            for event in events {
                aggregate.learn(domain, event);
            }
        }
        self.touch(id, checkpoint);
    }

    /// The aggregate's id was just made: nothing can be known of it anywhere.
    pub(super) fn cannot_exist(&mut self, id: V::Aggregate) {
        let aggregate = self.entry(id);
        if matches!(&aggregate.base, Base::Behind { events } if events.is_empty()) {
            aggregate.base = Base::Known { version: 0, state: None };
        }
    }

    /// The commit that ends with `last_seq` is confirmed: its state becomes the confirmed one.
    pub(super) fn confirm(&mut self, id: V::Aggregate, last_seq: u64, end: u64) {
        let Some(aggregate) = self.aggregates.get_mut(&id) else { return };
        while aggregate.ahead.front().is_some_and(|ahead| ahead.last_seq <= last_seq) {
            if let Some(Ahead { version, state, .. }) = aggregate.ahead.pop_front() {
                aggregate.base = Base::Known { version, state: Some(state) };
            }
        }
        self.touch(id, end);
    }

    /// What was in flight will never be: back to the confirmed states.
    pub(super) fn forget_ahead(&mut self) {
        for aggregate in self.aggregates.values_mut() {
            aggregate.ahead.clear();
        }
    }

    fn touch(&mut self, id: V::Aggregate, touched: u64) {
        if let Some(aggregate) = self.aggregates.get_mut(&id) {
            self.by_touch.remove(&(aggregate.touched, id));
            aggregate.touched = aggregate.touched.max(touched);
            self.by_touch.insert((aggregate.touched, id));
        }
    }

    /// Evicts, oldest first, what `snapshots` has at `checkpoint`, down to the numbers to be kept.
    pub(super) fn evict<R: Rules>(&mut self, checkpoint: u64, aggregates: usize, outcomes: usize) {
        let below = if R::AGGREGATES_STAY_ABOVE_CHECKPOINT { checkpoint } else { checkpoint + 1 };
        let surplus = self.aggregates.len().saturating_sub(aggregates);
        let old = self.by_touch.iter().take_while(|(touched, _)| *touched <= below);
        let in_use = |found: &Aggregate<V, S>| {
            found.unanswered + found.pinned > 0 || !found.ahead.is_empty()
        };
        let idle = |id: &V::Aggregate| {
            self.aggregates.get(id).is_some_and(|found| !in_use(found) || !R::STAYS_WHILE_IN_USE)
        };
        let evicted: Vec<_> = old.filter(|(_, id)| idle(id)).take(surplus).copied().collect();
        for (touched, id) in evicted {
            self.by_touch.remove(&(touched, id));
            self.aggregates.remove(&id);
            self.eviction_watermark = self.eviction_watermark.max(touched);
        }
        let below = if R::OUTCOMES_STAY_ABOVE_CHECKPOINT { checkpoint } else { checkpoint + 1 };
        for _ in 0..self.outcomes.len().saturating_sub(outcomes) {
            let Some((end, command)) =
                self.by_end.first().copied().filter(|(end, _)| *end <= below)
            else {
                break;
            };
            self.by_end.remove(&(end, command));
            self.outcomes.remove(&command);
            self.eviction_watermark = self.eviction_watermark.max(end);
        }
    }
}

impl<V: Vocabulary, S: Value> Aggregate<V, S> {
    pub(super) fn is_usable(&self) -> bool {
        !matches!(self.base, Base::Behind { .. })
    }

    /// The version that the log is known to hold; a lower bound.
    pub(super) fn confirmed_version(&self) -> u64 {
        match &self.base {
            Base::Behind { events } => events.last().map_or(0, |event| event.version),
            Base::Known { version, .. } | Base::Unreadable { version } => *version,
        }
    }

    /// Version and state with everything in flight applied. Unreadable and unloaded ones have none.
    pub(super) fn current(&self) -> (u64, Option<&S>) {
        match (self.ahead.back(), &self.base) {
            (Some(ahead), _) => (ahead.version, Some(&ahead.state)),
            (None, Base::Known { version, state }) => (*version, state.as_ref()),
            (None, Base::Behind { .. } | Base::Unreadable { .. }) => {
                (self.confirmed_version(), None)
            }
        }
    }

    fn learn<D: Domain<V, State = S>>(&mut self, domain: &D, event: EventBody<V>) {
        let next = match &mut self.base {
            Base::Behind { events } if events.is_empty() && event.version == 1 => {
                evolved(domain, None, &event)
            }
            Base::Behind { events } => {
                events.push(event);
                return;
            }
            // The snapshot had it already.
            Base::Known { version, .. } | Base::Unreadable { version }
                if event.version <= *version =>
            {
                return;
            }
            Base::Known { version, state } if event.version == *version + 1 => {
                evolved(domain, state.as_ref(), &event)
            }
            Base::Known { .. } | Base::Unreadable { .. } => {
                Base::Unreadable { version: event.version }
            }
        };
        self.base = next;
    }
}

fn evolved<V: Vocabulary, D: Domain<V>>(
    domain: &D,
    state: Option<&D::State>,
    event: &EventBody<V>,
) -> Base<V, D::State> {
    match domain.evolve(state, &event.event) {
        Ok(state) => Base::Known { version: event.version, state: Some(state) },
        Err(Unreadable::Newer { .. } | Unreadable::Malformed { .. }) => {
            Base::Unreadable { version: event.version }
        }
    }
}

/// The outcome that a complete commit tells of.
pub(super) fn accepted<V: Vocabulary>(events: &[EventBody<V>], end: u64) -> Outcome<V> {
    let version = events.last().map_or(0, |event| event.version);
    Outcome::Accepted {
        version,
        end,
        events: events.iter().map(|event| (V::summary(&event.event), event.version)).collect(),
    }
}

/// What [`Vocabulary::size_bytes`] says of the records of a command.
pub(super) fn size_bytes<V: Vocabulary>(bodies: &[Body<V>]) -> usize {
    bodies.iter().map(V::size_bytes).sum()
}
