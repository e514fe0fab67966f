//! Owns what is seen of a request from outside its handler: trace context, log line, metrics, and the last form of a problem.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::{Instrument, debug, info, info_span, warn};

use super::trace::{TRACEPARENT, TraceContext};
use crate::clock::Ids;
use crate::json::shorten;
use crate::problem::{MEDIA_TYPE, Problem};

/// How much of a framework's own error text is read.
const LONGEST_REJECTION: usize = 1_024;

pub(super) struct Observer {
    pub(super) ids: Arc<dyn Ids>,
}

pub(super) async fn observe(State(observer): State<Arc<Observer>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let trace = TraceContext::from_headers(request.headers(), &*observer.ids);
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = info_span!("request", trace_id = %trace.trace_id, method = %method, route = %route);
    request.extensions_mut().insert(trace.clone());
    let answer = next.run(request).instrument(span.clone()).await;
    let mut response = as_problem(answer, &path, &trace).await;
    if let Some(value) = trace.to_header() {
        response.headers_mut().insert(TRACEPARENT, value);
    }
    let _entered = span.enter();
    record(&route, &method, &path, &response, begun.elapsed(), &trace);
    response
}

fn record(route: &str, method: &Method, path: &str, response: &Response, took: Duration, trace: &TraceContext) {
    let status = response.status();
    let labels = [("route", route.to_owned()), ("method", known(method)), ("status", status.as_str().to_owned())];
    metrics::counter!("highwater_http_requests_total", &labels).increment(1);
    metrics::histogram!("highwater_http_request_duration_seconds", &labels[..2]).record(took.as_secs_f64());
    let code = response.extensions().get::<Problem>().map_or("", Problem::code);
    let (path, took_us) = (shorten(path), u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    let (status_code, trace_id) = (status.as_u16(), trace.trace_id.as_str());
    // Levels by what an operator wants by default: failures and refusals, not every success.
    if status.is_server_error() {
        warn!(http.path = %path, http.status = status_code, code, took_us, trace_id, "answered with a failure");
    } else if status.is_client_error() {
        info!(http.path = %path, http.status = status_code, code, took_us, trace_id, "refused");
    } else {
        debug!(http.path = %path, http.status = status_code, took_us, trace_id, "answered");
    }
}

/// Any token can be a method; a label must not grow with what callers invent.
fn known(method: &Method) -> String {
    let standard = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    if standard.contains(method) { method.as_str().to_owned() } else { "other".to_owned() }
}

/// Every 4xx and 5xx leaves as a problem that knows its instance and trace.
async fn as_problem(mut response: Response, path: &str, trace: &TraceContext) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (instance, trace_id) = (shorten(path), trace.trace_id.as_str());
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let told = response.headers().clone();
        return with_headers(problem.into_response_for(Some(&instance), Some(trace_id)), &told);
    }
    if is_problem(&response) {
        return response;
    }
    let told = response.headers().clone();
    let is_text = told.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    let text = if is_text { rejection_text(response).await } else { String::new() };
    with_headers(from_status(status, &text).into_response_for(Some(&instance), Some(trace_id)), &told)
}

/// One that is written already was relayed from another instance, for the same path and in the same trace: its code and members
/// are the caller's answer.
fn is_problem(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(MEDIA_TYPE.as_bytes()))
}

/// Keeps what the answer said besides its body: `Allow`, `Idempotency-Key`, `Retry-After` ...
fn with_headers(mut response: Response, told: &HeaderMap) -> Response {
    let of_the_body = [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::TRANSFER_ENCODING];
    for name in told.keys().filter(|name| !of_the_body.contains(name)) {
        let values: Vec<HeaderValue> = told.get_all(name).iter().cloned().collect();
        response.headers_mut().remove(name);
        values.into_iter().for_each(|value| {
            response.headers_mut().append(name.clone(), value);
        });
    }
    response
}

async fn rejection_text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), LONGEST_REJECTION).await.unwrap_or_default();
    shorten(&String::from_utf8_lossy(&bytes))
}

/// An error that did not come from our own code: an extractor of the framework.
fn from_status(status: StatusCode, text: &str) -> Problem {
    let code = match status {
        StatusCode::BAD_REQUEST => "request.malformed",
        StatusCode::NOT_FOUND => "route.unknown",
        StatusCode::METHOD_NOT_ALLOWED => return Problem::wrong_method(),
        StatusCode::PAYLOAD_TOO_LARGE => "body.too-large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "media-type.unsupported",
        StatusCode::UNPROCESSABLE_ENTITY => "body.invalid",
        status if status.is_server_error() => "internal",
        _ => "request.refused",
    };
    let reason = status.canonical_reason().unwrap_or("the request was refused");
    Problem::new(status, code, if text.is_empty() { reason } else { text })
}
