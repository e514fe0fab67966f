//! The one mapping from answers to responses.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use highwater_http::{
    headers::{ETag, HIGHWATER_POSITION, IdempotencyKey, PREFERENCE_APPLIED, Prefer},
    problem::Problem,
};
use highwater_protocol::{
    wire::{Reason, Wire},
    writer::{Answer, Busy, Outcome},
};
use highwater_runtime::resilience;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    App,
    ending::Ending,
    request::{self, Caller},
};
use crate::{
    category::{self, Category},
    command_queue::Refusal,
    owner::hop::End,
};

/// What an answer must name.
pub(super) struct CommandTarget {
    pub(super) partition: u32,
    pub(super) aggregate: Uuid,
    pub(super) command: Uuid,
    pub(super) creates: bool,
}

pub(super) fn response<C: Category>(
    app: &App<C>,
    caller: &Caller,
    sent: &CommandTarget,
    ending: Ending,
) -> Response {
    let may_wait = caller.forwarded && ending.may_wait();
    let mut response = match ending {
        Ending::Relayed { response, .. } => response,
        Ending::Accepted(end) => accepted::<C>(caller, sent, end),
        Ending::Decided(Answer::Done { outcome, replayed }) => {
            let mut response = done(app, sent, outcome);
            if replayed {
                response
                    .headers_mut()
                    .insert(IdempotencyKey::REPLAYED, HeaderValue::from_static("true"));
            }
            response
        }
        Ending::Decided(answer) => {
            operation_named(problem::<C>(app, sent.aggregate, answer), sent).into_response()
        }
        Ending::Undecided => {
            operation_named(unavailable(app, "command.undecided", UNDECIDED), sent).into_response()
        }
        Ending::Ownerless => {
            operation_named(unavailable(app, "partition.ownerless", OWNERLESS), sent)
                .into_response()
        }
        Ending::Refused(problem) => operation_named(problem, sent).into_response(),
        Ending::NotAccepted(refused) => {
            operation_named(not_accepted(app, refused), sent).into_response()
        }
        Ending::NotOwner => {
            let mut response =
                operation_named(unavailable(app, "partition.ownerless", OWNERLESS), sent)
                    .into_response();
            response.extensions_mut().insert(End::NotThere);
            return response;
        }
    };
    if may_wait {
        response.extensions_mut().insert(End::MayWait);
    }
    response
}

/// 202: it will be decided, and where to ask what came of it.
fn accepted<C: Category>(caller: &Caller, sent: &CommandTarget, end: u64) -> Response {
    let operation = format!("{}?accepted={}", operation(sent), position::<C>(sent.partition, end));
    let body = json!({"id": sent.aggregate, "operation": operation});
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    if let Ok(location) = HeaderValue::from_str(&operation) {
        headers.insert(header::LOCATION, location);
    }
    if let Some(applied) = (Prefer { stale: false, ..caller.prefer }).applied() {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    response
}

fn operation(sent: &CommandTarget) -> String {
    format!("/v1/operations/{}", sent.command)
}

/// A 503 says where to ask what came of the command: it may have been decided, or may still be.
fn operation_named(problem: Problem, sent: &CommandTarget) -> Problem {
    if problem.status() != StatusCode::SERVICE_UNAVAILABLE {
        return problem;
    }
    let operation = operation(sent);
    let location = HeaderValue::from_str(&operation).ok();
    let problem = problem.with("operation", Value::from(operation));
    match location {
        Some(location) => problem.header(header::LOCATION, location),
        None => problem,
    }
}

fn not_accepted<C: Category>(app: &App<C>, refused: Refusal) -> Problem {
    match refused {
        Refusal::Full => unavailable(
            app,
            "queue.full",
            "too many commands of this aggregate's partition wait to be decided",
        ),
        Refusal::NoRoom => {
            unavailable(app, "queue.busy", "too many commands are on their way into the log")
        }
        Refusal::Unknown => unavailable(app, "queue.unacknowledged", UNACKNOWLEDGED),
    }
}

const UNDECIDED: &str =
    "the command was not decided in time and may still be: retry with the same Idempotency-Key";
const UNACKNOWLEDGED: &str = "the log did not say that it has the command, and it may have it: \
                              retry with the same Idempotency-Key";
const OWNERLESS: &str = "the partition of this aggregate has no owner at the moment: retry with \
                         the same Idempotency-Key";

fn done<C: Category>(app: &App<C>, sent: &CommandTarget, outcome: Outcome<Wire>) -> Response {
    let CommandTarget { partition, aggregate, creates, .. } = *sent;
    let (version, end, events, status) = match outcome {
        Outcome::Accepted { version, end, events } => {
            (version, end, events, if creates { StatusCode::CREATED } else { StatusCode::OK })
        }
        Outcome::Unchanged { version, end, .. } => (version, end, Vec::new(), StatusCode::OK),
        Outcome::Rejected { version, end, reason } => {
            let mut response = rejected(&reason).into_response();
            placed::<C>(&mut response, partition, version, end);
            return response;
        }
    };
    let events =
        events.iter().map(|(kind, version)| Happened { kind, version: *version }).collect();
    let body = Done { events, id: aggregate, position: &position::<C>(partition, end), version };
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::CREATED
        && let Ok(location) = HeaderValue::from_str(&format!("/v1/{}/{aggregate}", app.collection))
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    placed::<C>(&mut response, partition, version, end);
    response
}

#[derive(Serialize)]
struct Done<'a> {
    events: Vec<Happened<'a>>,
    id: Uuid,
    position: &'a str,
    version: u64,
}

