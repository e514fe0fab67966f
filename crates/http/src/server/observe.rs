//! Owns what is seen of a request from outside its handler: trace context, log line, metrics, and
//! the last form of a problem.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use metrics::{Counter, Histogram};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;
use tracing::{Span, debug, info, info_span, warn};

use super::trace::{TRACEPARENT, TraceContext};
use crate::json::{shorten, shortened};
use crate::problem::{MEDIA_TYPE, Problem};
use highwater_runtime::clock::Ids;

/// How much of a framework's own error text is read.
const LONGEST_REJECTION: usize = 1_024;

pub(super) struct Observer {
    ids: Arc<dyn Ids>,
    figures: Figures,
    said: LogLimiter,
}

/// A request on its way.
pub(super) struct InFlight {
    pub(super) span: Span,
    begun: Instant,
    trace: TraceContext,
    route: Option<MatchedPath>,
    method: Method,
    uri: Uri,
}

impl Observer {
    pub(super) fn new(ids: Arc<dyn Ids>) -> Self {
        Self { ids, figures: Figures::default(), said: LogLimiter::default() }
    }

    /// Gives the request its trace.
    pub(super) fn begin(&self, request: &mut Request) -> InFlight {
        let begun = Instant::now();
        let trace = TraceContext::from_headers(request.headers(), &*self.ids);
        let route = request.extensions().get::<MatchedPath>().cloned();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let span = info_span!(
            "request",
            trace_id = %trace.trace_id(),
            method = %shortened(method.as_str()),
            route = %template(route.as_ref())
        );
        request.extensions_mut().insert(trace.clone());
        InFlight { span, begun, trace, route, method, uri }
    }

    /// Puts the answer into its last form, counts it and logs it.
    pub(super) async fn end(&self, seen: InFlight, answer: Response) -> Response {
        let mut response = as_problem(answer, seen.uri.path(), &seen.trace).await;
        if let Some(value) = seen.trace.to_header() {
            response.headers_mut().insert(TRACEPARENT, value);
        }
        let took = seen.begun.elapsed();
        self.figures.count(
            template(seen.route.as_ref()),
            known(&seen.method),
            response.status(),
            took,
        );
        let _entered = seen.span.enter();
        self.log(seen.uri.path(), &response, took, &seen.trace);
        response
    }

    /// Levels by what an operator wants by default: failures and refusals, not every success, and
    /// none as often as callers want.
    fn log(&self, path: &str, response: &Response, took: Duration, trace: &TraceContext) {
        let (status, took_us, trace_id) = (
            response.status(),
            u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            trace.trace_id(),
        );
        let status_code = status.as_u16();
        let code = response.extensions().get::<Problem>().map_or("", Problem::code);
        // Made only for a line that is written.
        let path = || shortened(path);
        let more = if status.is_server_error() || status.is_client_error() {
            self.said.turn(status, code)
        } else {
            None
        };
        match more {
            Some(more) if status.is_server_error() => {
                warn!(
                    http.path = &*path(),
                    http.status = status_code,
                    code,
                    took_us,
                    trace_id,
                    more,
                    "answered with a failure"
                );
            }
            Some(more) => info!(
                http.path = &*path(),
                http.status = status_code,
                code,
                took_us,
                trace_id,
                more,
                "refused"
            ),
            None => debug!(
                http.path = &*path(),
                http.status = status_code,
                code,
                took_us,
                trace_id,
                "answered"
            ),
        }
    }
}

fn template(route: Option<&MatchedPath>) -> &str {
    route.map_or("unknown", MatchedPath::as_str)
}

/// Counters and histograms by route, made once: to look one up by its labels costs as much as
/// parsing a small body. Bounded by the routes, the standard methods and the statuses that there
/// are.
#[derive(Default)]
struct Figures(RwLock<HashMap<String, Vec<Figure>>>);

struct Figure {
    method: &'static str,
    status: StatusCode,
    answered: Counter,
    duration: Histogram,
}

