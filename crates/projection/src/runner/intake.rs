//! What changes hands and what arrives: assignments, and what the log brought as groups of jobs.

use super::{batch::Room, *};

impl Lane {
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
                    // It may have been given back before it was handed over.
                    self.leaving.remove(&place);
                    // Projections that go alone follow by themselves; the others need a lane all
                    // the same.
                    let lane = Lane::of(place);
                    if !self.tracks.contains_key(&lane) && !self.waiting.contains_key(&lane) {
                        self.waiting.insert(lane, Attempts::default());
                    }
                }
            }
            Change::Gone(places) => {
                for place in places {
                    info!(
                        category = %place.category, partition = place.partition,
                        source = ?place.source, "revoked"
                    );
                    self.begin_hand_over(place);
                }
            }
        }
    }

    /// What is read but not projected is read again by whoever follows next.
    pub(super) fn drop_work(&mut self, place: &Place) {
        self.tracks.retain(|lane, _| lane.place != *place);
        self.waiting.retain(|lane, _| lane.place != *place);
        self.troubled.retain(|key, _| key.place != *place);
        self.lost.retain(|lane, _| lane.place != *place);
        self.drop_jobs(|job| job.key.place == *place);
    }

    pub(super) fn drop_jobs(&mut self, dropped: impl Fn(&Job) -> bool) {
        self.queue.iter_mut().for_each(|group| group.jobs.retain(|job| !dropped(job)));
        self.queue.retain(|group| !group.jobs.is_empty());
    }

    pub(super) fn to_take_up(&self, now: Instant) -> Vec<Lane> {
        let due = self
            .waiting
            .iter()
            .filter(|(_, attempts)| attempts.not_before.is_none_or(|at| at <= now));
        let mut due: Vec<Lane> = due.map(|(lane, _)| lane.clone()).collect();
        // Readers wait for events.
        due.sort_by_key(|lane| lane.place.source != Source::Events);
        due.truncate(self.limits.take_up_at_once.max(1));
        due
    }

    /// The track that holds the checkpoint of `key`.
    pub(super) fn track_of(&mut self, key: &Key) -> Option<&mut Track> {
        let alone = Lane::alone(key);
        let lane =
            if self.tracks.contains_key(&alone) { alone } else { Lane::of(key.place.clone()) };
        self.tracks.get_mut(&lane)
    }

    /// Everything that has arrived, as one group; who goes alone has one of its own, after it.
    pub(super) fn gather(&mut self) {
        self.rejoin();
        let mut room = Room { events: self.limits.batch_events, bytes: self.limits.batch_bytes };
        let (mut together, mut alone) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        let now = Instant::now();
        let others_first = self.others_first.is_some_and(|until| until > now);
        for (lane, track) in &mut self.tracks {
            if self.leaving.contains_key(&lane.place) {
                if others_first {
                    continue;
                }
                self.others_first = Some(now + hand_over::OTHERS_FIRST);
            }
            room = track.take_arrived(room);
            let taken = track.take_jobs();
            match lane.alone {
                None => together.extend(taken),
                Some(_) => alone.push(taken),
            }
            if let Some(end) = track.take_end() {
                ended.push((lane.clone(), end));
            }
        }
        let groups = std::iter::once(together).chain(alone);
        self.queue.extend(groups.filter(|jobs| !jobs.is_empty()).map(Group::of));
        for (lane, end) in ended {
            self.lost_the_log(lane, &end);
        }
    }

    /// A projection that went alone and stands where the others stand goes with them again.
    fn rejoin(&mut self) {
        let alone: Vec<Lane> =
            self.tracks.keys().filter(|lane| lane.alone.is_some()).cloned().collect();
        for lane in alone {
            let Some(mut track) = self.tracks.remove(&lane) else { continue };
            let rejoined = self
                .tracks
                .get_mut(&Lane::of(lane.place.clone()))
                .is_some_and(|others| others.take_in(&mut track));
            if !rejoined {
                self.tracks.insert(lane, track);
            }
        }
    }
}
