//! A list of one view (http.md): filtered, sorted, in pages that a signed cursor continues, at
//! least at the position that the caller asks for. Pages are found by key, never by counting rows,
//! so that the last one costs what the first one does.

mod fields;
mod page;
mod parameters;
mod served;

use axum::{
    extract::{Extension, OriginalUri, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use highwater_http::{
    headers::{
        Conditions, ETag, HIGHWATER_POSITION, MinPosition, PREFERENCE_APPLIED, Prefer,
        format_compact,
    },
    problem::Problem,
    server::Admission,
};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use sqlx::{FromRow, Postgres, QueryBuilder, postgres::PgRow};
use tokio::time::Instant;
use uuid::Uuid;

pub use fields::Fields;
pub use page::Page;
pub use parameters::Parameters;
pub use served::{Combination, check as check_served};

use crate::{
    App, Wait, circuit,
    freshness::{self, PARKED, STALE},
};

/// Of the digest.
const ETAG_BYTES: usize = 16;
/// The number of the tables that were never made anew.
const FIRST: i32 = 1;
pub const DEFAULT_LIMIT: i64 = 50;
pub const LARGEST_LIMIT: i64 = 200;
/// Ids that one request may name.
pub const MOST_IDS: usize = 100;
/// The parameter that names them.
const ID: &str = "id";

/// A view of many rows. The value itself holds the filters of one request.
pub trait List: Sized + Send + Sync + 'static {
    type Row: for<'r> FromRow<'r, PgRow> + Serialize + Send + Unpin;
    /// Where a page ended: what the rows are sorted by, unique by its last part.
    type Key: Serialize + DeserializeOwned + Send + Sync;

    /// Whose rows and checkpoints it shows.
    const PROJECTION: &'static str;
    /// The category that it reads.
    const CATEGORY: &'static str;
    /// How shared caches may keep it. `None`: personal.
    const PUBLIC: Option<&'static str> = None;
    const FILTERS: &'static [&'static str];
    /// The first one is the default. None: one fixed sequence.
    const SORTS: &'static [&'static str] = &[];
    /// Filters and sorts that go together, each by an index. None: all of them.
    const SERVED: &'static [Combination] = &[];
    /// Of a row.
    const FIELDS: &'static [&'static str];
    /// The statement that finds the rows of some ids, in their sequence, for `?id=..&id=..`. None:
    /// the list finds none by id.
    const BY_IDS: Option<SelectByIds> = None;

    /// The filters, checked.
    fn filtered(given: &Parameters) -> Result<Self, Problem>;

    /// The whole statement; values are bound, never written into it.
    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>);

    /// A parameter that may find too many rows to be sorted, the most that it may find, and a
    /// statement that counts up to one more.
    fn crowd(&self, _sql: &mut QueryBuilder<Postgres>) -> Option<(&'static str, i64)> {
        None
    }

    /// Where a page that ends with `row` ended.
    fn key(&self, row: &Self::Row, sort: &str) -> Self::Key;
}

/// Writes the statement that finds the rows of these ids, in their sequence.
pub type SelectByIds = fn(&[Uuid], &mut QueryBuilder<Postgres>);

/// What the request asks for, checked.
struct ListRequest<L: List> {
    list: L,
    page: Page<L::Key>,
    /// These rows and no others, in one page.
    by_ids: Option<(SelectByIds, Vec<Uuid>)>,
    given: Parameters,
    path: String,
    /// What a cursor is bound to.
    binding: String,
    /// The number of the tables that the cursor was given for.
    continues: Option<i32>,
    fields: Option<Fields>,
    conditions: Conditions,
    at_least: Option<MinPosition>,
    prefer: Prefer,
}

/// One page, and what it was read from.
struct PageRows<R> {
    state: page::State,
    rows: Vec<R>,
}

/// `GET /v1/{collection}`.
pub async fn get<L: List>(
    State(app): State<App>,
    Extension(admission): Extension<Admission>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = ListRequest::<L>::of(&app, &uri, &headers)?;
    let deadline = Instant::now() + app.0.settings.wait(asked.prefer.wait);
    let mut found = load(&app, &asked, &admission, asked.at_least.as_ref()).await?;
    let mut stale = false;
    if let Some(wanted) = &asked.at_least
        && !is_included(&found.state.offsets, wanted)
    {
        stale = !app
            .reached(
                Wait { admission: &admission, prefer: asked.prefer, deadline },
                L::PROJECTION,
                wanted,
            )
            .await?;
        if stale && !asked.prefer.stale {
            return Err(with_position(
                freshness::not_reached(),
                position_of::<L>(&found.state.offsets),
            ));
        }
        found = load(&app, &asked, &admission, Some(wanted).filter(|_| !stale)).await?;
        if !stale && !is_included(&found.state.offsets, wanted) {
            // The database has fallen back since.
            return Err(with_position(
                freshness::not_reached(),
                position_of::<L>(&found.state.offsets),
            ));
        }
    }
    answer(&app, &asked, found, stale)
}

