//! Owns `/livez`, `/readyz` and `/metrics`. Liveness must never depend on anything outside the
//! process.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use highwater_runtime::health::Health;
use serde_json::json;

use crate::problem::Problem;

/// Answered however busy we are: the client that asks decides whether we live.
pub(crate) const PATHS: [&str; 3] = ["/livez", "/readyz", "/metrics"];
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The routes, without the layers around them.
pub fn routes(health: &Health) -> Router {
    Router::new()
        .route("/livez", get(|| async { axum::Json(json!({ "status": "alive" })) }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health.clone())
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
    let Some(text) = health.metrics().await else {
        return Problem::not_found("metrics.off", "this process records no metrics")
            .into_response();
    };
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
