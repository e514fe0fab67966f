//! `POST /v1/{collection}`: the command that makes an aggregate.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use highwater_http::problem::Problem;

use super::{
    App, arrival, execute,
    request::{self, Target},
};
use crate::category::Category;

pub(super) async fn handle<C: Category>(
    State(app): State<Arc<App<C>>>,
    request: Request,
) -> Response {
    let (arrival, request) = match arrival::open(&app, request).await {
        Ok(opened) => opened,
        Err(refused) => return refused,
    };
    let response = create(&app, request).await;
    arrival.seal(&app, response).await
}

async fn create<C: Category>(app: &App<C>, request: Request) -> Response {
    let creating = app.commands.creating();
    let [command] = creating.as_slice() else { return Problem::no_route().into_response() };
    match request::read(app, request, command, Ok(Target::New)).await {
        Ok((caller, command)) => execute::run(app, caller, command).await,
        Err(refused) => refused,
    }
}
