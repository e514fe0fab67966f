//! Baseline (b): an event store in Postgres done well: prepared statements, one round trip for the
//! append, expected version, idempotency row and read model in the same transaction, a pool of 32,
//! fsync on. The read model is one row an aggregate; with [`ReadModel::Lists`] it is the table of
//! orders that our projectors fill, with the indexes that the lists are served from.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use highwater_http::{body::StrictJson, headers::IdempotencyKey, problem::Problem};
use highwater_runtime::context::Context;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

/// What is kept for readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadModel {
    /// One row an aggregate, found by its id only.
    ById,
    /// `orders` as in `store/migrations`: filtered, sorted and paged by four indexes. Sums by
    /// day are left out.
    Lists,
}

#[derive(Clone)]
struct App {
    ctx: Context,
    pool: PgPool,
    read_model: ReadModel,
}

/// What a row of the lists needs of a placed order.
struct Placed {
    customer: Uuid,
    currency: String,
    units: i64,
    total_minor: i64,
    lines: Value,
}

const TABLES: &str = "
    CREATE TABLE events (
        aggregate_id uuid NOT NULL, version bigint NOT NULL, id uuid NOT NULL, type text NOT NULL, \
        data jsonb NOT NULL,
        at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (aggregate_id, version)
    );
    CREATE TABLE idempotency (key text PRIMARY KEY, aggregate_id uuid NOT NULL, version bigint NOT \
    NULL);
    CREATE TABLE views (id uuid PRIMARY KEY, version bigint NOT NULL, status text NOT NULL, data \
    jsonb NOT NULL);
";

/// One statement, so one round trip and one commit: nothing is written if the key or the version is
/// there already.
const APPEND: &str = "
    WITH event AS (
        INSERT INTO events (aggregate_id, version, id, type, data) VALUES ($1, $2, $3, $4, $5)
    ), key AS (
        INSERT INTO idempotency (key, aggregate_id, version) VALUES ($6, $1, $2)
    )
    INSERT INTO views (id, version, status, data) VALUES ($1, $2, $7, $5)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, status = excluded.status";

const APPEND_PLACED: &str = "
    WITH event AS (
        INSERT INTO events (aggregate_id, version, id, type, data) VALUES ($1, $2, $3, $4, $5)
    ), key AS (
        INSERT INTO idempotency (key, aggregate_id, version) VALUES ($6, $1, $2)
    )
    INSERT INTO orders (id, partition, version, status, customer_id, currency, placed_at, units, \
    total_minor, lines)
    VALUES ($1, 0, $2, $7, $8, $9, now(), $10, $11, $12)";

const APPEND_CHANGED: &str = "
    WITH event AS (
        INSERT INTO events (aggregate_id, version, id, type, data) VALUES ($1, $2, $3, $4, $5)
    ), key AS (
        INSERT INTO idempotency (key, aggregate_id, version) VALUES ($6, $1, $2)
    )
    UPDATE orders SET version = $2, status = $7 WHERE id = $1";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Migrations(#[from] highwater_tables::migrations::Error),
}

pub async fn routes(ctx: Context, pool: PgPool, read_model: ReadModel) -> Result<Router, Error> {
    sqlx::raw_sql(TABLES).execute(&pool).await?;
    if read_model == ReadModel::Lists {
        highwater_tables::migrations::migrate(&pool, Some(&::store::app().tables())).await?;
    }
    let app = App { ctx, pool, read_model };
    Ok(Router::new()
        .route("/v1/orders", post(create))
        .route("/v1/orders/{id}/{command}", post(act))
        .with_state(app))
}

async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<StrictJson, Problem>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let id = app.ctx.ids.v4();
    append(&app, id, 1, ("order.placed", "placed"), body.value, &headers, StatusCode::CREATED).await
}

/// Loads the state, decides on it, appends with the version that it was decided at.
async fn act(
    State(app): State<App>,
    Path((id, _)): Path<(Uuid, String)>,
    headers: HeaderMap,
    body: Result<StrictJson, Problem>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let loaded = sqlx::query_as::<_, (i64, String)>(app.read_model.load())
        .bind(id)
        .fetch_optional(&app.pool)
        .await;
    match loaded {
        Ok(Some((version, status))) if status == "placed" => {
            append(
                &app,
                id,
                version + 1,
                ("order.confirmed", "confirmed"),
                body.value,
                &headers,
                StatusCode::OK,
            )
            .await
        }
        Ok(Some(_)) => (StatusCode::OK, Json(json!({"id": id, "events": []}))).into_response(),
        Ok(None) => Problem::not_found("order.not-found", "there is none").into_response(),
        Err(_) => Problem::internal().into_response(),
    }
}

async fn append(
    app: &App,
    id: Uuid,
    version: i64,
    (event, status): (&str, &str),
    data: Value,
    headers: &HeaderMap,
    success: StatusCode,
) -> Response {
    let key = match IdempotencyKey::from_headers(headers) {
        Ok(key) => key.unwrap_or_else(|| IdempotencyKey::minted(app.ctx.ids.v4())),
        Err(problem) => return problem.into_response(),
    };
    let placed =
        if app.read_model == ReadModel::Lists && version == 1 { placed(&data) } else { None };
    let append = sqlx::query(match (app.read_model, &placed) {
        (ReadModel::ById, _) => APPEND,
        (ReadModel::Lists, Some(_)) => APPEND_PLACED,
        (ReadModel::Lists, None) => APPEND_CHANGED,
    });
    let append = append
        .bind(id)
        .bind(version)
        .bind(app.ctx.ids.v7())
        .bind(event)
        .bind(data)
        .bind(key.as_str())
        .bind(status);
    let append = match placed {
        Some(placed) => append
            .bind(placed.customer)
            .bind(placed.currency)
            .bind(placed.units)
            .bind(placed.total_minor)
            .bind(placed.lines),
        None => append,
    };
    match append.execute(&app.pool).await {
        Ok(_) => {
            let event = json!({"type": event, "version": version});
            let body = json!({"id": id, "version": version, "events": [event]});
            (success, Json(body)).into_response()
        }
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Problem::version_mismatch(version.unsigned_abs()).into_response()
        }
        Err(_) => Problem::internal().into_response(),
    }
}

impl ReadModel {
    fn load(self) -> &'static str {
        match self {
            Self::ById => "SELECT version, status FROM views WHERE id = $1",
            Self::Lists => "SELECT version, status FROM orders WHERE id = $1",
        }
    }
}

fn placed(data: &Value) -> Option<Placed> {
    let number =
        |line: &Value, name: &str| line.get(name).and_then(Value::as_i64).unwrap_or_default();
    let lines = data.get("lines")?;
    let each = lines.as_array()?;
    Some(Placed {
        customer: Uuid::try_parse(data.get("customer_id")?.as_str()?).ok()?,
        currency: data.get("currency")?.as_str()?.to_owned(),
        units: each.iter().map(|line| number(line, "quantity")).sum(),
        total_minor: each
            .iter()
            .map(|line| number(line, "quantity") * number(line, "unit_price_minor"))
            .sum(),
        lines: lines.clone(),
    })
}
