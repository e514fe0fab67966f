//! Owns what keeps a process alive under requests: header limits, bulkheads for what is done at
//! once, limits of time, panics.

use std::any::Any;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::error;

use super::admission::{Admission, Late, Owed};
use super::bulkhead::{Bulkhead, Permit};
use super::pace::Pace;
use super::peer::Peer;
use super::receiving::{Budget, Incoming};
use super::settings::HttpSettings;
use crate::body::BodyLimit;
use crate::health;
use crate::json::shorten;
use crate::problem::Problem;
use highwater_runtime::clock::Ids;
use highwater_runtime::resilience;

pub(super) struct Protection {
    commands: Bulkhead,
    reads: Bulkhead,
    collections: Bulkhead,
    budget: Budget,
    pace: Pace,
    timeout: Duration,
    retry_after: Duration,
    body_limit_bytes: usize,
    header_limit_bytes: usize,
    header_limit_count: usize,
    ids: Arc<dyn Ids>,
}

/// A request that may be handled.
pub(super) enum Admitted {
    Always,
    /// It enters at once.
    Read(Admission),
    /// It enters when its body is complete.
    Command(Admission, Version),
}

impl Protection {
    pub(super) fn new(settings: &HttpSettings, ids: Arc<dyn Ids>) -> Self {
        let bulkhead = |class, of| Bulkhead::new(class, settings.limits(of), Arc::clone(&ids));
        Self {
            commands: bulkhead("commands", &settings.commands),
            reads: bulkhead("reads", &settings.reads),
            collections: bulkhead("collections", &settings.collections),
            budget: Budget::new(
                settings.receiving_limit_bytes,
                settings.peer_share_percent,
                settings.retry_after(),
                Arc::clone(&ids),
            ),
            pace: settings.pace(),
            timeout: settings.request_timeout(),
            retry_after: settings.retry_after(),
            body_limit_bytes: settings.body_limit_bytes,
            header_limit_bytes: settings.header_limit_bytes,
            header_limit_count: settings.header_limit_count,
            ids,
        }
    }

    /// Lets the request come as far as its handler, or says why not. By its method: what may change
    /// something is a command, and the rest are reads, so that no route is without a limit. What
    /// has no parameter in its path is of many: lists that are slow, or not taken, leave single
    /// reads alone.
    pub(super) fn admit(&self, request: &mut Request) -> Result<Admitted, Problem> {
        self.check_headers(request.headers())?;
        if health::PATHS.contains(&request.uri().path()) {
            return Ok(Admitted::Always);
        }
        let peer = Peer::of(request);
        if request.method().is_safe() {
            let of_many = request
                .extensions()
                .get::<MatchedPath>()
                .is_some_and(|route| !route.as_str().contains('{'));
            let bulkhead = if of_many { &self.collections } else { &self.reads };
            let admission = Admission::new(bulkhead.clone(), peer);
            request.extensions_mut().insert(admission.clone());
            return Ok(Admitted::Read(admission));
        }
        let admission = Admission::new(self.commands.clone(), peer);
        request.extensions_mut().insert(admission.clone());
        request.extensions_mut().insert(BodyLimit(self.body_limit_bytes));
        DefaultBodyLimit::max(self.body_limit_bytes).apply(request);
        let body = std::mem::take(request.body_mut());
        let incoming =
            Incoming::new(body, admission.clone(), self.budget.clone(), self.body_limit_bytes);
        *request.body_mut() = axum::body::Body::new(incoming);
        Ok(Admitted::Command(admission, request.version()))
    }

    /// Waits for the answer of a request, but not for ever. The permit is for as long as the answer
    /// takes to be sent.
    pub(super) async fn answer(
        &self,
        admitted: Admitted,
        answering: impl Future<Output = Result<Response, Infallible>>,
    ) -> (Response, Option<Permit>) {
        let (admission, version, entering) = match admitted {
            Admitted::Always => {
                let Ok(answer) = answering.await;
                return (answer, None);
            }
            Admitted::Read(admission) => (admission, None, true),
            Admitted::Command(admission, version) => (admission, Some(version), false),
        };
        let answer = self.limited(&admission, version, entering, answering).await;
        let worked = !answer.status().is_client_error() && !answer.status().is_server_error();
        (answer, admission.answered(worked))
    }

