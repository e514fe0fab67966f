//! How new an answer is: the position that a caller asks for, and what an answer says of its age.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use highwater_http::{
    headers::{MinPosition, PartitionPosition, Prefer},
    problem::Problem,
};
use serde_json::json;

/// Says that the answer is older than what was asked for; only with `Prefer: stale`.
pub const STALE: HeaderName = HeaderName::from_static("highwater-stale");
/// An event of the aggregate, or of one of the collection, could not be applied: what is shown lacks
/// it, and what follows.
pub const PARKED: HeaderName = HeaderName::from_static("highwater-parked");
const MIN_POSITION: HeaderName = HeaderName::from_static("highwater-min-position");
pub(crate) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// Whether a view of category `reads` can ever reach the position.
pub(crate) fn check_position(
    reads: &str,
    position: &PartitionPosition,
    partitions: u32,
) -> Result<(), Problem> {
    let shown = "Highwater-Min-Position";
    if position.category != reads {
        let detail = format!("this view does not read `{}`; it reads: {reads}", position.category);
        return Err(Problem::bad_header(shown, detail).with("categories", json!([reads])));
    }
    if position.partition >= partitions {
        return Err(Problem::bad_header(
            shown,
            format!(
                "`{reads}` has no partition {}: they are 0 to {}",
                position.partition,
                partitions - 1
            ),
        ));
    }
    Ok(())
}

pub(crate) fn not_reached() -> Problem {
    let detail = "the view has not reached the position asked for in Highwater-Min-Position; try \
                  again, wait longer with Prefer: wait, or take what there is with Prefer: stale";
    Problem::gateway_timeout("position.not-reached", detail)
}

/// For `Preference-Applied`: preferences count only where a position is asked for.
pub(crate) fn applied(
    at_least: Option<&MinPosition>,
    asked: Prefer,
    stale: bool,
) -> Option<HeaderValue> {
    at_least?;
    Prefer { respond_async: false, stale: asked.stale && stale, ..asked }.applied()
}

/// How callers and shared caches may keep the answer; `public` is how shared ones may, unless it is
/// personal.
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
            // A cache must not answer a caller that asks for a position with what it had before.
            headers.insert(header::VARY, HeaderValue::from(MIN_POSITION));
        }
    }
}
