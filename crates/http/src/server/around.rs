//! Owns the one service around every route: it observes a request, admits it, and waits for its
//! answer. One, because a service put around another costs each request a copy of what is inside
//! and a boxed future.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tower::{Layer, Service};

use super::bulkhead::{Permit, Sending};
use super::head::HeadRules;
use super::observe::Observer;
use super::protect::{Protection, panicked};

#[derive(Clone)]
pub(super) struct Around(Arc<Shared>);

struct Shared {
    observer: Observer,
    head: HeadRules,
    protection: Protection,
}

impl Around {
    pub(super) fn new(observer: Observer, head: HeadRules, protection: Protection) -> Self {
        Self(Arc::new(Shared { observer, head, protection }))
    }
}

impl<S> Layer<S> for Around {
    type Service = Within<S>;

    fn layer(&self, inner: S) -> Within<S> {
        Within { inner, shared: Arc::clone(&self.0) }
    }
}

#[derive(Clone)]
pub(super) struct Within<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Service<Request> for Within<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let seen = shared.observer.begin(&mut request);
        let read = shared.head.check(request.version(), request.uri(), request.headers());
        let admitted = read.and_then(|()| shared.protection.admit(&mut request));
        let begun = admitted.map(|admitted| {
            let answering =
                seen.span.in_scope(|| catch_unwind(AssertUnwindSafe(|| self.inner.call(request))));
            (admitted, answering)
        });
        Box::pin(async move {
            let (answer, permit) = match begun {
                Err(problem) => (problem.into_response(), None),
                Ok((_, Err(payload))) => (panicked(payload.as_ref()), None),
                Ok((admitted, Ok(answering))) => {
                    let answering = AssertUnwindSafe(answering).catch_unwind();
                    let answering = async {
                        answering.await.unwrap_or_else(|payload| Ok(panicked(payload.as_ref())))
                    };
                    let answering = tracing::Instrument::instrument(answering, seen.span.clone());
                    shared.protection.answer(admitted, answering).await
                }
            };
            Ok(held_until_sent(shared.observer.end(seen, answer).await, permit))
        })
    }
}

/// The permit goes with the body: an answer that is not sent yet is not done.
fn held_until_sent(answer: Response, permit: Option<Permit>) -> Response {
    match permit {
        Some(permit) if !answer.body().is_end_stream() => {
            answer.map(|body| Body::new(HeldBody { body, _place: permit.sending() }))
        }
        _ => answer,
    }
}

struct HeldBody {
    body: Body,
    _place: Option<Sending>,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