    /// Polls the handler only while it is inside, or receives.
    async fn limited(
        &self,
        admission: &Admission,
        version: Option<Version>,
        mut entering: bool,
        answering: impl Future<Output = Result<Response, Infallible>>,
    ) -> Response {
        let mut answering = pin!(answering);
        let first_look = if entering { self.timeout } else { self.pace.look_every() };
        let mut timer = pin!(sleep_until(Instant::now() + first_look));
        std::future::poll_fn(|cx| {
            loop {
                if entering {
                    match admission.poll_enter(cx) {
                        Poll::Pending => break,
                        Poll::Ready(Err(problem)) => return Poll::Ready(problem.into_response()),
                        Poll::Ready(Ok(())) => entering = false,
                    }
                }
                let answered = answering.as_mut().poll(cx);
                match (admission.owed(), answered) {
                    (Owed::Refusal(problem), _) => return Poll::Ready(problem.into_response()),
                    (_, Poll::Ready(Ok(answer))) => return Poll::Ready(answer),
                    (Owed::Entry, Poll::Pending) => entering = true,
                    (Owed::Nothing, Poll::Pending) => break,
                }
            }
            self.poll_late(timer.as_mut(), admission, version, cx).map(IntoResponse::into_response)
        })
        .await
    }

    fn poll_late(
        &self,
        mut timer: Pin<&mut Sleep>,
        admission: &Admission,
        version: Option<Version>,
        cx: &mut Context<'_>,
    ) -> Poll<Problem> {
        loop {
            ready!(timer.as_mut().poll(cx));
            match admission.look(Instant::now(), &self.pace, self.timeout) {
                // What it waits for now is due later: the timer is set again only here, since most
                // are answered before.
                Ok(next) => timer.as_mut().reset(next),
                Err(Late::Body) => return Poll::Ready(self.body_too_slow(version)),
                Err(Late::Answer) => {
                    let detail = "the request took too long and its outcome is not known here; try \
                                  again with the same Idempotency-Key";
                    return Poll::Ready(Problem::unavailable(
                        "request.timeout",
                        detail,
                        self.retry_after(),
                    ));
                }
            }
        }
    }

    /// RFC 9110, 15.5.9.
    fn body_too_slow(&self, version: Option<Version>) -> Problem {
        metrics::counter!("highwater_http_slow_bodies_total").increment(1);
        let Pace { within, grace, rate } = self.pace;
        let (within, grace) = (within.as_millis(), grace.as_millis());
        let detail = format!(
            "a body must be complete within {within} ms, and come at {rate} bytes a second after \
             {grace} ms"
        );
        let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "body.timeout", detail);
        match version {
            Some(version) if version >= Version::HTTP_2 => problem,
            _ => problem.header(header::CONNECTION, HeaderValue::from_static("close")),
        }
    }

    fn retry_after(&self) -> Duration {
        resilience::retry_after(self.retry_after, &*self.ids)
    }

    fn check_headers(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let bytes: usize =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if headers.len() <= self.header_limit_count && bytes <= self.header_limit_bytes {
            return Ok(());
        }
        let (count, limit) = (self.header_limit_count, self.header_limit_bytes);
        let detail =
            format!("a request may have at most {count} headers and {limit} bytes of them");
        Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers.too-large", detail))
    }
}

pub(super) fn panicked(payload: &(dyn Any + Send)) -> Response {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    metrics::counter!("highwater_http_panics_total").increment(1);
    error!(panic = %shorten(text.unwrap_or("without a text")), "a handler panicked");
    Problem::internal().into_response()
}
