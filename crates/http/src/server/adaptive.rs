//! How many requests of a kind may be answered at once, from how long they take. A pure state
//! machine: time comes in with the answers.
//!
//! Additive increase, multiplicative decrease (Chiu and Jain, 1989) on a threshold of latency, as
//! the AIMD limit of Netflix's concurrency-limits: the limit falls by a quarter after a window in
//! which most answers were slow, and grows by a tenth after any other. No gradient against the
//! quickest answer seen: a group commit answers 256 at once ten times slower than one alone and is
//! not overloaded by them. What is still slow at the floor is not of our making (a log far away, a
//! slow disk): the threshold doubles.

use std::time::Duration;

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_millis(500);
/// A window does not end before it has so many answers.
const ANSWERS: u32 = 16;
/// The threshold rises to at most so many times the target.
const RISE: u32 = 16;

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) floor: usize,
    pub(super) ceiling: usize,
    /// Answers that take longer are slow, unless they are so at the floor.
    pub(super) target: Duration,
}

#[derive(Debug)]
pub(super) struct Adaptive {
    bounds: Bounds,
    limit: usize,
    threshold: Duration,
    /// Answers before this count for nothing: their requests were let in under another limit.
    from: Option<Instant>,
    window: Window,
}

#[derive(Debug, Default)]
struct Window {
    answers: u32,
    slow: u32,
    /// Within a quarter of the threshold.
    quick: u32,
}

impl Adaptive {
    /// Begins at the ceiling: what comes at once is let in until it shows that it is too much.
    pub(super) fn new(bounds: Bounds) -> Self {
        let bounds = Bounds { floor: bounds.floor.min(bounds.ceiling), ..bounds };
        Self {
            bounds,
            limit: bounds.ceiling,
            threshold: bounds.target,
            from: None,
            window: Window::default(),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes notice of an answer; says whether the limit has changed.
    pub(super) fn answered(&mut self, now: Instant, took: Duration) -> bool {
        let from = *self.from.get_or_insert(now);
        if now < from {
            return false;
        }
        self.window.answers += 1;
        self.window.slow += u32::from(took > self.threshold);
        self.window.quick += u32::from(took <= self.threshold / 4);
        if now < from + WINDOW || self.window.answers < ANSWERS {
            return false;
        }
        let before = self.limit;
        self.judge(now);
        self.limit != before
    }

    fn judge(&mut self, now: Instant) {
        let Window { answers, slow, quick } = std::mem::take(&mut self.window);
        let Bounds { floor, ceiling, target } = self.bounds;
        self.from = Some(now);
        if slow.saturating_mul(2) <= answers {
            self.limit = (self.limit + (self.limit / 10).max(1)).min(ceiling);
            if quick.saturating_mul(2) > answers {
                self.threshold = (self.threshold / 2).max(target);
            }
        } else if self.limit > floor {
            self.limit = (self.limit / 4 * 3).max(floor);
            // Those who are inside were let in before.
            self.from = Some(now + self.threshold);
        } else {
            self.threshold = (self.threshold * 2).min(target * RISE);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { floor: 64, ceiling: 1_024, target: Duration::from_millis(200) };

    /// A server that answers `rate` requests a second and finds as many to answer as it lets in: a
    /// request takes as long as the queue before it, and no less than `least`. Ends after
    /// `seconds`.
    fn flooded(
        adaptive: &mut Adaptive,
        clock: &mut Instant,
        rate: f64,
        least: Duration,
        seconds: u64,
    ) {
        let end = *clock + Duration::from_secs(seconds);
        while *clock < end {
            *clock += Duration::from_secs_f64(1.0 / rate);
            #[expect(clippy::cast_precision_loss, reason = "a limit is small")]
            let queue = Duration::from_secs_f64(adaptive.limit() as f64 / rate);
            adaptive.answered(*clock, queue.max(least));
        }
    }

    #[test]
    fn what_is_answered_in_time_is_never_cut() {
        let (mut adaptive, mut clock) = (Adaptive::new(BOUNDS), Instant::now());
        flooded(&mut adaptive, &mut clock, 10_000.0, Duration::from_millis(15), 60);
        assert_eq!(adaptive.limit(), 1_024);
    }

    #[test]
    fn overload_is_cut_to_what_is_answered_near_the_target_and_comes_back_when_it_is_over() {
        let (mut adaptive, mut clock) = (Adaptive::new(BOUNDS), Instant::now());
        flooded(&mut adaptive, &mut clock, 1_000.0, Duration::from_millis(2), 20);
        assert!((150..=240).contains(&adaptive.limit()), "{}", adaptive.limit());
        flooded(&mut adaptive, &mut clock, 20_000.0, Duration::from_millis(2), 20);
        assert_eq!(adaptive.limit(), 1_024);
    }

    #[test]
    fn what_is_slow_at_the_floor_is_not_taken_for_overload() {
        let (mut adaptive, mut clock) = (Adaptive::new(BOUNDS), Instant::now());
        // 500 ms to another continent, whatever is let in.
        flooded(&mut adaptive, &mut clock, 2_500.0, Duration::from_millis(500), 60);
        assert_eq!(adaptive.limit(), 1_024);
        // Back home the threshold falls again, and overload is seen as before.
        flooded(&mut adaptive, &mut clock, 20_000.0, Duration::from_millis(2), 20);
        assert_eq!(adaptive.threshold, BOUNDS.target);
    }

    proptest! {
        #[test]
        fn the_limit_stays_within_its_bounds(
            floor in 1_usize..200,
            ceiling in 1_usize..2_000,
            answers in prop::collection::vec((0_u64..400, 0_u64..20_000), 0..500),
        ) {
            let bounds = Bounds { floor, ceiling, ..BOUNDS };
            let (mut adaptive, mut clock) = (Adaptive::new(bounds), Instant::now());
            for (after, took) in answers {
                clock += Duration::from_millis(after);
                adaptive.answered(clock, Duration::from_millis(took));
                prop_assert!((floor.min(ceiling)..=ceiling).contains(&adaptive.limit()));
                prop_assert!((BOUNDS.target..=BOUNDS.target * RISE).contains(&adaptive.threshold));
            }
        }
    }
}