impl<L: List> ListRequest<L> {
    fn of(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        let given = Parameters::with_repeated(uri, &allowed::<L>(), Some(ID))?;
        let by_ids = by_ids::<L>(&given)?;
        let list = L::filtered(&given)?;
        let sort = if L::SORTS.is_empty() { None } else { given.one_of("sort", L::SORTS)? };
        let sort = sort.or(L::SORTS.first().copied()).unwrap_or_default();
        check_served(L::SERVED, L::FILTERS, &given, sort)?;
        let limit = match &by_ids {
            Some(_) => LARGEST_LIMIT,
            None => given.integer("limit", 1, LARGEST_LIMIT)?.unwrap_or(DEFAULT_LIMIT),
        };
        let path = uri.path().to_owned();
        let binding = binding::<L>(&given, &path, sort);
        let (continues, after) = match given.get("cursor") {
            None => (None, None),
            Some(cursor) => {
                let (generation, key) = opened::<L>(app, &binding, cursor)?;
                (Some(generation), Some(key))
            }
        };
        let at_least = MinPosition::from_headers(headers)?;
        for position in at_least.iter().flat_map(|wanted| &wanted.0) {
            freshness::check_position(L::CATEGORY, position, app.0.partitions)?;
        }
        let fields = given.some_of("fields", L::FIELDS)?.map(Fields::of);
        let conditions = Conditions::from_headers(headers)?;
        let prefer = Prefer::from_headers(headers);
        Ok(Self {
            list,
            page: Page { sort, limit, after },
            by_ids,
            given,
            path,
            binding,
            continues,
            fields,
            conditions,
            at_least,
            prefer,
        })
    }
}

fn allowed<L: List>() -> Vec<&'static str> {
    let sort: &[&str] = if L::SORTS.is_empty() { &[] } else { &["sort"] };
    let id: &[&str] = if L::BY_IDS.is_some() { &[ID] } else { &[] };
    [L::FILTERS, id, sort, &["limit", "cursor", "fields"]].concat()
}

/// Nothing else says which rows, or in which sequence, where ids do.
fn by_ids<L: List>(given: &Parameters) -> Result<Option<(SelectByIds, Vec<Uuid>)>, Problem> {
    let Some(select) = L::BY_IDS else { return Ok(None) };
    let Some(ids) = given.ids(ID, MOST_IDS)? else { return Ok(None) };
    match given.iter().find(|(name, _)| ![ID, "fields"].contains(name)) {
        Some((other, _)) => {
            let detail = format!("cannot be given with `{ID}`; with it only `fields` can");
            Err(Problem::bad_parameter(other, detail))
        }
        None => Ok(Some((select, ids))),
    }
}

/// Page size and fields may change from page to page; filters and sort may not.
fn binding<L: List>(given: &Parameters, path: &str, sort: &str) -> String {
    let filters: Vec<_> = given.iter().filter(|(name, _)| L::FILTERS.contains(name)).collect();
    serde_json::json!([path, sort, filters]).to_string()
}

/// Of the first generation as ever, so that releases that know no other continue each other's; of
/// the others with the number before the key.
fn sealed(app: &App, binding: &str, generation: i32, key: &[u8]) -> String {
    match generation {
        FIRST => app.0.cursors.seal(binding, key),
        _ => app.0.cursors.seal(&numbered(binding), &[&generation.to_be_bytes(), key].concat()),
    }
}

fn numbered(binding: &str) -> String {
    format!("{binding}#")
}

fn opened<L: List>(app: &App, binding: &str, cursor: &str) -> Result<(i32, L::Key), Problem> {
    let first = || Some((FIRST, app.0.cursors.open(binding, cursor)?));
    let others = || {
        let position = app.0.cursors.open(&numbered(binding), cursor)?;
        let (generation, key) = position.split_first_chunk()?;
        Some((i32::from_be_bytes(*generation), key.to_vec()))
    };
    let key = first()
        .or_else(others)
        .and_then(|(generation, key)| Some((generation, serde_json::from_slice(&key).ok()?)));
    key.ok_or_else(|| {
        let detail = "is not one that this list gave for these filters and this sort; begin again \
                      without it";
        Problem::bad_parameter("cursor", detail)
    })
}

/// Rows may have changed without their versions, and so their places in the sequence.
fn replaced() -> Problem {
    let detail = "is of tables that were made anew since; begin again without it";
    Problem::bad_parameter("cursor", detail)
}

