//! The end of a partition: what the group took back is projected further until somebody else moves
//! its checkpoints, so that nobody who waits for a position waits for the group. Safe, because each
//! transaction compares the checkpoints: of two runners one wins.

use super::*;

/// Once others have begun to take over, and nothing of what is left could be projected here for so
/// long, they have all of it: quiet partitions show nothing.
const THE_REST_WITHIN: Duration = Duration::from_secs(1);

/// How long a runner waits between transactions for what it is to hand off, so that whoever has
/// resumed it moves it first.
pub(super) const OTHERS_FIRST: Duration = Duration::from_millis(200);

impl<S: Store> Runner<S> {
    pub(super) fn begin_handoff(&mut self, place: Place) {
        // What was not begun is begun elsewhere.
        let followed = self.tracks.keys().any(|consumer| consumer.place == place);
        if followed && !self.limits.handoff.is_zero() {
            self.leaving.insert(place, Instant::now() + self.limits.handoff);
        } else {
            self.let_go(&place);
        }
    }

    pub(super) fn end_handoffs(&mut self, now: Instant) {
        let ended: Vec<Place> = self
            .leaving
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(place, _)| place.clone())
            .collect();
        for place in ended {
            self.let_go(&place);
        }
    }

    /// Whether `place` was to be handed off; then it is another runner's now.
    pub(super) fn was_taken_over(&mut self, place: &Place) -> bool {
        let leaving = self.leaving.contains_key(place);
        if leaving {
            info!(
                category = %place.category, partition = place.partition, source = ?place.source,
                "taken over"
            );
            self.let_go(place);
            self.others_began = true;
            self.go_on_for_the_rest();
        }
        leaving
    }

    /// Leaves the group at once, and projects on until every partition was taken over, or for as
    /// long as that may take.
    pub(super) async fn hand_off_all(&mut self) {
        let left = self.share.leave(self.limits.leave_within);
        self.waiting.clear();
        self.others_began = false;
        self.leave_by = Some(Instant::now() + self.limits.handoff);
        let places: BTreeSet<Place> =
            self.tracks.keys().map(|consumer| consumer.place.clone()).collect();
        places.into_iter().for_each(|place| self.begin_handoff(place));
        let rest = async {
            while !self.leaving.is_empty() {
                if matches!(self.step().await, Step::Waiting | Step::CaughtUp)
                    && !self.leaving.is_empty()
                {
                    self.wait().await;
                }
            }
        };
        tokio::join!(left, rest);
    }

    fn let_go(&mut self, place: &Place) {
        self.leaving.remove(place);
        self.drop_work(place);
        self.progress.forget(place);
    }

    /// A runner that ends waits a little longer.
    pub(super) fn go_on_for_the_rest(&mut self) {
        if let Some(last) = self.leave_by.filter(|_| self.others_began) {
            let until = last.min(Instant::now() + THE_REST_WITHIN);
            self.leaving.values_mut().for_each(|at| *at = until);
        }
    }
}
