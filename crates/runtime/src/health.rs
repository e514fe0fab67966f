//! Owns what a process says of itself: the checks, and the text of its metrics. Readiness is off
//! while draining.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::shutdown::Shutdown;

const CHECK_LIMIT: Duration = Duration::from_secs(2);
const CACHED_FOR: Duration = Duration::from_secs(1);

/// What a failing check means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Not ready without it.
    Ready,
    /// Ready, but `degraded` names it.
    Degraded,
}

/// Answers what is wrong, in words for an operator that hold no secret.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The registry of checks. Clones share it.
#[derive(Clone)]
pub struct Health {
    checks: Arc<RwLock<BTreeMap<String, Arc<RegisteredCheck>>>>,
    draining: CancellationToken,
    metrics: Option<Arc<MetricsText>>,
}

/// The text of all metrics, which costs its time and its memory once in a while, however often it
/// is asked for.
struct MetricsText {
    handle: PrometheusHandle,
    last: Mutex<Option<(Instant, Bytes)>>,
}

struct RegisteredCheck {
    required: Requirement,
    check: Check,
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

/// What is wrong now, by check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub draining: bool,
    pub missing: BTreeMap<String, String>,
    pub degraded: BTreeMap<String, String>,
}

impl Report {
    pub fn ready(&self) -> bool {
        !self.draining && self.missing.is_empty()
    }
}

impl Health {
    pub fn new(shutdown: &Shutdown, metrics: Option<PrometheusHandle>) -> Self {
        Self {
            checks: Arc::default(),
            draining: shutdown.leaving.clone(),
            metrics: metrics.map(MetricsText::new),
        }
    }

    /// A later registration under the same name replaces the earlier.
    pub fn register(&self, name: &str, required: Requirement, check: Check) {
        let registered = Arc::new(RegisteredCheck { required, check, last: Mutex::new(None) });
        self.checks.write().insert(name.to_owned(), registered);
    }

    /// Runs all checks at once, each within its limit; a result is used for about a second.
    pub async fn report(&self) -> Report {
        let checks: Vec<(String, Arc<RegisteredCheck>)> = {
            let checks = self.checks.read();
            checks.iter().map(|(name, registered)| (name.clone(), Arc::clone(registered))).collect()
        };
        let results = join_all(checks.iter().map(|(_, registered)| registered.result())).await;
        let mut report = Report { draining: self.draining.is_cancelled(), ..Report::default() };
        for ((name, registered), result) in checks.into_iter().zip(results) {
            let Err(reason) = result else { continue };
            match registered.required {
                Requirement::Ready => report.missing.insert(name, reason),
                Requirement::Degraded => report.degraded.insert(name, reason),
            };
        }
        report
    }

    /// The text of all metrics, if this process records any.
    pub async fn metrics(&self) -> Option<Bytes> {
        match &self.metrics {
            Some(rendered) => Some(rendered.text().await),
            None => None,
        }
    }
}

impl MetricsText {
    fn new(handle: PrometheusHandle) -> Arc<Self> {
        Arc::new(Self { handle, last: Mutex::new(None) })
    }

    async fn text(&self) -> Bytes {
        let mut last = self.last.lock().await;
        if let Some((at, text)) = &*last
            && at.elapsed() < CACHED_FOR
        {
            return text.clone();
        }
        let text = Bytes::from(self.handle.render());
        *last = Some((Instant::now(), text.clone()));
        text
    }
}

impl RegisteredCheck {
    async fn result(&self) -> Result<(), String> {
        // Held while the check runs: probes that come together share one run.
        let mut last = self.last.lock().await;
        if let Some((at, result)) = &*last
            && at.elapsed() < CACHED_FOR
        {
            return result.clone();
        }
        let limit = format!("no answer within {} ms", CHECK_LIMIT.as_millis());
        let result = tokio::time::timeout(CHECK_LIMIT, (self.check)()).await.unwrap_or(Err(limit));
        *last = Some((Instant::now(), result.clone()));
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_check_runs_at_most_once_a_second_and_within_its_limit() {
        let health = Health::new(&Shutdown::new(), None);
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        let check: Check = Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(std::future::pending())
        });
        health.register("hung", Requirement::Ready, check);
        let (first, second) = tokio::join!(health.report(), health.report());
        assert_eq!(first.missing["hung"], "no answer within 2000 ms");
        assert_eq!((first, runs.load(Ordering::SeqCst)), (second, 1));
        tokio::time::advance(CACHED_FOR).await;
        health.report().await;
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_text_of_the_metrics_is_made_once_a_second() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let rendered = MetricsText::new(recorder.handle());
        let count = || {
            metrics::with_local_recorder(&recorder, || {
                metrics::counter!("asked_total").increment(1)
            })
        };
        count();
        let first = rendered.text().await;
        count();
        // The same memory, not only the same text.
        assert_eq!(rendered.text().await.as_ptr(), first.as_ptr());
        tokio::time::advance(CACHED_FOR).await;
        assert!(String::from_utf8_lossy(&rendered.text().await).contains("asked_total 2"));
    }
}