/// The checkpoints first, on the same connection: the rows are at least as new. Without rows, which
/// are what costs, where they do not include `at_least`.
async fn load<L: List>(
    app: &App,
    asked: &ListRequest<L>,
    admission: &Admission,
    at_least: Option<&MinPosition>,
) -> Result<PageRows<L::Row>, Problem> {
    if app.0.circuit.is_open() {
        return Err(app.database_problem(&circuit::Error::Open));
    }
    let _turn = app.0.lists.enter(admission.peer()).await?;
    let query = async {
        let mut connection = app.0.pool.acquire().await?;
        let state =
            page::state(&mut connection, L::PROJECTION, L::CATEGORY, app.0.partitions).await?;
        if asked.continues.is_some_and(|of| of != state.generation) {
            return Ok(Err(replaced()));
        }
        if at_least.is_some_and(|wanted| !is_included(&state.offsets, wanted)) {
            return Ok(Ok(PageRows { state, rows: Vec::new() }));
        }
        let mut count = QueryBuilder::new("");
        if let Some((parameter, most)) = asked.list.crowd(&mut count)
            && count.build_query_scalar::<i64>().fetch_one(&mut *connection).await? > most
        {
            return Ok(Err(too_many(parameter, most)));
        }
        let mut sql = QueryBuilder::new("");
        match &asked.by_ids {
            Some((select, ids)) => select(ids, &mut sql),
            None => asked.list.select(&asked.page, &mut sql),
        }
        let rows = sql.build_query_as::<L::Row>().fetch_all(&mut *connection).await?;
        Ok(Ok(PageRows { state, rows }))
    };
    app.0.circuit.run(query).await.map_err(|cause| app.database_problem(&cause))?
}

fn too_many(parameter: &str, most: i64) -> Problem {
    Problem::bad_parameter(
        parameter,
        format!("finds more than {most} rows; say more of what is wanted"),
    )
}

fn is_included(offsets: &[u64], wanted: &MinPosition) -> bool {
    wanted.0.iter().all(|position| {
        offsets.get(position.partition as usize).is_some_and(|offset| *offset >= position.offset)
    })
}

/// `None`: too many partitions for a header.
fn position_of<L: List>(offsets: &[u64]) -> Option<HeaderValue> {
    format_compact(L::CATEGORY, offsets)
}

fn with_position(problem: Problem, position: Option<HeaderValue>) -> Problem {
    match position {
        Some(position) => problem.header(HIGHWATER_POSITION, position),
        None => problem,
    }
}

fn answer<L: List>(
    app: &App,
    asked: &ListRequest<L>,
    mut found: PageRows<L::Row>,
    stale: bool,
) -> Result<Response, Problem> {
    let size = usize::try_from(asked.page.limit).unwrap_or_default();
    let is_last = found.rows.len() <= size;
    found.rows.truncate(size);
    let next = found
        .rows
        .last()
        .filter(|_| !is_last)
        .map(|row| next_page(app, asked, found.state.generation, row));
    let body = fields::items(&found.rows, asked.fields.as_ref()).map_err(|cause| {
        tracing::error!(error = %cause, "a row cannot be written as JSON");
        Problem::internal()
    })?;
    let etag = etag(&body, is_last);
    let known = asked.conditions.is_known(Some(&etag));
    let known =
        known.map_err(|problem| with_position(problem, position_of::<L>(&found.state.offsets)))?;
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
            .into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(ETag::name(), etag.to_header());
    freshness::cache(headers, L::PUBLIC, stale);
    if let Some(next) = next.transpose()? {
        headers.insert(header::LINK, next);
    }
    if let Some(position) = position_of::<L>(&found.state.offsets) {
        headers.insert(HIGHWATER_POSITION, position);
    }
    if found.state.parked {
        headers.insert(PARKED, HeaderValue::from_static("true"));
    }
    if stale {
        headers.insert(STALE, HeaderValue::from_static("true"));
    }
    if let Some(applied) = freshness::applied(asked.at_least.as_ref(), asked.prefer, stale) {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// A page has no version: what it says is its tag, and whether another one follows.
fn etag(body: &[u8], is_last: bool) -> ETag {
    let digest = Sha256::new().chain_update([u8::from(is_last)]).chain_update(body).finalize();
    ETag::content(&digest[..ETAG_BYTES])
}

/// RFC 8288, relative to the request.
fn next_page<L: List>(
    app: &App,
    asked: &ListRequest<L>,
    generation: i32,
    last: &L::Row,
) -> Result<HeaderValue, Problem> {
    let key = serde_json::to_vec(&asked.list.key(last, asked.page.sort))
        .map_err(|_| Problem::internal())?;
    let cursor = sealed(app, &asked.binding, generation, &key);
    let link = format!("<{}?{}>; rel=\"next\"", asked.path, asked.given.with("cursor", &cursor));
    HeaderValue::from_str(&link).map_err(|_| Problem::internal())
}
