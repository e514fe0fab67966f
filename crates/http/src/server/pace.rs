//! How slowly a body may come.

use std::time::Duration;

use tokio::time::Instant;

/// How fast a body must come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// All of it within this.
    pub(super) within: Duration,
    /// After this, at least `rate` ...
    pub(super) grace: Duration,
    /// ... bytes a second, counted from then.
    pub(super) rate: u64,
}

impl Pace {
    pub(super) fn look_every(&self) -> Duration {
        self.grace.min(self.within).max(LOOK_EVERY)
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug)]
pub(super) struct Reception {
    pub(super) begun: Instant,
    pub(super) received: usize,
}

impl Reception {
    /// When to look again; `None`: it is too slow.
    pub(super) fn look(&self, now: Instant, pace: &Pace) -> Option<Instant> {
        let took = now - self.begun;
        let owed =
            took.saturating_sub(pace.grace).as_millis().saturating_mul(u128::from(pace.rate))
                / 1_000;
        if took >= pace.within || owed > self.received as u128 {
            return None;
        }
        let next = if took < pace.grace { self.begun + pace.grace } else { now };
        Some((next + LOOK_EVERY).min(self.begun + pace.within))
    }
}
