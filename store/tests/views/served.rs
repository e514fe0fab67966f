//! The query API on a database with one order and one product, behind the layers of production.

use axum::Router;
use highwater::http::server::{HttpSettings, layers};
use highwater::query::{database, settings::QuerySettings};
use highwater::runtime::{config::Config, context::Context};
use highwater::tables::migrations::migrate;
use serde_json::json;
use sqlx::{ConnectOptions, PgPool};

use crate::{answers::Answer, postgres};

pub const ORDER: &str = "0000000a-0000-0000-0000-000000000001";
pub const PRODUCT: &str = "0000000b-0000-0000-0000-000000000001";

pub struct Served {
    pub router: Router,
    /// May do everything.
    pub owner: PgPool,
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
        Answer::of(&self.router, path, &[]).await
    }
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
