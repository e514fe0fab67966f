//! Owns the waits between attempts. Every retry here has an end; must never retry without a bound.

use std::time::Duration;

use backon::ExponentialBuilder;

use crate::clock::Ids;

/// A short fault of something we depend on: five attempts within about two seconds.
pub fn transient() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_factor(2.0)
        .with_max_times(5)
        .with_jitter()
}

/// Something that starts beside us: attempts until `limit` has passed in waits.
pub fn startup(limit: Duration) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_millis(500))
        .with_factor(1.5)
        .without_max_times()
        .with_total_delay(Some(limit))
        .with_jitter()
}

/// A `Retry-After` between `base` and twice `base`, so that those who were turned away do not return together.
pub fn retry_after(base: Duration, ids: &dyn Ids) -> Duration {
    let (random, _) = ids.v4().as_u64_pair();
    // The top bits carry no version.
    let share = f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    base.mul_f64(1.0 + share)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use backon::{BackoffBuilder, Retryable};

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
    fn transient_gives_up_after_five_waits() {
        let waits: Vec<Duration> = transient().build().collect();
        assert_eq!(waits.len(), 5);
        assert!(waits.iter().sum::<Duration>() < Duration::from_secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn startup_ends_near_its_limit() {
        let attempts = AtomicU32::new(0);
        let begun = tokio::time::Instant::now();
        let result: Result<(), &str> = (|| async {
            attempts.fetch_add(1, Ordering::SeqCst);
            Err("not there")
        })
        .retry(startup(Duration::from_secs(5)))
        .await;
        assert!(result.is_err());
        assert!(attempts.load(Ordering::SeqCst) > 5);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
