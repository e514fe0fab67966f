//! One resource of one view: at least at the position that the caller asks for, conditional, cacheable (http.md).

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use protocol::partition::partition_of;
use serde::Serialize;
use serde_json::json;
use service::{
    headers::{ETag, HIGHWATER_POSITION, IfNoneMatch, MinPosition, PREFERENCE_APPLIED, PartitionPosition, Prefer},
    problem::Problem,
};
use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{App, database::GENERATION};

/// Says that the answer is older than what was asked for; only with `Prefer: stale`.
pub const STALE: HeaderName = HeaderName::from_static("highwater-stale");
const MIN_POSITION: HeaderName = HeaderName::from_static("highwater-min-position");
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// A view of single aggregates: one row each.
pub trait View: Send + Sync + 'static {
    type Body: Serialize + Send;

    /// Whose rows and checkpoints it shows.
    const PROJECTION: &'static str;
    /// The category that it reads.
    const CATEGORY: &'static str;
    /// How shared caches may keep it. `None`: personal.
    const PUBLIC: Option<&'static str>;

    /// Row and checkpoint in one statement.
    fn load(pool: &PgPool, id: Uuid, partition: i32) -> BoxFuture<'_, Result<Found<Self::Body>, sqlx::Error>>;
}

/// What a view knows of one aggregate.
pub struct Found<B> {
    /// Everything below this offset of the aggregate's partition is included.
    pub offset: i64,
    pub row: Option<Row<B>>,
}

pub struct Row<B> {
    pub version: i64,
    pub body: B,
}

/// What the request asks for, checked.
struct Asked {
    id: Uuid,
    partition: u32,
    unless: Option<IfNoneMatch>,
    at_least: Option<MinPosition>,
    prefer: Prefer,
}

/// `GET /v1/{collection}/{id}`.
pub async fn get<V: View>(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // What is no text is no id either.
    let asked = Asked::of::<V>(&app, id.as_deref().map_or("", String::as_str), &headers)?;
    let deadline = Instant::now() + app.0.settings.wait(asked.prefer.wait);
    let mut found = load::<V>(&app, &asked).await?;
    let mut stale = false;
    if let Some(wanted) = &asked.at_least
        && !is_included::<V>(&found, asked.partition, wanted)
    {
        stale = !app.reached(V::PROJECTION, wanted, deadline).await?;
        if stale && !asked.prefer.stale {
            return Err(not_reached().header(HIGHWATER_POSITION, position_of::<V>(&asked, &found)));
        }
        found = load::<V>(&app, &asked).await?;
    }
    Ok(answer::<V>(&asked, found, stale))
}

impl Asked {
    fn of<V: View>(app: &App, id: &str, headers: &HeaderMap) -> Result<Self, Problem> {
        let id = Uuid::try_parse(id).ok().filter(|_| id.len() == uuid::fmt::Hyphenated::LENGTH);
        let id = id.ok_or_else(|| Problem::bad_request("id.malformed", "the id in the path is not a hyphenated UUID"))?;
        let at_least = MinPosition::from_headers(headers)?;
        for position in at_least.iter().flat_map(|wanted| &wanted.0) {
            check_position(V::CATEGORY, position, app.0.partitions)?;
        }
        let key = id.hyphenated().to_string();
        Ok(Self {
            id,
            partition: partition_of(key.as_bytes(), app.0.partitions),
            unless: IfNoneMatch::from_headers(headers)?,
            at_least,
            prefer: Prefer::from_headers(headers)?,
        })
    }
}

/// Whether a view of category `reads` can ever reach the position.
pub(crate) fn check_position(reads: &str, position: &PartitionPosition, partitions: u32) -> Result<(), Problem> {
    let shown = "Highwater-Min-Position";
    if position.category != reads {
        let detail = format!("this view does not read `{}`; it reads: {reads}", position.category);
        return Err(Problem::bad_header(shown, detail).with("categories", json!([reads])));
    }
    if position.partition >= partitions {
        return Err(Problem::bad_header(
            shown,
            format!("`{reads}` has no partition {}: they are 0 to {}", position.partition, partitions - 1),
        ));
    }
    Ok(())
}

async fn load<V: View>(app: &App, asked: &Asked) -> Result<Found<V::Body>, Problem> {
    let partition = i32::try_from(asked.partition).map_err(|_| Problem::internal())?;
    V::load(&app.0.pool, asked.id, partition).await.map_err(|cause| app.database_problem(&cause))
}

/// The row's own checkpoint may already answer; every other partition has to be asked for.
fn is_included<V: View>(found: &Found<V::Body>, partition: u32, wanted: &MinPosition) -> bool {
    wanted
        .0
        .iter()
        .all(|position| position.offset == 0 || (position.partition == partition && position.offset <= found.offset.unsigned_abs()))
}

fn position_of<V: View>(asked: &Asked, found: &Found<V::Body>) -> HeaderValue {
    PartitionPosition::new(V::CATEGORY, asked.partition, found.offset.unsigned_abs()).to_header()
}

pub(crate) fn not_reached() -> Problem {
    let detail = "the view has not reached the position asked for in Highwater-Min-Position; try again, wait longer with Prefer: wait, or take what there is with Prefer: stale";
    Problem::gateway_timeout("position.not-reached", detail)
}

fn answer<V: View>(asked: &Asked, found: Found<V::Body>, stale: bool) -> Response {
    let position = position_of::<V>(asked, &found);
    let mut response = match found.row {
        None => {
            let what = V::CATEGORY;
            Problem::not_found(
                &format!("{what}.not-found"),
                format!("no {what} has this id up to the position that Highwater-Position names"),
            )
            .into_response()
        }
        Some(row) => {
            let etag = ETag::generation(GENERATION.unsigned_abs().into(), row.version.unsigned_abs());
            let known = asked.unless.as_ref().is_some_and(|tags| tags.matches(&etag));
            let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { Json(row.body).into_response() };
            response.headers_mut().insert(ETag::name(), etag.to_header());
            cache(response.headers_mut(), V::PUBLIC, stale);
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(HIGHWATER_POSITION, position);
    if stale {
        headers.insert(STALE, HeaderValue::from_static("true"));
    }
    if let Some(applied) = applied(asked.at_least.as_ref(), asked.prefer, stale) {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    response
}

/// For `Preference-Applied`: preferences count only where a position is asked for.
pub(crate) fn applied(at_least: Option<&MinPosition>, asked: Prefer, stale: bool) -> Option<HeaderValue> {
    at_least?;
    Prefer { respond_async: false, stale: asked.stale && stale, ..asked }.applied()
}

/// How callers and shared caches may keep the answer; `public` is how shared ones may, unless it is personal.
pub(crate) fn cache(headers: &mut HeaderMap, public: Option<&'static str>, stale: bool) {
    let personal = HeaderValue::from_static("private, max-age=0, must-revalidate");
    match public {
        _ if stale => {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        None => {
            headers.insert(header::CACHE_CONTROL, personal);
        }
        Some(rules) => {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(rules));
            headers.insert(CDN_CACHE_CONTROL, HeaderValue::from_static(rules));
            // A cache must not answer who asks for a position with what it had before.
            headers.insert(header::VARY, HeaderValue::from(MIN_POSITION));
        }
    }
}
