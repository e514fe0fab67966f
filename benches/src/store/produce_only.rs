//! Baseline (a): the same HTTP stack, which parses the body, produces one record like ours (key, 14
//! headers, value) to the same topic through the same producer, and answers on the acknowledgement.
//! It decides nothing and promises nothing.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use highwater_http::{body::StrictJson, problem::Problem};
use highwater_log::{Log, Partition, Reply, Ticket};
use highwater_protocol::{
    entry::{Body, CommandMetadata, Entry, EventBody, Part},
    partition::partition_of,
    time::Micros,
    wire::{Fingerprint, Meta, RecordedEvent, encode},
};
use highwater_runtime::context::Context;
use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

#[derive(Clone)]
struct App {
    ctx: Context,
    log: Arc<dyn Log>,
    topic: Arc<str>,
    partitions: u32,
    writer: Uuid,
}

pub fn routes(ctx: Context, log: Arc<dyn Log>, topic: Arc<str>, partitions: u32) -> Router {
    let writer = ctx.ids.v4();
    let app = App { ctx, log, topic, partitions, writer };
    Router::new()
        .route("/v1/orders", post(create))
        .route("/v1/orders/{id}/{command}", post(act))
        .with_state(app)
}

async fn create(State(app): State<App>, body: Result<StrictJson, Problem>) -> Response {
    let id = app.ctx.ids.v4();
    produce(app, id, body, StatusCode::CREATED).await
}

async fn act(
    State(app): State<App>,
    Path((id, _)): Path<(Uuid, String)>,
    body: Result<StrictJson, Problem>,
) -> Response {
    produce(app, id, body, StatusCode::OK).await
}

async fn produce(
    app: App,
    id: Uuid,
    body: Result<StrictJson, Problem>,
    status: StatusCode,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let index = partition_of(id.hyphenated().to_string().as_bytes(), app.partitions);
    let to = Partition { topic: app.topic.clone(), index };
    let record =
        encode(&entry(&app, id, body.bytes.to_vec()), "/highwater/order", app.ctx.ids.v7());
    let (reply, mut reports) = mpsc::unbounded_channel();
    let reply = Reply { ticket: Ticket { writer: app.writer, seq: Some(0) }, to: reply };
    if app.log.append(&to, record, reply).is_err() {
        return Problem::unavailable(
            "log.refused",
            "the log refused",
            std::time::Duration::from_secs(1),
        )
        .into_response();
    }
    match reports.recv().await {
        Some(report) if report.result.is_ok() => {
            (status, Json(json!({"id": id, "version": 1, "position": "order/0@1", "events": []})))
                .into_response()
        }
        _ => Problem::internal().into_response(),
    }
}

/// The same headers and about the same bytes as an event of ours.
fn entry(app: &App, id: Uuid, data: Vec<u8>) -> Entry<highwater_protocol::wire::Wire> {
    let meta = Meta {
        event_id: Uuid::nil(),
        actor: id,
        correlation: id,
        causation: id,
        traceparent: None,
    };
    let metadata = CommandMetadata {
        aggregate: id,
        command: id,
        fingerprint: Fingerprint { key_number: 1, hmac: [7; 32] },
        meta,
        source: None,
    };
    let event =
        RecordedEvent { event_type: "order.placed".into(), schema: "order.placed.v2".into(), data };
    let time = Micros(app.ctx.clock.now());
    Entry {
        epoch: 1,
        writer: app.writer,
        seq: Some(0),
        drained: None,
        body: Body::Event(EventBody { metadata, version: 1, part: Part::WHOLE, time, event }),
    }
}
