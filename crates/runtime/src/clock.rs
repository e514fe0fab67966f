//! Owns time and randomness: the only readers of the system's clock and id generators.
//! Everything else takes a [`Clock`] or [`Ids`], so that tests and simulation are deterministic.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// Wall-clock time.
pub trait Clock: Send + Sync {
    /// Microseconds since the Unix epoch.
    fn now(&self) -> i64;
}

/// Fresh ids.
pub trait Ids: Send + Sync {
    /// A time-ordered id (RFC 9562, version 7).
    fn v7(&self) -> Uuid;
    /// A random id (RFC 9562, version 4).
    fn v4(&self) -> Uuid;
}

/// The clock of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> i64 {
        let now = SystemTime::now();
        match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros)
            }
        }
    }
}

/// Ids from the machine's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemIds;

impl Ids for SystemIds {
    #[expect(clippy::disallowed_methods, reason = "the one place that makes time-ordered ids")]
    fn v7(&self) -> Uuid {
        Uuid::now_v7()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that makes random ids")]
    fn v4(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// A clock that moves only when told to, for tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `micros` since the Unix epoch.
    pub const fn at(micros: i64) -> Self {
        Self(AtomicI64::new(micros))
    }

    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }

    /// May also go back, as a machine's clock does.
    pub fn set(&self, micros: i64) {
        self.0.store(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Ids that count up from one, for tests.
#[derive(Debug, Default)]
pub struct CountingIds(AtomicU64);

impl CountingIds {
    fn bytes(&self) -> [u8; 16] {
        let next = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        u128::from(next).to_be_bytes()
    }
}

impl Ids for CountingIds {
    fn v7(&self) -> Uuid {
        let mut bytes = self.bytes();
        bytes[6] = 0x70;
        bytes[8] |= 0x80;
        Uuid::from_bytes(bytes)
    }

    fn v4(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_counts_microseconds_since_1970() {
        let year_2020 = 1_577_836_800_000_000;
        let year_2200 = 7_258_118_400_000_000;
        let now = SystemClock.now();
        assert!((year_2020..year_2200).contains(&now), "{now}");
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(5);
        assert_eq!(clock.now(), 5);
        clock.advance(Duration::from_millis(2));
        assert_eq!(clock.now(), 2_005);
        clock.set(1);
        assert_eq!(clock.now(), 1);
    }

    #[test]
    fn ids_differ_and_carry_their_version() {
        for ids in [&SystemIds as &dyn Ids, &CountingIds::default()] {
            let (a, b, c) = (ids.v7(), ids.v7(), ids.v4());
            assert_ne!(a, b);
            assert_eq!((a.get_version_num(), c.get_version_num()), (7, 4));
            assert!(a < b, "version 7 ids sort by time");
        }
    }
}
