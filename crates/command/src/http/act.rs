//! `POST /v1/{collection}/{id}/{command}`: a command on an aggregate that has an id.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use highwater_http::problem::{FieldError, Problem};
use uuid::Uuid;

use super::{
    App, arrival, execute,
    request::{self, Target},
};
use crate::category::Category;

pub(super) async fn handle<C: Category>(
    State(app): State<Arc<App<C>>>,
    Path((id, command)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (arrival, request) = match arrival::open(&app, request).await {
        Ok(opened) => opened,
        Err(refused) => return refused,
    };
    let response = act(&app, &id, &command, request).await;
    arrival.seal(&app, response).await
}

async fn act<C: Category>(app: &App<C>, id: &str, command: &str, request: Request) -> Response {
    if app.commands.find(command, None).is_none_or(|spec| spec.creates) {
        return unknown(app, command).into_response();
    }
    let target = hyphenated(id).map(Target::Existing).ok_or_else(malformed_id);
    match request::read(app, request, command, target).await {
        Ok((caller, command)) => execute::run(app, caller, command).await,
        Err(refused) => refused,
    }
}

fn unknown<C: Category>(app: &App<C>, command: &str) -> Problem {
    let known: Vec<_> = app
        .commands
        .names()
        .filter(|name| app.commands.find(name, None).is_some_and(|spec| !spec.creates))
        .collect();
    let given: String = command.chars().take(100).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "route.unknown",
        format!("there is no command {given:?} here; known are {}", known.join(", ")),
    )
}

fn malformed_id() -> Problem {
    let detail = "must be a hyphenated UUID, such as 0190163d-8694-739b-aea5-966c26f8ad91";
    Problem::new(StatusCode::BAD_REQUEST, "id.malformed", format!("the id in the path {detail}"))
        .with_errors(vec![FieldError::parameter("id", detail)])
}

/// Either case, hyphenated, nothing else.
fn hyphenated(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    id.hyphenated()
        .encode_lower(&mut Uuid::encode_buffer())
        .eq_ignore_ascii_case(text)
        .then_some(id)
}
