//! One resource of one view: at least at the position that the caller asks for, conditional,
//! cacheable (http.md). From memory, if what is there is new enough.

use axum::{
    body::Bytes,
    extract::{Extension, OriginalUri, Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use highwater_http::{
    headers::{
        Conditions, ETag, HIGHWATER_POSITION, MinPosition, PREFERENCE_APPLIED, PartitionPosition,
        Prefer,
    },
    problem::Problem,
    server::Admission,
};
use highwater_protocol::partition::partition_of;
use highwater_tables::postgres::Connections;
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    App, Wait,
    cache::{CachedResource, Key, Status},
    circuit,
    freshness::{CDN_CACHE_CONTROL, PARKED, STALE, applied, cache, check_position, not_reached},
    list::{Fields, Parameters},
};

/// RFC 9211.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// A view of single aggregates: one row each.
pub trait View: Send + Sync + 'static {
    type Body: Serialize + Send;

    /// Whose rows and checkpoints it shows.
    const PROJECTION: &'static str;
    /// The category that it reads.
    const CATEGORY: &'static str;
    /// How shared caches may keep it. `None`: personal.
    const PUBLIC: Option<&'static str>;
    /// Of the body.
    const FIELDS: &'static [&'static str];

    /// Row and checkpoint in one statement.
    fn load(
        pool: &Connections,
        id: Uuid,
        partition: i32,
    ) -> BoxFuture<'_, Result<Lookup<Self::Body>, sqlx::Error>>;
}

/// What a view knows of one aggregate.
pub struct Lookup<B> {
    /// The number of the tables that are shown: a row may differ from one of another number under
    /// the same version.
    pub generation: i32,
    /// Everything below this offset of the aggregate's partition is included.
    pub offset: i64,
    /// An event of the aggregate could not be applied: the row lacks it, and what follows.
    pub parked: bool,
    pub row: Option<Row<B>>,
}

pub struct Row<B> {
    pub version: i64,
    pub body: B,
}

/// What the request asks for, checked.
struct ResourceRequest {
    id: Uuid,
    partition: u32,
    fields: Option<Fields>,
    conditions: Conditions,
    at_least: Option<MinPosition>,
    prefer: Prefer,
}

/// `GET /v1/{collection}/{id}`.
pub async fn get<V: View>(
    State(app): State<App>,
    Extension(admission): Extension<Admission>,
    id: Result<Path<String>, PathRejection>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // What is no text is no id either.
    let asked =
        ResourceRequest::of::<V>(&app, id.as_deref().map_or("", String::as_str), &uri, &headers)?;
    let deadline = Instant::now() + app.0.settings.wait(asked.prefer.wait);
    let load = || load::<V>(&app, asked.id, asked.partition);
    let key = Key {
        projection: V::PROJECTION,
        category: V::CATEGORY,
        partition: asked.partition,
        id: asked.id,
    };
    let (mut found, mut status) = match app.0.cache.get(key, load).await {
        Ok(read) => read,
        Err(failure) => return degraded::<V>(&app, &asked, &key, &failure).await,
    };
    let mut stale = false;
    if let Some(wanted) = &asked.at_least
        && !is_included(&found, asked.partition, wanted)
    {
        stale = !app
            .reached(
                Wait { admission: &admission, prefer: asked.prefer, deadline },
                V::PROJECTION,
                wanted,
            )
            .await?;
        if stale && !asked.prefer.stale {
            return Err(not_reached().header(HIGHWATER_POSITION, position_of::<V>(&asked, &found)));
        }
        (found, status) = match app.0.cache.renew(key, load()).await {
            Ok(read) => read,
            Err(failure) => return degraded::<V>(&app, &asked, &key, &failure).await,
        };
        let own = |position: &PartitionPosition| {
            position.partition == asked.partition && position.offset > found.offset
        };
        if !stale && wanted.0.iter().any(own) {
            // The database has fallen back since.
            return Err(not_reached().header(HIGHWATER_POSITION, position_of::<V>(&asked, &found)));
        }
    }
    let mut response = answer::<V>(&asked, found, stale)?;
    response.headers_mut().insert(CACHE_STATUS, status.to_header());
    Ok(response)
}

/// The database is away: what was read last, unless the request asks for what is newer. Never
/// waits.
async fn degraded<V: View>(
    app: &App,
    asked: &ResourceRequest,
    key: &Key,
    failure: &Failure,
) -> Result<Response, Problem> {
    let problem = failure.to_problem(app);
    if !matches!(failure, Failure::Database(circuit::Error::Open | circuit::Error::Failed(_))) {
        return Err(problem);
    }
    let Some((found, age)) = app.0.cache.last(key).await else { return Err(problem) };
    let stale =
        asked.at_least.as_ref().is_some_and(|wanted| !is_included(&found, asked.partition, wanted));
    if stale && !asked.prefer.stale {
        return Err(problem.header(HIGHWATER_POSITION, position_of::<V>(asked, &found)));
    }
    let mut response = answer::<V>(asked, found, stale)?;
    let headers = response.headers_mut();
    // No client and no proxy is to keep what may be old already.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(CDN_CACHE_CONTROL);
    headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    headers.insert(CACHE_STATUS, Status::DatabaseDown.to_header());
    Ok(response)
}

