//! What changes hands and what arrives: assignments, and what the log brought as groups of jobs.

use tokio::time::Instant;
use tracing::info;

use super::{
    Runner,
    batch::{Place, Room},
    membership::Change,
    projection::Store,
};

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
                    self.handoff.leaving.remove(&place);
                    self.assignment.gain(place);
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
        self.assignment.drop_place(place);
        self.schedule.drop_jobs(|job| job.key.place == *place);
    }

    /// Everything that has arrived, as one group; who goes alone has one of its own, after it.
    pub(super) fn gather(&mut self) {
        self.assignment.rejoin();
        let mut room = Room { events: self.limits.batch_events, bytes: self.limits.batch_bytes };
        let (mut together, mut alone) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        let now = Instant::now();
        let others_first = self.handoff.waits_for_others(now);
        for (consumer, track) in &mut self.assignment.tracks {
            if self.handoff.is_leaving(&consumer.place) {
                if others_first {
                    continue;
                }
                self.handoff.let_others_go_first(now);
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
        self.schedule.last(std::iter::once(together).chain(alone));
        for (consumer, end) in ended {
            self.lost_the_log(consumer, &end);
        }
    }
}
