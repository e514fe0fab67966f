//! Owns the HTTP server and the layers that stand around every route of every process. Must never
//! know a route by its meaning.

mod adaptive;
mod admission;
mod around;
mod bulkhead;
mod connection;
mod descriptors;
mod head;
mod observe;
mod pace;
mod peer;
mod port;
mod protect;
mod receiving;
mod room;
mod serve;
mod settings;
mod shared;
mod trace;

pub use admission::Admission;
pub use bulkhead::{Bulkhead, Limits, Permit};
pub use peer::{Peer, Share};
pub use port::Port;
pub use serve::{bind, check_listen, serve, serve_with};
pub use settings::{BulkheadSettings, HttpSettings};
pub use trace::TraceContext;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;

use crate::problem::Problem;
use highwater_runtime::context::Context;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{address} is in use by another process: stop it, or set another address (http.listen; \
         --listen of `up`)"
    )]
    InUse { address: SocketAddr },
    #[error("{address} cannot be listened on: {source}")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error(
        "{address} can be reached from other machines and nothing asks callers who they are: \
         listen on a loopback address, or say --insecure when something in front protects it"
    )]
    NotLoopback { address: SocketAddr },
}

/// Puts the layers around all routes of `router`, its fallback included: trace context, logs,
/// metrics, problems for every error, what a head must say, bounds on requests in flight, time
/// limits, a body limit. Routes added afterwards are outside, so merge
/// [`crate::health::routes`] before. Replaces the router's fallback: an unknown path is a
/// 404 problem.
pub fn layers(router: Router, settings: &HttpSettings, ctx: &Context) -> Router {
    let observer = observe::Observer::new(Arc::clone(&ctx.ids));
    let protection = protect::Protection::new(settings, Arc::clone(&ctx.ids));
    let around = around::Around::new(observer, head::HeadRules::new(settings), protection);
    router
        .fallback(|| async { Problem::no_route() })
        .method_not_allowed_fallback(|| async { Problem::wrong_method() })
        .layer(around)
}

#[cfg(test)]
mod tests;
