//! Baseline (b): an event store in Postgres done well: prepared statements, one round trip for the append, expected version,
//! idempotency row and read model in the same transaction, a pool of 32, fsync on.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use service::{body::StrictJson, context::Context, headers::IdempotencyKey, problem::Problem};
use sqlx::PgPool;
use uuid::Uuid;

#[derive(Clone)]
struct App {
    ctx: Context,
    pool: PgPool,
}

const TABLES: &str = "
    CREATE TABLE events (
        aggregate_id uuid NOT NULL, version bigint NOT NULL, id uuid NOT NULL, type text NOT NULL, data jsonb NOT NULL,
        at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (aggregate_id, version)
    );
    CREATE TABLE idempotency (key text PRIMARY KEY, aggregate_id uuid NOT NULL, version bigint NOT NULL);
    CREATE TABLE views (id uuid PRIMARY KEY, version bigint NOT NULL, status text NOT NULL, data jsonb NOT NULL);
";

/// One statement, so one round trip and one commit: nothing is written if the key or the version is there already.
const APPEND: &str = "
    WITH event AS (
        INSERT INTO events (aggregate_id, version, id, type, data) VALUES ($1, $2, $3, $4, $5)
    ), key AS (
        INSERT INTO idempotency (key, aggregate_id, version) VALUES ($6, $1, $2)
    )
    INSERT INTO views (id, version, status, data) VALUES ($1, $2, $7, $5)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, status = excluded.status";

pub async fn routes(ctx: Context, pool: PgPool) -> Result<Router, sqlx::Error> {
    sqlx::raw_sql(TABLES).execute(&pool).await?;
    let app = App { ctx, pool };
    Ok(Router::new().route("/v1/orders", post(create)).route("/v1/orders/{id}/{command}", post(act)).with_state(app))
}

async fn create(State(app): State<App>, headers: HeaderMap, body: Result<StrictJson, Problem>) -> Response {
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
    let loaded =
        sqlx::query_as::<_, (i64, String)>("SELECT version, status FROM views WHERE id = $1").bind(id).fetch_optional(&app.pool).await;
    match loaded {
        Ok(Some((version, status))) if status == "placed" => {
            append(&app, id, version + 1, ("order.confirmed", "confirmed"), body.value, &headers, StatusCode::OK).await
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
    let appended = sqlx::query(APPEND)
        .bind(id)
        .bind(version)
        .bind(app.ctx.ids.v7())
        .bind(event)
        .bind(data)
        .bind(key.as_str())
        .bind(status)
        .execute(&app.pool)
        .await;
    match appended {
        Ok(_) => (success, Json(json!({"id": id, "version": version, "events": [{"type": event, "version": version}]}))).into_response(),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Problem::version_mismatch(version.unsigned_abs()).into_response()
        }
        Err(_) => Problem::internal().into_response(),
    }
}
