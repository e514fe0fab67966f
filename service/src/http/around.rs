//! Owns the one service around every route: it observes a request, admits it, and waits for its answer. One, because a service put
//! around another costs each request a copy of what is inside and a boxed future.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tower::{Layer, Service};

use super::observe::Observer;
use super::protect::{Protection, panicked};
use crate::body::BodyLimit;

#[derive(Clone)]
pub(super) struct Around(Arc<Shared>);

struct Shared {
    observer: Observer,
    protection: Protection,
    body_limit_bytes: usize,
}

impl Around {
    pub(super) fn new(observer: Observer, protection: Protection, body_limit_bytes: usize) -> Self {
        Self(Arc::new(Shared { observer, protection, body_limit_bytes }))
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
        let admitted = shared.protection.admit(&request);
        let begun = admitted.map(|admitted| {
            request.extensions_mut().insert(BodyLimit(shared.body_limit_bytes));
            DefaultBodyLimit::max(shared.body_limit_bytes).apply(&mut request);
            let answering = seen.span.in_scope(|| catch_unwind(AssertUnwindSafe(|| self.inner.call(request))));
            (admitted, answering)
        });
        Box::pin(async move {
            let answer = match begun {
                Err(problem) => problem.into_response(),
                Ok((_, Err(payload))) => panicked(payload.as_ref()),
                Ok((admitted, Ok(answering))) => {
                    let answering = AssertUnwindSafe(answering).catch_unwind();
                    let answering = async { answering.await.unwrap_or_else(|payload| Ok(panicked(payload.as_ref()))) };
                    let answering = tracing::Instrument::instrument(answering, seen.span.clone());
                    let Ok(answer) = shared.protection.limited(admitted, answering).await;
                    answer
                }
            };
            Ok(shared.observer.end(seen, answer).await)
        })
    }
}