impl Figures {
    fn count(&self, route: &str, method: &'static str, status: StatusCode, took: Duration) {
        let is_it = |figure: &&Figure| figure.method == method && figure.status == status;
        let count = |figure: &Figure| {
            figure.answered.increment(1);
            figure.duration.record(took.as_secs_f64());
        };
        let figures = self.0.read();
        if let Some(figure) = figures.get(route).and_then(|figures| figures.iter().find(is_it)) {
            return count(figure);
        }
        drop(figures);
        let figure = Figure::of(route, method, status);
        count(&figure);
        // Made twice by two requests at once, both are the same figure.
        self.0.write().entry(route.to_owned()).or_default().push(figure);
    }
}

impl Figure {
    fn of(route: &str, method: &'static str, status: StatusCode) -> Self {
        let labels = [
            ("route", route.to_owned()),
            ("method", method.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        Self {
            method,
            status,
            answered: metrics::counter!("highwater_http_requests_total", &labels),
            duration: metrics::histogram!("highwater_http_request_duration_seconds", &labels[..2]),
        }
    }
}

/// Which refusals and failures have had their line: one for each code in a while, with the number
/// of those between.
#[derive(Default)]
struct LogLimiter(Mutex<BTreeMap<(u16, String), Turn>>);

struct Turn {
    said: Instant,
    between: u64,
}

const REFUSALS_EVERY: Duration = Duration::from_secs(60);
const FAILURES_EVERY: Duration = Duration::from_secs(10);
/// There are some hundred codes; what another instance relayed might have others.
const CODES: usize = 512;

impl LogLimiter {
    /// `Some`: it has its line, and so many had none since the last one.
    fn turn(&self, status: StatusCode, code: &str) -> Option<u64> {
        let (now, every) = (
            Instant::now(),
            if status.is_server_error() { FAILURES_EVERY } else { REFUSALS_EVERY },
        );
        let mut turns = self.0.lock();
        let key = (status.as_u16(), code.to_owned());
        let key = if turns.len() < CODES || turns.contains_key(&key) {
            key
        } else {
            (status.as_u16(), String::new())
        };
        let Some(turn) = turns.get_mut(&key) else {
            turns.insert(key, Turn { said: now, between: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(turn.said) < every {
            turn.between += 1;
            return None;
        }
        turn.said = now;
        Some(std::mem::take(&mut turn.between))
    }
}

/// Any token can be a method; a label must not grow with what callers invent.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Every 4xx and 5xx leaves as a problem that knows its instance and trace.
async fn as_problem(mut response: Response, path: &str, trace: &TraceContext) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (instance, trace_id) = (shorten(path), trace.trace_id());
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let told = response.headers().clone();
        return with_headers(problem.into_response_for(Some(&instance), Some(trace_id)), &told);
    }
    if is_problem(&response) {
        return response;
    }
    let told = response.headers().clone();
    let is_text = told
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    let text = if is_text { rejection_text(response).await } else { String::new() };
    with_headers(
        from_status(status, &text).into_response_for(Some(&instance), Some(trace_id)),
        &told,
    )
}

/// One that is written already was relayed from another instance, for the same path and in the same
/// trace: its code and members are the caller's answer.
fn is_problem(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(MEDIA_TYPE.as_bytes()))
}

/// Keeps what the answer said besides its body: `Allow`, `Idempotency-Key`, `Retry-After` ...
fn with_headers(mut response: Response, told: &HeaderMap) -> Response {
    let of_the_body = [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::TRANSFER_ENCODING,
    ];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_code_has_one_line_in_a_while_however_often_callers_bring_it_about() {
        let (said, mut refused, mut failed, mut more) = (LogLimiter::default(), 0, 0, 0);
        for _ in 0..6_000 {
            if let Some(between) = said.turn(StatusCode::NOT_FOUND, "route.unknown") {
                (refused, more) = (refused + 1, more + between);
            }
            failed += u64::from(said.turn(StatusCode::SERVICE_UNAVAILABLE, "overloaded").is_some());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!((refused, failed), (10, 60));
        assert_eq!(more, 5_400 - 9, "all but those since the last line, and the lines themselves");
    }

    #[test]
    fn codes_that_are_not_known_do_not_make_it_grow() {
        let said = LogLimiter::default();
        let lines = (0..10_000)
            .filter(|n| said.turn(StatusCode::NOT_FOUND, &format!("code.{n}")).is_some())
            .count();
        assert_eq!(lines, CODES + 1);
    }
}
