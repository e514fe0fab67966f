//! The one mapping from states to responses.

use std::collections::BTreeMap;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use highwater_http::{
    headers::{ETag, HIGHWATER_POSITION, PREFERENCE_APPLIED, Prefer, format_compact},
    problem::Problem,
};
use highwater_protocol::time::Micros;
use serde_json::{Map, Value, json};

use super::{
    OperationRequest,
    state::{Checkpoints, Decided, Pending, State, Verdict},
};
use highwater_tables::checkpoints::GENERATION;

use crate::{App, freshness};

pub(super) fn response(
    asked: &OperationRequest,
    state: State,
    app: &App,
) -> Result<Response, Problem> {
    let mut response = match state {
        State::Pending(pending) => self::pending(asked, &pending)?,
        State::Decided(decided) => self::decided(asked, *decided)?,
        State::Unknown(checkpoints) => unknown(asked, &checkpoints, app).into_response(),
    };
    let waited = Prefer { respond_async: false, stale: false, ..asked.prefer };
    if let Some(applied) = waited.applied() {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// It has no tag: it changes with the clock.
fn pending(asked: &OperationRequest, pending: &Pending) -> Result<Response, Problem> {
    asked.conditions.is_known(None)?;
    let mut body =
        json!({"id": asked.id, "state": "pending", "accepted": pending.accepted.to_string()});
    let times = [("accepted_at", pending.accepted_at), ("expires_at", pending.expires_at)];
    for (name, time) in times.into_iter().filter_map(|(name, time)| Some((name, time?))) {
        body[name] = text(time).into();
    }
    let mut response = Json(body).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    freshness::cache(response.headers_mut(), None, false);
    Ok(response)
}

/// Nothing of it ever changes.
fn decided(asked: &OperationRequest, decided: Decided) -> Result<Response, Problem> {
    let Decided { aggregate, version, position, verdict } = decided;
    let (state, name, what) = match verdict {
        Verdict::Succeeded(events) => {
            let result = json!({
                "id": aggregate, "version": version, "position": position.to_string(),
                "events": events,
            });
            ("succeeded", "result", result)
        }
        Verdict::Rejected(reason) => ("rejected", "problem", problem(reason)),
        Verdict::Expired(reason) => ("expired", "problem", problem(reason)),
    };
    let etag = ETag::generation(GENERATION.unsigned_abs().into(), version).with_suffix(state);
    let mut response = match asked.conditions.is_known(Some(&etag))? {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Json(json!({"id": asked.id, "state": state, name: what})).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(ETag::name(), etag.to_header());
    headers.insert(HIGHWATER_POSITION, position.to_header());
    freshness::cache(headers, None, false);
    Ok(response)
}

/// As the command answers when it is waited for: code, detail, the status where it is none of the
/// store's rules, and what else is said.
fn problem(mut reason: Map<String, Value>) -> Value {
    let mut text = |name: &str| match reason.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (code, detail) = (text("code"), text("detail"));
    let status = reason.remove("status").and_then(|status| u16::try_from(status.as_u64()?).ok());
    let status = status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .filter(StatusCode::is_client_error);
    let problem = Problem::new(status.unwrap_or(StatusCode::CONFLICT), &code, detail);
    reason
        .into_iter()
        .fold(problem, |problem, (name, value)| problem.with(&name, value))
        .to_json(None, None)
}

fn unknown(asked: &OperationRequest, checkpoints: &Checkpoints, app: &App) -> Problem {
    let positions = |read: &BTreeMap<(String, u32), u64>| -> Vec<String> {
        let at = |category: &str, partition: u32| {
            read.get(&(category.to_owned(), partition)).copied().unwrap_or(0)
        };
        match &asked.accepted {
            Some(accepted) => {
                vec![format!(
                    "{}/{}@{}",
                    accepted.category,
                    accepted.partition,
                    at(&accepted.category, accepted.partition)
                )]
            }
            None => app
                .0
                .categories
                .iter()
                .filter_map(|category| {
                    let offsets: Vec<u64> =
                        (0..app.0.partitions).map(|partition| at(category, partition)).collect();
                    Some(format_compact(category, &offsets)?.to_str().ok()?.to_owned())
                })
                .collect(),
        }
    };
    let (commands, events) = (positions(&checkpoints.commands), positions(&checkpoints.events));
    let up_to = match &asked.accepted {
        Some(_) => format!(
            "{} of the commands that were accepted and {} of the events",
            commands.concat(),
            events.concat()
        ),
        None => "the positions that `positions` names".to_owned(),
    };
    let safe = "if the command was sent, sending it again with the same Idempotency-Key is safe";
    let detail = format!("no operation of this id is known up to {up_to}; {safe}");
    Problem::not_found("operation.unknown", detail)
        .with("positions", json!({"commands": commands, "events": events}))
}

fn text(time: DateTime<Utc>) -> String {
    Micros(time.timestamp_micros()).to_text()
}
