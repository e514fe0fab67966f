//! `GET /admin/owners`: the partitions owned here as they stand, for the operator. On a port of its
//! own, on loopback, and only where `owner.admin_listen` is set. Changes nothing.

use std::{net::SocketAddr, sync::Arc};

use axum::{Json, Router, extract::State, response::IntoResponse, routing::get};
use futures_util::future::join_all;
use highwater_http::server::{self, HttpSettings};
use highwater_log::{Log, Partition};
use highwater_runtime::context::Context;
use serde::Serialize;
use uuid::Uuid;

use super::status::{Live, Statuses};

/// What the answer is made of.
pub struct Admin {
    pub instance: Uuid,
    /// Where other instances reach this one.
    pub url: String,
    pub statuses: Arc<Statuses>,
    pub log: Arc<dyn Log>,
    /// By category: the topic of its command queue.
    pub command_queues: Vec<(&'static str, Arc<str>)>,
}

#[derive(Serialize)]
struct Owners {
    instance: Uuid,
    url: String,
    partitions: Vec<OwnedPartition>,
}

#[derive(Serialize)]
struct OwnedPartition {
    #[serde(flatten)]
    live: Live,
    /// Commands in the command queue without an outcome, about; none: the log does not say.
    queue_backlog: Option<u64>,
}

/// Listens, and serves until shutdown: where. Only loopback: nothing asks callers who they are.
pub async fn serve(
    address: SocketAddr,
    admin: Admin,
    ctx: &Context,
) -> Result<SocketAddr, server::Error> {
    server::check_listen(address, false)?;
    let listener = server::bind(address).await?;
    let bound = listener.local_addr().map_err(|source| server::Error::Bind { address, source })?;
    tracing::info!(address = %bound, "serving the operator");
    let router = Router::new().route("/admin/owners", get(owners)).with_state(Arc::new(admin));
    let settings = HttpSettings { listen: bound, ..HttpSettings::default() };
    let router = server::layers(router, &settings, ctx);
    let stopping = ctx.shutdown.clone();
    ctx.shutdown.tasks.spawn(async move {
        if let Err(error) = server::serve_with(listener, router, stopping, &settings).await {
            tracing::error!(%error, "the operator is not served any more");
        }
    });
    Ok(bound)
}

async fn owners(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let partitions = join_all(admin.statuses.all().into_iter().map(|live| admin.owned(live))).await;
    Json(Owners { instance: admin.instance, url: admin.url.clone(), partitions })
}

impl Admin {
    async fn owned(&self, live: Live) -> OwnedPartition {
        let topic = self
            .command_queues
            .iter()
            .find(|(category, _)| *category == live.category)
            .map(|(_, topic)| topic.clone());
        let queue_backlog = match topic {
            Some(topic) => {
                let end = self.log.end(&Partition { topic, index: live.partition }).await;
                end.ok().map(|end| end.saturating_sub(live.figures.queue.drained))
            }
            None => None,
        };
        OwnedPartition { live, queue_backlog }
    }
}
