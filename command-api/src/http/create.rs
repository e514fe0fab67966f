//! `POST /v1/{collection}`: the command that makes an aggregate.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{OriginalUri, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use service::{body::StrictJson, http::TraceContext, problem::Problem};

use super::{
    App, execute,
    request::{Caller, Target},
};
use crate::category::Category;

pub(super) async fn handle<C: Category>(
    State(app): State<Arc<App<C>>>,
    OriginalUri(uri): OriginalUri,
    Extension(trace): Extension<TraceContext>,
    headers: HeaderMap,
    body: Result<StrictJson, Problem>,
) -> Response {
    let creating = app.commands.creating();
    let [command] = creating.as_slice() else { return Problem::no_route().into_response() };
    let caller = match Caller::read(&app, uri.path(), &trace, headers) {
        Ok(caller) => caller,
        // What is wrong with the body's size or type comes first.
        Err(problem) => return body.err().unwrap_or(problem).into_response(),
    };
    execute::run(&app, caller, command, Target::New, body).await
}
