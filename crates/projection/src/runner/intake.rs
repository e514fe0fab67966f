//! What changes hands and what arrives: assignments, and what the log brought as groups of jobs.

use super::{batch::Room, *};

impl Consumer {
    pub(super) fn of(place: Place) -> Self {
        Self { place, alone: None }
    }

    pub(super) fn alone(key: &Key) -> Self {
        Self { place: key.place.clone(), alone: Some(key.projection) }
    }
}

impl<S: Store> Runner<S> {
    pub(super) fn heed(&mut self, change: Change) {
        match change {
            Change::Gained(places) => {
                for place in places {
                    info!(
                        category = %place.category, partition = place.partition,
                        source = ?place.source, "assigned"
                    );
                    // It may have been given back before it was handed off.
                    self.leaving.remove(&place);
                    // Projections that go alone follow by themselves; the others need a
                    // consumer all the same.
                    let consumer = Consumer::of(place);
                    if !self.tracks.contains_key(&consumer) && !self.waiting.contains_key(&consumer)
                    {
                        self.waiting.insert(consumer, Attempts::default());
                    }
                }
            }
            Change::Gone(places) => {
                for place in places {
                    info!(
                        category = %place.category, partition = place.partition,
                        source = ?place.source, "revoked"
                    );
                    self.begin_handoff(place);
                }
            }
        }
    }

    /// What is read but not projected is read again by whoever follows next.
    pub(super) fn drop_work(&mut self, place: &Place) {
        self.tracks.retain(|consumer, _| consumer.place != *place);
        self.waiting.retain(|consumer, _| consumer.place != *place);
        self.troubled.retain(|key, _| key.place != *place);
        self.lost.retain(|consumer, _| consumer.place != *place);
        self.drop_jobs(|job| job.key.place == *place);
    }

    pub(super) fn drop_jobs(&mut self, dropped: impl Fn(&Job) -> bool) {
        self.queue.iter_mut().for_each(|group| group.jobs.retain(|job| !dropped(job)));
        self.queue.retain(|group| !group.jobs.is_empty());
    }

    pub(super) fn to_resume(&self, now: Instant) -> Vec<Consumer> {
        let due = self
            .waiting
            .iter()
            .filter(|(_, attempts)| attempts.not_before.is_none_or(|at| at <= now));
        let mut due: Vec<Consumer> = due.map(|(consumer, _)| consumer.clone()).collect();
        // Readers wait for events.
        due.sort_by_key(|consumer| consumer.place.source != Source::Events);
        due.truncate(self.limits.resume_at_once.max(1));
        due
    }

    /// The track that holds the checkpoint of `key`.
    pub(super) fn track_of(&mut self, key: &Key) -> Option<&mut Track> {
        let alone = Consumer::alone(key);
        let consumer =
            if self.tracks.contains_key(&alone) { alone } else { Consumer::of(key.place.clone()) };
        self.tracks.get_mut(&consumer)
    }

    /// Everything that has arrived, as one group; who goes alone has one of its own, after it.
    pub(super) fn gather(&mut self) {
        self.rejoin();
        let mut room = Room { events: self.limits.batch_events, bytes: self.limits.batch_bytes };
        let (mut together, mut alone) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        let now = Instant::now();
        let others_first = self.others_first.is_some_and(|until| until > now);
        for (consumer, track) in &mut self.tracks {
            if self.leaving.contains_key(&consumer.place) {
                if others_first {
                    continue;
                }
                self.others_first = Some(now + handoff::OTHERS_FIRST);
            }
            room = track.take_arrived(room);
            let taken = track.take_jobs();
            match consumer.alone {
                None => together.extend(taken),
                Some(_) => alone.push(taken),
            }
            if let Some(end) = track.take_end() {
                ended.push((consumer.clone(), end));
            }
        }
        let groups = std::iter::once(together).chain(alone);
        self.queue.extend(groups.filter(|jobs| !jobs.is_empty()).map(Group::of));
        for (consumer, end) in ended {
            self.lost_the_log(consumer, &end);
        }
    }

    /// A projection that went alone and stands where the others stand goes with them again.
    fn rejoin(&mut self) {
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
}
