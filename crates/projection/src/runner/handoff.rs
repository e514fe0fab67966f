//! The end of a partition: what the group took back is projected further until somebody else moves
//! its checkpoints, so that nobody who waits for a position waits for the group. Safe, because each
//! transaction compares the checkpoints: of two runners one wins.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tracing::info;

use super::{Runner, Step, batch::Place, projection::Store};

/// Once others have begun to take over, and nothing of what is left could be projected here for so
/// long, they have all of it: quiet partitions show nothing.
const THE_REST_WITHIN: Duration = Duration::from_secs(1);

/// How long a runner waits between transactions for what it is to hand off, so that whoever has
/// resumed it moves it first.
const OTHERS_FIRST: Duration = Duration::from_millis(200);

/// What this runner is to hand off.
#[derive(Default)]
pub(super) struct Handoff {
    /// Taken back by the group and projected further, until when at most.
    pub(super) leaving: BTreeMap<Place, Instant>,
    /// Nothing of it is projected before.
    pub(super) others_first: Option<Instant>,
    /// The runner ends, then at the latest.
    leave_by: Option<Instant>,
    /// While it ends: some partition was taken over.
    others_began: bool,
}

impl Handoff {
    pub(super) fn is_leaving(&self, place: &Place) -> bool {
        self.leaving.contains_key(place)
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.leaving.values().min().copied()
    }

    fn ended(&self, now: Instant) -> Vec<Place> {
        let ended = self.leaving.iter().filter(|(_, until)| **until <= now);
        ended.map(|(place, _)| place.clone()).collect()
    }

    /// Whether nothing of it is projected now, because others go first.
    pub(super) fn waits_for_others(&self, now: Instant) -> bool {
        self.others_first.is_some_and(|until| until > now)
    }

    /// Some of it is projected now, and others go first afterwards.
    pub(super) fn let_others_go_first(&mut self, now: Instant) {
        self.others_first = Some(now + OTHERS_FIRST);
    }

    /// A runner that ends waits a little longer.
    pub(super) fn go_on_for_the_rest(&mut self, now: Instant) {
        if let Some(last) = self.leave_by.filter(|_| self.others_began) {
            let until = last.min(now + THE_REST_WITHIN);
            self.leaving.values_mut().for_each(|at| *at = until);
        }
    }
}

impl<S: Store> Runner<S> {
    pub(super) fn begin_handoff(&mut self, place: Place) {
        // What was not begun is begun elsewhere.
        if self.assignment.follows(&place) && !self.limits.handoff.is_zero() {
            self.handoff.leaving.insert(place, Instant::now() + self.limits.handoff);
        } else {
            self.let_go(&place);
        }
    }

    pub(super) fn end_handoffs(&mut self, now: Instant) {
        for place in self.handoff.ended(now) {
            self.let_go(&place);
        }
    }

    /// Whether `place` was to be handed off; then it is another runner's now.
    pub(super) fn was_taken_over(&mut self, place: &Place) -> bool {
        let leaving = self.handoff.is_leaving(place);
        if leaving {
            info!(
                category = %place.category, partition = place.partition, source = ?place.source,
                "taken over"
            );
            self.let_go(place);
            self.handoff.others_began = true;
            self.handoff.go_on_for_the_rest(Instant::now());
        }
        leaving
    }

    /// Leaves the group at once, and projects on until every partition was taken over, or for as
    /// long as that may take.
    pub(super) async fn hand_off_all(&mut self) {
        let left = self.share.leave(self.limits.leave_within);
        self.assignment.waiting.clear();
        self.handoff.others_began = false;
        self.handoff.leave_by = Some(Instant::now() + self.limits.handoff);
        self.assignment.followed().into_iter().for_each(|place| self.begin_handoff(place));
        let rest = async {
            while !self.handoff.leaving.is_empty() {
                if matches!(self.step().await, Step::Waiting | Step::CaughtUp)
                    && !self.handoff.leaving.is_empty()
                {
                    self.wait().await;
                }
            }
        };
        tokio::join!(left, rest);
    }

    fn let_go(&mut self, place: &Place) {
        self.handoff.leaving.remove(place);
        self.drop_work(place);
        self.progress.forget(place);
    }
}
