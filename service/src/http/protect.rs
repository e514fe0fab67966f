//! Owns what keeps a process alive under requests: header limits, a bound on requests in flight with load shedding, a time limit, panics.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tracing::error;

use super::settings::HttpSettings;
use crate::clock::Ids;
use crate::json::shorten;
use crate::problem::Problem;
use crate::resilience;

/// Answered however busy we are: who asks decides whether we live.
const ALWAYS: [&str; 3] = ["/livez", "/readyz", "/metrics"];

pub(super) struct Protection {
    in_flight: Semaphore,
    timeout: Duration,
    retry_after: Duration,
    header_limit_bytes: usize,
    header_limit_count: usize,
    ids: Arc<dyn Ids>,
}

impl Protection {
    pub(super) fn new(settings: &HttpSettings, ids: Arc<dyn Ids>) -> Self {
        Self {
            in_flight: Semaphore::new(settings.in_flight_limit.min(Semaphore::MAX_PERMITS)),
            timeout: settings.request_timeout(),
            retry_after: settings.retry_after(),
            header_limit_bytes: settings.header_limit_bytes,
            header_limit_count: settings.header_limit_count,
            ids,
        }
    }

    fn retry_after(&self) -> Duration {
        resilience::retry_after(self.retry_after, &*self.ids)
    }

    fn check_headers(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if headers.len() <= self.header_limit_count && bytes <= self.header_limit_bytes {
            return Ok(());
        }
        let (count, limit) = (self.header_limit_count, self.header_limit_bytes);
        let detail = format!("a request may have at most {count} headers and {limit} bytes of them");
        Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers.too-large", detail))
    }
}

pub(super) async fn protect(State(protection): State<Arc<Protection>>, request: Request, next: Next) -> Response {
    if let Err(problem) = protection.check_headers(request.headers()) {
        return problem.into_response();
    }
    if ALWAYS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let Ok(_permit) = protection.in_flight.try_acquire() else {
        metrics::counter!("highwater_http_shed_total").increment(1);
        let detail = "too many requests are in flight; try again after the given time, with the same Idempotency-Key";
        return Problem::unavailable("overloaded", detail, protection.retry_after()).into_response();
    };
    match tokio::time::timeout(protection.timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took too long and its outcome is not known here; try again with the same Idempotency-Key";
            Problem::unavailable("request.timeout", detail, protection.retry_after()).into_response()
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the panic layer asks for")]
pub(super) fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    metrics::counter!("highwater_http_panics_total").increment(1);
    error!(panic = %shorten(text.unwrap_or("without a text")), "a handler panicked");
    Problem::internal().into_response()
}