impl ResourceRequest {
    fn of<V: View>(app: &App, id: &str, uri: &Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        let id = Uuid::try_parse(id).ok().filter(|_| id.len() == uuid::fmt::Hyphenated::LENGTH);
        let id = id.ok_or_else(|| {
            Problem::bad_request("id.malformed", "the id in the path is not a hyphenated UUID")
        })?;
        let at_least = MinPosition::from_headers(headers)?;
        for position in at_least.iter().flat_map(|wanted| &wanted.0) {
            check_position(V::CATEGORY, position, app.0.partitions)?;
        }
        let key = id.hyphenated().to_string();
        Ok(Self {
            id,
            partition: partition_of(key.as_bytes(), app.0.partitions),
            fields: Parameters::of(uri, &["fields"])?.some_of("fields", V::FIELDS)?.map(Fields::of),
            conditions: Conditions::from_headers(headers)?,
            at_least,
            prefer: Prefer::from_headers(headers),
        })
    }
}

/// Why a resource could not be read.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Database(#[from] circuit::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Failure {
    fn to_problem(&self, app: &App) -> Problem {
        match self {
            Failure::Database(cause) => app.database_problem(cause),
            Failure::Json(cause) => {
                tracing::error!(error = %cause, "a row cannot be written as JSON");
                Problem::internal()
            }
        }
    }
}

async fn load<V: View>(app: &App, id: Uuid, partition: u32) -> Result<CachedResource, Failure> {
    // No partition number is that large; the row is found by its id.
    let query = V::load(&app.0.pool, id, i32::try_from(partition).unwrap_or(i32::MAX));
    let found = app.0.circuit.run(query).await?;
    let row = match found.row {
        Some(row) => Some((row.version, Bytes::from(serde_json::to_vec(&row.body)?))),
        None => None,
    };
    Ok(CachedResource {
        generation: found.generation.unsigned_abs(),
        offset: found.offset.unsigned_abs(),
        parked: found.parked,
        row,
    })
}

/// The row's own checkpoint may already answer; every other partition has to be asked for.
fn is_included(found: &CachedResource, partition: u32, wanted: &MinPosition) -> bool {
    wanted.0.iter().all(|position| {
        position.offset == 0 || (position.partition == partition && position.offset <= found.offset)
    })
}

fn position_of<V: View>(asked: &ResourceRequest, found: &CachedResource) -> HeaderValue {
    PartitionPosition::new(V::CATEGORY, asked.partition, found.offset).to_header()
}

fn answer<V: View>(
    asked: &ResourceRequest,
    found: CachedResource,
    stale: bool,
) -> Result<Response, Problem> {
    let position = position_of::<V>(asked, &found);
    let mut response = match found.row {
        None => {
            let what = V::CATEGORY;
            let mut detail =
                format!("no {what} has this id up to the position that Highwater-Position names");
            if found.parked {
                detail.push_str(": its events could not be applied, and are parked");
            }
            Problem::not_found(&format!("{what}.not-found"), detail).into_response()
        }
        Some((version, body)) => {
            let mut etag = ETag::generation(found.generation.into(), version.unsigned_abs());
            if let Some(fields) = &asked.fields {
                etag = etag.with_suffix(&fields.suffix());
            }
            let known = asked.conditions.is_known(Some(&etag));
            let known =
                known.map_err(|problem| problem.header(HIGHWATER_POSITION, position.clone()))?;
            let mut response =
                if known { StatusCode::NOT_MODIFIED.into_response() } else { json(asked, body)? };
            response.headers_mut().insert(ETag::name(), etag.to_header());
            cache(response.headers_mut(), V::PUBLIC, stale || found.parked);
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(HIGHWATER_POSITION, position);
    if stale {
        headers.insert(STALE, HeaderValue::from_static("true"));
    }
    if found.parked {
        headers.insert(PARKED, HeaderValue::from_static("true"));
    }
    if let Some(applied) = applied(asked.at_least.as_ref(), asked.prefer, stale) {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

fn json(asked: &ResourceRequest, body: Bytes) -> Result<Response, Problem> {
    let body = match &asked.fields {
        None => body,
        Some(fields) => fields.only_of(&body).map(Bytes::from).map_err(|_| Problem::internal())?,
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
        .into_response())
}
