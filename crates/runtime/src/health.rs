//! Owns `/livez`, `/readyz` and `/metrics`. Liveness must never depend on anything outside the
//! process; readiness is off while draining.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::{BoxFuture, join_all};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;
use crate::shutdown::Shutdown;

/// Answered however busy we are: who asks decides whether we live.
pub(crate) const PATHS: [&str; 3] = ["/livez", "/readyz", "/metrics"];
const CHECK_LIMIT: Duration = Duration::from_secs(2);
const CACHED_FOR: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What a failing check means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
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
    checks: Arc<RwLock<BTreeMap<String, Arc<Registered>>>>,
    draining: CancellationToken,
    metrics: Option<Arc<Rendered>>,
}

/// The text of all metrics, which costs its time and its memory once in a while, however often it
/// is asked for.
struct Rendered {
    handle: PrometheusHandle,
    last: Mutex<Option<(Instant, Bytes)>>,
}

struct Registered {
    required: Required,
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
            metrics: metrics.map(Rendered::new),
        }
    }

    /// A later registration under the same name replaces the earlier.
    pub fn register(&self, name: &str, required: Required, check: Check) {
        let registered = Arc::new(Registered { required, check, last: Mutex::new(None) });
        self.checks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), registered);
    }

    /// Runs all checks at once, each within its limit; a result is used for about a second.
    pub async fn report(&self) -> Report {
        let checks: Vec<(String, Arc<Registered>)> = {
            let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner);
            checks.iter().map(|(name, registered)| (name.clone(), Arc::clone(registered))).collect()
        };
        let results = join_all(checks.iter().map(|(_, registered)| registered.result())).await;
        let mut report = Report { draining: self.draining.is_cancelled(), ..Report::default() };
        for ((name, registered), result) in checks.into_iter().zip(results) {
            let Err(reason) = result else { continue };
            match registered.required {
                Required::Ready => report.missing.insert(name, reason),
                Required::Degraded => report.degraded.insert(name, reason),
            };
        }
        report
    }

    /// `/livez`, `/readyz`, `/metrics`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/livez", get(|| async { axum::Json(json!({ "status": "alive" })) }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }
}

impl Rendered {
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

impl Registered {
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

async fn readyz(State(health): State<Health>) -> Response {
    let report = health.report().await;
    if report.ready() {
        let status = if report.degraded.is_empty() { "ready" } else { "degraded" };
        return axum::Json(json!({ "status": status, "degraded": report.degraded }))
            .into_response();
    }
    let detail = if report.draining {
        "the process is draining"
    } else {
        "the process is not ready; the member missing says why"
    };
    Problem::fixed(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail)
        .with("missing", json!(report.missing))
        .with("degraded", json!(report.degraded))
        .with("draining", json!(report.draining))
        .retry_after(RETRY_AFTER)
        .into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    let Some(rendered) = &health.metrics else {
        return Problem::not_found("metrics.off", "this process records no metrics")
            .into_response();
    };
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], rendered.text().await).into_response()
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
