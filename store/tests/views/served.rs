//! The query API on a database with one order and one product, behind the layers of production.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use highwater::http::server::{HttpSettings, layers};
use highwater::protocol::partition::partition_of;
use highwater::query::{database, settings::QuerySettings};
use highwater::runtime::{config::Config, context::Context};
use highwater::tables::migrations::migrate;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgPool};
use tower::ServiceExt;
use uuid::Uuid;

use crate::postgres;

pub const ORDER: &str = "0000000a-0000-0000-0000-000000000001";
pub const PRODUCT: &str = "0000000b-0000-0000-0000-000000000001";

pub struct Served {
    router: Router,
    /// May do everything.
    pub owner: PgPool,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Served {
    pub async fn new(test: &str) -> Self {
        let options = postgres::database(test).await;
        let owner = PgPool::connect_with(options.clone()).await.expect("a connection");
        let application = store::app().build().expect("an application");
        migrate(&owner, Some(&store::app().tables())).await.expect("tables");
        fill(&owner).await;
        let flags = vec![
            ("query.database.url".to_owned(), options.to_url_lossy().to_string()),
            // They are all opened at the start, and many tests share one server.
            ("query.database.connections".to_owned(), "6".to_owned()),
        ];
        let config = Config::load_with(None, Some(Vec::new()), flags).expect("settings");
        let ctx = Context { config, ..Context::for_tests() };
        let query: QuerySettings = ctx.config.section("query").expect("settings");
        let reader = database::pool(&query.database).expect("a pool");
        let router =
            highwater::query::start(&ctx, reader, &application.views).await.expect("it starts");
        let http: HttpSettings = ctx.config.section("http").expect("settings");
        Self { router: layers(router, &http, &ctx), owner }
    }

    pub async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("host", "localhost").body(Body::empty());
        let request = request.expect("a request");
        let answer = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        let body = serde_json::from_slice(&body).expect("JSON");
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

pub fn position(category: &str, id: &str, offset: u64) -> String {
    let id = Uuid::parse_str(id).expect("an id").hyphenated().to_string();
    format!("{category}/{}@{offset}", partition_of(id.as_bytes(), 8))
}

async fn fill(owner: &PgPool) {
    let lines = json!([{
        "product_id": PRODUCT, "department": "GROCERY", "quantity": 2, "unit_price_minor": 150,
    }]);
    let order = "INSERT INTO orders (id, partition, version, status, customer_id, currency, \
                 placed_at, units, total_minor, lines, reason)
                 VALUES ($1::uuid, 0, 2, 'cancelled', '00000000-0000-0000-0000-0000000000c1', \
                 'USD', '2026-11-22T21:34:24.123456Z', 2, 300, $2, 'changed my mind')";
    sqlx::query(order).bind(ORDER).bind(lines).execute(owner).await.expect("an order");
    let product = "INSERT INTO catalog (id, partition, version, status, name, department, \
                   unit_price_minor, currency, brand)
                   VALUES ($1::uuid, 0, 1, 'active', 'Milk', 'GROCERY', 150, 'USD', 'Farm')";
    sqlx::query(product).bind(PRODUCT).execute(owner).await.expect("a product");
    let checkpoints = "INSERT INTO checkpoints (projection, generation, category, partition, \
                       next_offset, epoch, next_seq, drained, sealed)
                       SELECT 'orders', 1, 'order', p, 42, 1, 41, 0, false FROM generate_series(0, \
                       7) p";
    sqlx::query(checkpoints).execute(owner).await.expect("checkpoints");
}

impl Answer {
    /// Empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Status and code.
    pub fn problem(&self) -> (u16, &str) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.body);
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }
}
