//! Owns the wait of a start for what others provide: the log, the database. What passes by itself
//! is waited for, within a bound; what only a person can change ends the start at once.

use std::{fmt::Display, time::Duration};

use serde::Deserialize;
use tokio::time::Instant;
use tracing::{info, warn};

/// Section `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StartSettings {
    /// How long a process that starts waits for the log and the database; then it ends with 3.
    pub wait_ms: u64,
}

impl Default for StartSettings {
    fn default() -> Self {
        Self { wait_ms: 60_000 }
    }
}

/// Between two attempts.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_LONGEST: Duration = Duration::from_secs(1);

/// One start's patience: what it waits for shares the time.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    until: Instant,
}

impl StartSettings {
    pub fn patience(&self) -> Patience {
        // Beyond what a clock can say it is for ever.
        let now = Instant::now();
        let until = now
            .checked_add(Duration::from_millis(self.wait_ms))
            .unwrap_or(now + Duration::from_hours(24 * 365));
        Patience { until }
    }
}

impl Patience {
    /// Tries until it succeeds, until an error that does not pass, or as long as patience lasts; an
    /// attempt is not cut. Says what it waits for once, and again where the reason is another one.
    pub async fn until<T, E: Display>(
        &self,
        what: &str,
        may_pass: impl Fn(&E) -> bool,
        mut attempt: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let (began, mut again, mut said) = (Instant::now(), AGAIN_FIRST, String::new());
        loop {
            let error = match attempt().await {
                Err(error) if may_pass(&error) => error,
                ended => {
                    if ended.is_ok() && !said.is_empty() {
                        info!(what, waited_ms = began.elapsed().as_millis(), "is there");
                    }
                    return ended;
                }
            };
            if Instant::now() + again >= self.until {
                warn!(what, %error, waited_ms = began.elapsed().as_millis(), "is not there: no \
                    more patience (start.wait_ms)");
                return Err(error);
            }
            let reason = error.to_string();
            if said != reason {
                warn!(what, error = reason, "is not there yet: waiting for it");
                said = reason;
            }
            tokio::time::sleep(again).await;
            again = (again * 2).min(AGAIN_LONGEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: StartSettings = StartSettings { wait_ms: 60_000 };

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for() {
        let mut attempts = 0;
        let patience = MINUTE.patience();
        let came = patience.until(
            "it",
            |_: &String| true,
            async || {
                attempts += 1;
                if attempts < 20 { Err(format!("attempt {attempts}")) } else { Ok(attempts) }
            },
        );
        assert_eq!(came.await, Ok(20));
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_ends_the_wait_at_once() {
        let (began, mut attempts) = (Instant::now(), 0);
        let patience = MINUTE.patience();
        let ended = patience.until(
            "it",
            |error: &String| error == "away",
            async || {
                attempts += 1;
                Err::<(), _>(if attempts < 3 { "away".to_owned() } else { "wrong".to_owned() })
            },
        );
        assert_eq!(ended.await, Err("wrong".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_has_an_end_that_all_share() {
        let (began, patience) = (Instant::now(), MINUTE.patience());
        let away = async || Err::<(), _>("away".to_owned());
        assert!(patience.until("one", |_| true, away).await.is_err());
        let first = began.elapsed();
        assert!(first > Duration::from_secs(58) && first <= Duration::from_secs(60), "{first:?}");
        assert!(patience.until("two", |_| true, away).await.is_err());
        assert!(began.elapsed() - first < AGAIN_LONGEST, "it has been waited already");
        assert!(StartSettings { wait_ms: 0 }.patience().until("it", |_| true, away).await.is_err());
        assert!(
            StartSettings { wait_ms: u64::MAX }.patience().until > began + Duration::from_hours(24)
        );
    }
}
