//! How fast the fences of one partition follow each other: a log that takes none would be asked as
//! fast as it says no.

use std::time::Duration;

use highwater_runtime::{clock::Ids, resilience::Backoff};
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// One soon after the other, before the present one.
    before: u32,
    last: Option<Instant>,
}

impl Pace {
    /// How long the next fence has to wait: not at all, unless there was one a short while ago;
    /// then longer each time.
    pub(super) fn next(&mut self, waits: Backoff, ids: &dyn Ids) -> Duration {
        let now = Instant::now();
        let soon =
            self.last.is_some_and(|last| now.saturating_duration_since(last) <= waits.longest * 2);
        self.before = if soon { self.before.saturating_add(1) } else { 0 };
        let wait = if self.before == 0 { Duration::ZERO } else { waits.jittered(self.before, ids) };
        self.last = Some(now + wait);
        wait
    }

    /// This fence is not one of many.
    pub(super) fn is_calm(&self) -> bool {
        self.before <= 1
    }
}

#[cfg(test)]
mod tests {
    use highwater_runtime::clock::SystemIds;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fences_wait_longer_each_time_until_one_has_held() {
        let waits = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };
        let (mut pace, mut times) = (Pace::default(), 0);
        assert_eq!(pace.next(waits, &SystemIds), Duration::ZERO);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3_600) && times < 10_000 {
            tokio::time::sleep(pace.next(waits, &SystemIds)).await;
            times += 1;
        }
        assert!((720..1_500).contains(&times), "{times} fences in an hour");
        assert!(!pace.is_calm());
        // It counts from when the fence goes, and not from when it was asked for.
        tokio::time::sleep(pace.next(waits, &SystemIds) + Duration::from_secs(9)).await;
        let wait = pace.next(waits, &SystemIds);
        assert!(
            wait > Duration::ZERO,
            "one of {:?} ago is a short while ago",
            Duration::from_secs(9)
        );
        tokio::time::sleep(wait + Duration::from_secs(11)).await;
        assert_eq!(pace.next(waits, &SystemIds), Duration::ZERO);
        assert!(pace.is_calm());
    }
}
