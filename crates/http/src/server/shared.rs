//! What all connections of a server share.

use std::sync::Arc;

use axum::{
    Router,
    body::Body as AnyBody,
    http::{HeaderValue, Response, Uri},
};
use highwater_runtime::{clock::SystemIds, resilience};
use hyper_util::{rt::TokioExecutor, server::conn::auto};

use super::{connection::link::Link, room::Room, settings::HttpSettings, trace::TRACEPARENT};
use crate::{json::shorten, problem::Problem};

pub(super) type Protocols = auto::Builder<TokioExecutor>;

/// What all connections share.
pub(super) struct Server {
    pub(super) router: Router,
    pub(super) protocols: Protocols,
    pub(super) settings: HttpSettings,
    pub(super) room: Arc<Room>,
}

impl Server {
    /// Whether an answer that holds so many bytes may be sent. One that stands still gives way to
    /// it.
    pub(super) fn makes_room(&self, link: &Link, bytes: usize) -> bool {
        let of_the_connection = link.held_bytes();
        // The first answer of a connection may be as large as it is.
        if of_the_connection > 0
            && of_the_connection.saturating_add(bytes) > self.settings.unsent_per_connection_bytes
        {
            return false;
        }
        let beyond = self
            .room
            .unsent_bytes()
            .saturating_add(bytes)
            .saturating_sub(self.settings.unsent_limit_bytes);
        beyond == 0 || self.room.cut_slowest(beyond)
    }

    pub(super) fn measure(&self) {
        metrics::gauge!("highwater_http_connections").set(self.room.connections() as f64);
        metrics::gauge!("highwater_http_unsent_bytes").set(self.room.unsent_bytes() as f64);
    }

    pub(super) fn overloaded(
        &self,
        reason: &'static str,
        uri: &Uri,
        traceparent: Option<HeaderValue>,
    ) -> Response<AnyBody> {
        metrics::counter!("highwater_http_overloaded_total", "reason" => reason).increment(1);
        let detail = "too much is open or unsent; try again after the given time, with the same \
                      Idempotency-Key";
        let after = resilience::retry_after(self.settings.retry_after(), &SystemIds);
        let trace_id = traceparent
            .as_ref()
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split('-').nth(1));
        let problem = Problem::unavailable("overloaded", detail, after);
        let mut answer = problem.into_response_for(Some(&shorten(uri.path())), trace_id);
        if let Some(value) = traceparent {
            answer.headers_mut().insert(TRACEPARENT, value);
        }
        answer
    }
}