#[derive(Serialize)]
struct Happened<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    version: u64,
}

/// `ETag` and `Highwater-Position`: the same on the first answer and on every replay.
fn placed<C: Category>(response: &mut Response, partition: u32, version: u64, end: u64) {
    let headers = response.headers_mut();
    headers.insert(ETag::name(), ETag::version(version).to_header());
    if let Ok(position) = HeaderValue::from_str(&position::<C>(partition, end)) {
        headers.insert(HIGHWATER_POSITION, position);
    }
}

fn position<C: Category>(partition: u32, end: u64) -> String {
    format!("{}/{partition}@{end}", C::NAME)
}

/// The reason as it was recorded: code and detail, and whatever else the domain says.
fn rejected(reason: &Reason) -> Problem {
    let Ok(Value::Object(members)) = serde_json::from_slice(&reason.0) else {
        return Problem::internal();
    };
    let text =
        |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    // What the command queue records of 404, 412, 413 and 422 has their status.
    let status = members
        .get("status")
        .and_then(Value::as_u64)
        .and_then(|status| StatusCode::from_u16(status.try_into().ok()?).ok());
    let problem = Problem::new(
        status.filter(StatusCode::is_client_error).unwrap_or(StatusCode::CONFLICT),
        &text("code"),
        text("detail"),
    );
    let extra = members
        .into_iter()
        .filter(|(name, _)| !["code", "detail", "status"].contains(&name.as_str()));
    extra.fold(problem, |problem, (name, value)| problem.with(&name, value))
}

fn problem<C: Category>(app: &App<C>, aggregate: Uuid, answer: Answer<Wire>) -> Problem {
    match answer {
        Answer::NotFound => {
            let (code, detail) = category::missing::<C>(aggregate);
            Problem::not_found(&code, detail)
        }
        Answer::VersionMismatch { current } => Problem::version_mismatch(current),
        Answer::KeyReused => Problem::key_reused(),
        Answer::TooLarge { events, bytes } => {
            let limits = app.settings.limits(&app.command_queue.settings);
            request::too_large(events, bytes, limits.commit_events, limits.commit_bytes)
        }
        Answer::Unreadable => {
            unavailable(app, "aggregate.unreadable", "this release cannot read the aggregate")
        }
        Answer::Busy(Busy::Aggregate) => {
            unavailable(app, "aggregate.busy", "too many commands wait for this aggregate")
        }
        Answer::Busy(Busy::Partition) => unavailable(
            app,
            "partition.busy",
            "too many commands wait for this aggregate's partition",
        ),
        Answer::Busy(Busy::SnapshotsBehind) => unavailable(
            app,
            "snapshots-behind",
            "snapshots are too far behind the log to take this command",
        ),
        Answer::Busy(Busy::SnapshotsUnreachable) => {
            unavailable(app, "snapshots.unreachable", "snapshots cannot be read at the moment")
        }
        Answer::Busy(Busy::Refused) => unavailable(
            app,
            "log.refused",
            "the log does not take what this command would write; its operator must look at the \
             limits of the topic",
        ),
        Answer::Busy(Busy::Deadline) => unavailable(app, "command.undecided", UNDECIDED),
        Answer::Moved => unavailable(app, "partition.ownerless", OWNERLESS),
        Answer::Done { .. } => Problem::internal(),
    }
}

fn unavailable<C: Category>(app: &App<C>, code: &str, detail: &'static str) -> Problem {
    let after = resilience::retry_after(
        std::time::Duration::from_millis(app.settings.ownerless_wait_ms),
        app.ctx.ids.as_ref(),
    );
    Problem::unavailable(code, detail, after)
}
