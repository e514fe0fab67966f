//! How a command arrives: from a client, or from another instance that proves it. An answer to an
//! instance is proven, too.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use highwater_http::{
    body::{BodyLimit, DEFAULT_BODY_LIMIT},
    problem::Problem,
};

use super::App;
use crate::{
    category::Category,
    owner::hop::{End, HOP, Hop, HopRequest, HopResponse, OF_COMMANDS},
};

/// What [`Arrival::seal`] makes of an answer.
pub(super) enum Arrival {
    Client,
    /// On the request as an extension, too: nothing that a client sends can make one.
    Hop(Hop),
}

/// Looks who sends the command. A hop that is not proven, or is meant for another instance, is
/// answered here.
pub(super) async fn open<C: Category>(
    app: &App<C>,
    request: Request,
) -> Result<(Arrival, Request), Response> {
    if !request.headers().contains_key(HOP) {
        return Ok((Arrival::Client, request));
    }
    let (mut head, body) = request.into_parts();
    let limit = head.extensions.get::<BodyLimit>().map_or(DEFAULT_BODY_LIMIT, |limit| limit.0);
    let Ok(body) = to_bytes(body, limit).await else {
        return Err(unauthenticated().into_response());
    };
    let sent = HopRequest { path: head.uri.path(), headers: &head.headers, body: &body };
    let Some(hop) = Hop::open(&app.announcements.deployment, sent) else {
        return Err(unauthenticated().into_response());
    };
    let arrival = Arrival::Hop(hop);
    let apart_ms = app.ctx.clock.now().div_euclid(1_000).abs_diff(hop.sent_ms);
    if hop.to != app.announcements.instance {
        return Err(arrival.refused(app, End::NotThere).await);
    }
    if apart_ms > app.hop_age.as_millis().try_into().unwrap_or(u64::MAX) {
        return Err(arrival.refused(app, End::Stale).await);
    }
    // What is not proven is not looked at.
    head.headers = OF_COMMANDS
        .iter()
        .filter_map(|name| head.headers.remove(name).map(|value| (name.clone(), value)))
        .collect();
    head.extensions.insert(hop);
    Ok((arrival, Request::from_parts(head, Body::from(body))))
}

impl Arrival {
    /// The answer as it leaves: to another instance with its proof, and with what only that
    /// instance may hear.
    pub(super) async fn seal<C: Category>(self, app: &App<C>, mut response: Response) -> Response {
        let end = response.extensions_mut().remove::<End>().unwrap_or(End::Answered);
        let Self::Hop(hop) = self else { return response };
        // The layers write instance and trace into a problem: here the sender does.
        response.extensions_mut().remove::<Problem>();
        let (mut head, body) = response.into_parts();
        // Ours, and in memory.
        let Ok(body) = to_bytes(body, usize::MAX).await else {
            return Problem::internal().into_response();
        };
        let answered = HopResponse { status: head.status, headers: &head.headers, body: &body };
        let seal = hop.seal_answer(&app.announcements.deployment, end, answered);
        head.headers.insert(HOP, seal);
        Response::from_parts(head, Body::from(body))
    }

    async fn refused<C: Category>(self, app: &App<C>, end: End) -> Response {
        let mut response = Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "hop.not-there",
            "another instance is meant",
        )
        .into_response();
        response.extensions_mut().insert(end);
        self.seal(app, response).await
    }
}

fn unauthenticated() -> Problem {
    let detail = "the header Highwater-Hop is for the instances of one deployment, and this \
                  request does not come from one of them";
    Problem::new(StatusCode::FORBIDDEN, "hop.unauthenticated", detail)
}
