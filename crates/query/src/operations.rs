//! `GET /v1/operations/{id}`: what a command came to, by its command id (docs/http.md,
//! "Operations"). What the command queue has accepted is in `operations`, what commands came to
//! is in `outcomes`; both are read in one statement, with the checkpoints that say what is not
//! known yet. Keeps nothing.

mod answer;
mod awaited;
mod state;

use axum::{
    Router,
    extract::{Extension, OriginalUri, Path, State, rejection::PathRejection},
    http::{HeaderMap, Uri},
    response::Response,
    routing::get,
};
use highwater_http::{
    headers::{Conditions, PartitionPosition, Prefer},
    problem::Problem,
    server::Admission,
};
use highwater_tables::checkpoints;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{App, list::Parameters};

pub use awaited::Awaited;
use state::OperationRecords;

/// The projection of what is accepted: its checkpoints count the offsets of `commands`.
const ACCEPTED: &str = checkpoints::OPERATIONS;
/// The projection of what commands came to.
const OUTCOMES: &str = checkpoints::SNAPSHOTS;

pub fn routes() -> Router<App> {
    Router::new().route("/v1/operations/{id}", get(show))
}

/// What the request asks for, checked.
struct OperationRequest {
    id: Uuid,
    /// The offset after the command in `commands`.
    accepted: Option<PartitionPosition>,
    conditions: Conditions,
    prefer: Prefer,
}

async fn show(
    State(app): State<App>,
    Extension(admission): Extension<Admission>,
    id: Result<Path<String>, PathRejection>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // What is no text is no id either.
    let asked =
        OperationRequest::of(&app, id.as_deref().map_or("", String::as_str), &uri, &headers)?;
    let found = match asked.prefer.wait {
        None => load(&app, asked.id).await?,
        Some(wait) => {
            load_decided(
                &app,
                &admission,
                asked.id,
                Instant::now() + app.0.settings.wait(Some(wait)),
            )
            .await?
        }
    };
    let state = found.state(asked.accepted.as_ref());
    answer::response(&asked, state, &app)
}

/// As soon as there is an outcome, or what there is at the deadline.
async fn load_decided(
    app: &App,
    admission: &Admission,
    id: Uuid,
    deadline: Instant,
) -> Result<OperationRecords, Problem> {
    let mut place = app.0.positions.enter(OUTCOMES).map_err(|full| app.crowded(full))?;
    // Before the first look, so that no outcome comes unnoticed between the two.
    let waiting = app.0.awaited.register(id);
    let found = load(app, id).await?;
    if found.is_decided() {
        return Ok(found);
    }
    let waited = async {
        tokio::select! {
            () = waiting.decided(deadline) => {}
            () = place.gives_way() => {}
        }
    };
    admission.while_waiting(waited).await?;
    load(app, id).await
}

async fn load(app: &App, id: Uuid) -> Result<OperationRecords, Problem> {
    let from_tables = |id| async move {
        let query = OperationRecords::load(&app.0.pool, id);
        app.0.circuit.run(query).await.map_err(|error| app.database_problem(&error))
    };
    let found = from_tables(id).await?;
    if found.may_be_seen(&app.0.viewers) {
        return Ok(found);
    }
    // Another principal's: as if it were not there, in every detail.
    from_tables(Uuid::nil()).await
}

impl OperationRequest {
    fn of(app: &App, id: &str, uri: &Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        let id = Uuid::try_parse(id).ok().filter(|_| id.len() == uuid::fmt::Hyphenated::LENGTH);
        let id = id.ok_or_else(|| {
            Problem::bad_request("id.malformed", "the id in the path is not a hyphenated UUID")
        })?;
        let parameters = Parameters::of(uri, &["accepted"])?;
        let form = "category/partition@offset, as in the Location of a 202";
        let accepted = parameters.parsed("accepted", form, PartitionPosition::parse)?;
        if let Some(accepted) = &accepted {
            check(accepted, &app.0.categories, app.0.partitions)?;
        }
        Ok(Self {
            id,
            accepted,
            conditions: Conditions::from_headers(headers)?,
            prefer: Prefer::from_headers(headers),
        })
    }
}

/// Whether a command can lie there.
fn check(
    accepted: &PartitionPosition,
    categories: &[&str],
    partitions: u32,
) -> Result<(), Problem> {
    let PartitionPosition { category, partition, .. } = accepted;
    if !categories.contains(&category.as_str()) {
        let detail =
            format!("there is no category `{category}`; there are: {}", categories.join(", "));
        return Err(
            Problem::bad_parameter("accepted", detail).with("categories", json!(categories))
        );
    }
    if *partition >= partitions {
        let detail = format!(
            "`{category}` has no partition {partition}: they are 0 to {}",
            partitions.saturating_sub(1)
        );
        return Err(Problem::bad_parameter("accepted", detail));
    }
    Ok(())
}
