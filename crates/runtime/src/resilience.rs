//! Owns the waits between attempts, and what is logged while they last. Every retry here has an end
//! or a wait that grows.

use std::{fmt::Display, time::Duration};

use tokio::time::Instant;

use crate::clock::Ids;

/// The waits of a loop that never gives up: they double, up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// After the `attempt`-th failure in a row, from 1.
    pub fn after(&self, attempt: u32) -> Duration {
        let doublings = attempt.clamp(1, DOUBLINGS) - 1;
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// As [`Backoff::after`], between half and the whole of it, so that many do not try together.
    pub fn jittered(&self, attempt: u32, ids: &dyn Ids) -> Duration {
        let full = self.after(attempt);
        full / 2 + full.mul_f64(share(ids)) / 2
    }
}

/// More make no difference to any wait that is sensible.
const DOUBLINGS: u32 = 31;

/// While one state lasts it is said again after so long.
const SAID_AGAIN: Duration = Duration::from_secs(600);

/// One log line for each change of state, however often a loop meets the state between.
/// `highwater_troubles` counts the states that last, `highwater_trouble_met_total` how often they
/// were met.
#[derive(Debug)]
pub struct Once {
    name: &'static str,
    state: Option<State>,
}

#[derive(Debug)]
struct State {
    since: Instant,
    said: Instant,
    last: Instant,
    met: u64,
}

/// What lay between the two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Episode {
    pub met: u64,
    pub lasted: Duration,
}

impl Once {
    /// `name`: the label of the metrics.
    pub fn new(name: &'static str) -> Self {
        Self { name, state: None }
    }

    /// The state is met, for the first time or again. `true`: a line is due.
    pub fn met(&mut self) -> bool {
        metrics::counter!("highwater_trouble_met_total", "trouble" => self.name).increment(1);
        let now = Instant::now();
        let Some(state) = &mut self.state else {
            metrics::gauge!("highwater_troubles", "trouble" => self.name).increment(1.0);
            self.state = Some(State { since: now, said: now, last: now, met: 1 });
            return true;
        };
        state.met += 1;
        state.last = now;
        let due = now.duration_since(state.said) >= SAID_AGAIN;
        if due {
            state.said = now;
        }
        due
    }

    /// It does not hold any more. `Some`: it did, so a line is due.
    pub fn ended(&mut self) -> Option<Episode> {
        let State { since, met, .. } = self.state.take()?;
        metrics::gauge!("highwater_troubles", "trouble" => self.name).decrement(1.0);
        Some(Episode { met, lasted: since.elapsed() })
    }

    /// [`Once::over`], if it was not met for so long: for what nothing says that it ended.
    pub fn over_if_quiet(&mut self, within: Duration, what: &str) {
        if self.state.as_ref().is_some_and(|state| state.last.elapsed() >= within) {
            self.over(what);
        }
    }

    /// [`Once::met`] with the usual line.
    pub fn warn(&mut self, what: &str, error: &dyn Display) {
        if self.met() {
            tracing::warn!(trouble = self.name, error = %error, "{what}; tried again, and not said \
                again while it lasts");
        }
    }

    /// [`Once::ended`] with the usual line.
    pub fn over(&mut self, what: &str) {
        if let Some(Episode { met, lasted }) = self.ended() {
            tracing::info!(trouble = self.name, met, lasted_ms = lasted.as_millis(), "{what}");
        }
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        let _ = self.ended();
    }
}

/// A `Retry-After` between `base` and twice `base`, so that those who were turned away do not
/// return together.
pub fn retry_after(base: Duration, ids: &dyn Ids) -> Duration {
    base.mul_f64(1.0 + share(ids))
}

/// Between 0 and 1.
fn share(ids: &dyn Ids) -> f64 {
    let (random, _) = ids.v4().as_u64_pair();
    // The top bits carry no version.
    f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemIds;

    #[test]
    fn retry_after_stays_between_base_and_twice_base_and_varies() {
        let base = Duration::from_secs(4);
        let waits: Vec<Duration> = (0..200).map(|_| retry_after(base, &SystemIds)).collect();
        assert!(waits.iter().all(|wait| (base..=base * 2).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < base + Duration::from_secs(2)));
        assert!(waits.iter().any(|wait| *wait > base + Duration::from_secs(2)));
    }

    #[test]
    fn a_backoff_doubles_up_to_its_longest_and_never_ends() {
        let backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(5) };
        let waits: Vec<Duration> = (1..=20).map(|attempt| backoff.after(attempt)).collect();
        assert_eq!(waits[..3], [50, 100, 200].map(Duration::from_millis));
        assert!(waits.is_sorted());
        assert_eq!(backoff.after(u32::MAX), backoff.longest);
        let jittered: Vec<Duration> = (0..200).map(|_| backoff.jittered(3, &SystemIds)).collect();
        assert!(
            jittered.iter().all(|wait| (backoff.after(3) / 2..=backoff.after(3)).contains(wait))
        );
        assert!(jittered.iter().any(|wait| *wait != jittered[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_is_said_when_it_begins_when_it_ends_and_rarely_between() {
        let mut away = Once::new("test-away");
        let mut said = 0;
        for _ in 0..3_600 {
            said += u32::from(away.met());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(said, 6);
        assert_eq!(away.ended(), Some(Episode { met: 3_600, lasted: Duration::from_secs(3_600) }));
        assert_eq!(away.ended(), None);
        assert!(away.met());
    }
}
