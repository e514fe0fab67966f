//! What this runner has of the log: what it follows, what it is to follow, and which projections go
//! alone because their transactions fail. Knows no transaction, and waits for nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use highwater_protocol::{position::Position, wire::Wire};
use tokio::time::Instant;

use super::{
    batch::{Place, Source},
    projection::Key,
    track::Track,
};

/// Who follows a partition together: all its projections, or one of them alone, because its
/// transactions fail for now and the others do not wait for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Consumer {
    pub(super) place: Place,
    pub(super) alone: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempts {
    pub(super) failed: u32,
    pub(super) not_before: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    times: u32,
    at: Instant,
}

#[derive(Default)]
pub(super) struct Assignment {
    pub(super) tracks: BTreeMap<Consumer, Track>,
    /// To be followed, but not yet: how often that failed, and when it is tried again.
    pub(super) waiting: BTreeMap<Consumer, Attempts>,
    /// How often the transactions of a projection that goes alone have failed in a row.
    pub(super) troubled: BTreeMap<Key, u32>,
    /// How often the log has stopped under a consumer, one time soon after the other.
    lost: BTreeMap<Consumer, Lost>,
}

impl Consumer {
    pub(super) fn of(place: Place) -> Self {
        Self { place, alone: None }
    }

    pub(super) fn alone(key: &Key) -> Self {
        Self { place: key.place.clone(), alone: Some(key.projection) }
    }

    pub(super) fn key(&self, projection: &'static str) -> Key {
        Key { projection, place: self.place.clone() }
    }
}

impl Assignment {
    /// It is to be followed. Projections that go alone follow by themselves; the others need a
    /// consumer all the same.
    pub(super) fn gain(&mut self, place: Place) {
        let consumer = Consumer::of(place);
        if !self.tracks.contains_key(&consumer) && !self.waiting.contains_key(&consumer) {
            self.waiting.insert(consumer, Attempts::default());
        }
    }

    pub(super) fn follows(&self, place: &Place) -> bool {
        self.tracks.keys().any(|consumer| consumer.place == *place)
    }

    pub(super) fn followed(&self) -> BTreeSet<Place> {
        self.tracks.keys().map(|consumer| consumer.place.clone()).collect()
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.waiting.is_empty() && self.tracks.values().all(Track::is_caught_up)
    }

    /// Everything of the place: what is read but not projected is read again by whoever follows
    /// next.
    pub(super) fn drop_place(&mut self, place: &Place) {
        self.tracks.retain(|consumer, _| consumer.place != *place);
        self.waiting.retain(|consumer, _| consumer.place != *place);
        self.troubled.retain(|key, _| key.place != *place);
        self.lost.retain(|consumer, _| consumer.place != *place);
    }

    pub(super) fn drop_consumer(&mut self, consumer: &Consumer) {
        self.tracks.remove(consumer);
        self.waiting.remove(consumer);
    }

    pub(super) fn follow(&mut self, consumer: Consumer, track: Track) {
        self.waiting.remove(&consumer);
        self.tracks.insert(consumer, track);
    }

    /// It is begun later.
    pub(super) fn postpone(&mut self, consumer: Consumer, failed: u32, until: Instant) {
        self.waiting.insert(consumer, Attempts { failed, not_before: Some(until) });
    }

    /// How often its beginning has failed in a row.
    pub(super) fn failed(&self, consumer: &Consumer) -> u32 {
        self.waiting.get(consumer).map_or(0, |attempts| attempts.failed)
    }

    /// At most so many of what is due, those that readers wait for first.
    pub(super) fn to_resume(&self, now: Instant, most: usize) -> Vec<Consumer> {
        let due = self
            .waiting
            .iter()
            .filter(|(_, attempts)| attempts.not_before.is_none_or(|at| at <= now));
        let mut due: Vec<Consumer> = due.map(|(consumer, _)| consumer.clone()).collect();
        // Readers wait for events.
        due.sort_by_key(|consumer| consumer.place.source != Source::Events);
        due.truncate(most.max(1));
        due
    }

    pub(super) fn next_to_resume(&self, now: Instant) -> Option<Instant> {
        self.waiting.values().map(|attempts| attempts.not_before.unwrap_or(now)).min()
    }

    /// The track that holds the checkpoint of `key`.
    pub(super) fn track_of(&mut self, key: &Key) -> Option<&mut Track> {
        let alone = Consumer::alone(key);
        let consumer =
            if self.tracks.contains_key(&alone) { alone } else { Consumer::of(key.place.clone()) };
        self.tracks.get_mut(&consumer)
    }

    /// Every checkpoint of what is followed.
    pub(super) fn checkpoints(&self) -> impl Iterator<Item = (Key, &Position<Wire>)> {
        self.tracks.iter().flat_map(|(consumer, track)| {
            track.checkpoints().map(|(projection, at)| (consumer.key(projection), at))
        })
    }

    /// Nobody follows for this projection any more, on this partition.
    pub(super) fn leave_out(&mut self, key: &Key) {
        if let Some(track) = self.track_of(key) {
            track.leave_out(key.projection);
        }
        self.tracks.remove(&Consumer::alone(key));
    }

    /// The projection follows by itself, or will.
    pub(super) fn goes_alone(&self, key: &Key) -> bool {
        let alone = Consumer::alone(key);
        self.tracks.contains_key(&alone) || self.waiting.contains_key(&alone)
    }

    /// A projection that went alone and stands where the others stand goes with them again.
    pub(super) fn rejoin(&mut self) {
        let alone: Vec<Consumer> =
            self.tracks.keys().filter(|consumer| consumer.alone.is_some()).cloned().collect();
        for consumer in alone {
            let Some(mut track) = self.tracks.remove(&consumer) else { continue };
            let rejoined = self
                .tracks
                .get_mut(&Consumer::of(consumer.place.clone()))
                .is_some_and(|others| others.take_in(&mut track));
            if !rejoined {
                self.tracks.insert(consumer, track);
            }
        }
    }

    /// The log has stopped under it: how often in a row, one time within `soon` after the other.
    pub(super) fn lose(&mut self, consumer: &Consumer, now: Instant, soon: Duration) -> u32 {
        let before = self.lost.get(consumer).filter(|lost| now.duration_since(lost.at) <= soon);
        let times = before.map_or(1, |lost| lost.times.saturating_add(1));
        self.lost.insert(consumer.clone(), Lost { times, at: now });
        times
    }
}
