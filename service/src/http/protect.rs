//! Owns what keeps a process alive under requests: header limits, a bound on requests in flight with load shedding, a time limit, panics.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::error;

use super::settings::HttpSettings;
use crate::clock::Ids;
use crate::json::shorten;
use crate::problem::Problem;
use crate::resilience;

/// Answered however busy we are: who asks decides whether we live.
const ALWAYS: [&str; 3] = ["/livez", "/readyz", "/metrics"];

pub(super) struct Protection {
    in_flight: Arc<Semaphore>,
    timeout: Duration,
    retry_after: Duration,
    header_limit_bytes: usize,
    header_limit_count: usize,
    ids: Arc<dyn Ids>,
}

/// A request that was let in.
pub(super) enum Admitted {
    Always,
    /// Counts until it is dropped.
    InFlight(OwnedSemaphorePermit),
}

impl Protection {
    pub(super) fn new(settings: &HttpSettings, ids: Arc<dyn Ids>) -> Self {
        Self {
            in_flight: Arc::new(Semaphore::new(settings.in_flight_limit.min(Semaphore::MAX_PERMITS))),
            timeout: settings.request_timeout(),
            retry_after: settings.retry_after(),
            header_limit_bytes: settings.header_limit_bytes,
            header_limit_count: settings.header_limit_count,
            ids,
        }
    }

    /// Lets the request in, or says why not.
    pub(super) fn admit(&self, request: &Request) -> Result<Admitted, Problem> {
        self.check_headers(request.headers())?;
        if ALWAYS.contains(&request.uri().path()) {
            return Ok(Admitted::Always);
        }
        Arc::clone(&self.in_flight).try_acquire_owned().map(Admitted::InFlight).map_err(|_| {
            metrics::counter!("highwater_http_shed_total").increment(1);
            let detail = "too many requests are in flight; try again after the given time, with the same Idempotency-Key";
            Problem::unavailable("overloaded", detail, self.retry_after())
        })
    }

    /// Waits for the answer of a request that was let in, but not for ever.
    pub(super) async fn limited<E>(&self, admitted: Admitted, answering: impl Future<Output = Result<Response, E>>) -> Result<Response, E> {
        let Admitted::InFlight(_until_answered) = admitted else { return answering.await };
        match tokio::time::timeout(self.timeout, answering).await {
            Ok(answer) => answer,
            Err(_) => {
                let detail = "the request took too long and its outcome is not known here; try again with the same Idempotency-Key";
                Ok(Problem::unavailable("request.timeout", detail, self.retry_after()).into_response())
            }
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

pub(super) fn panicked(payload: &(dyn Any + Send)) -> Response {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    metrics::counter!("highwater_http_panics_total").increment(1);
    error!(panic = %shorten(text.unwrap_or("without a text")), "a handler panicked");
    Problem::internal().into_response()
}
