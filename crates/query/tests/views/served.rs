//! The query API on a database with one voucher and one book, behind the layers of production.

use std::time::Duration;

use axum::Router;
use highwater_http::server::{HttpSettings, layers};
use highwater_query::{database, settings::QuerySettings};
use highwater_runtime::{config::Config, context::Context, health::Health};
use highwater_tables::{migrations::migrate, postgres::Connections};
use serde_json::json;
use sqlx::{ConnectOptions, PgPool, postgres::PgConnectOptions};

use crate::{answers::Answer, postgres, shown};

pub const VOUCHER: &str = "0000000a-0000-0000-0000-000000000001";
pub const BOOK: &str = "0000000b-0000-0000-0000-000000000001";

pub struct Served {
    pub router: Router,
    /// May do everything.
    pub owner: PgPool,
    /// As the service has it.
    pub reader: Connections,
    pub health: Health,
    database: String,
}

impl Served {
    /// `settings` are of section `query`, as in the environment.
    pub async fn new(test: &str, settings: &[(&str, &str)]) -> Self {
        let settings = settings
            .iter()
            .map(|(key, value)| (format!("QUERY__{key}"), (*value).to_owned()))
            .collect();
        Self::serving(postgres::database(test).await, settings).await
    }

    /// The same on a database that is there already, and empty.
    pub async fn on(options: PgConnectOptions, settings: &[(&str, &str)]) -> Self {
        Self::serving(
            options,
            settings
                .iter()
                .map(|(key, value)| (format!("QUERY__{key}"), (*value).to_owned()))
                .collect(),
        )
        .await
    }

    /// `settings` are named as in the environment, without the prefix.
    pub async fn with(test: &str, settings: Vec<(String, String)>) -> Self {
        Self::serving(postgres::database(test).await, settings).await
    }

    async fn serving(options: PgConnectOptions, settings: Vec<(String, String)>) -> Self {
        let owner = PgPool::connect_with(options.clone()).await.expect("a connection");
        migrate(&owner, Some(&shown::tables())).await.expect("tables");
        let database = sqlx::query_scalar("SELECT current_database()::text")
            .fetch_one(&owner)
            .await
            .expect("a name");
        let mut environment = vec![(
            "HIGHWATER__QUERY__DATABASE__URL".to_owned(),
            options.to_url_lossy().to_string(),
        )];
        environment
            .push(("HIGHWATER__QUERY__DATABASE__ACQUIRE_TIMEOUT_MS".to_owned(), "500".to_owned()));
        // They are all opened at the start, and many tests share one server.
        environment.push(("HIGHWATER__QUERY__DATABASE__CONNECTIONS".to_owned(), "6".to_owned()));
        // Of what is slow on a busy machine nothing is shed here: crates/http tests that.
        environment.push(("HIGHWATER__HTTP__COLLECTIONS__LATENCY_MS".to_owned(), "0".to_owned()));
        environment
            .extend(settings.into_iter().map(|(key, value)| (format!("HIGHWATER__{key}"), value)));
        let config = Config::load_with(None, Some(environment), Vec::new()).expect("settings");
        let ctx = Context { config, ..Context::for_tests() };
        let query: QuerySettings = ctx.config.section("query").expect("settings");
        let reader = database::pool(&query.database).expect("a pool");
        fill(&owner).await;
        let router =
            highwater_query::start(&ctx, reader.clone(), &shown::views()).await.expect("it starts");
        let http: HttpSettings = ctx.config.section("http").expect("settings");
        Self { router: layers(router, &http, &ctx), owner, reader, health: ctx.health, database }
    }

    /// What a projector does: rows and checkpoints together.
    pub async fn project(&self, change: &'static str, next_offset: i64, notify: bool) {
        let mut tx = self.owner.begin().await.expect("a transaction");
        sqlx::query(change).execute(&mut *tx).await.expect("a change");
        sqlx::query("UPDATE checkpoints SET next_offset = $1")
            .bind(next_offset)
            .execute(&mut *tx)
            .await
            .expect("checkpoints");
        if notify {
            sqlx::query("SELECT pg_notify('highwater_checkpoints', '')")
                .execute(&mut *tx)
                .await
                .expect("a notification");
        }
        tx.commit().await.expect("committed");
    }

    /// No connection is left, and none can be made.
    pub async fn close_database(&self) {
        let mut options = (*self.owner.connect_options()).clone();
        options = options.database("postgres");
        let admin = PgPool::connect_with(options).await.expect("a connection");
        let closed = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", self.database);
        sqlx::query(sqlx::AssertSqlSafe(closed)).execute(&admin).await.expect("closed");
        let ended =
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
        sqlx::query(ended).bind(&self.database).execute(&admin).await.expect("ended");
    }

    /// Returns when so many sessions of query-api wait for a lock.
    pub async fn sessions_that_wait(&self, wanted: i64) {
        let counted = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND application_name = \
                       'highwater-query-api' AND wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(counted).fetch_one(&self.owner).await.expect("sessions")
            != wanted
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        Answer::of(&self.router, path, headers).await
    }
}

async fn fill(owner: &PgPool) {
    // One connection: a server that is full has no other.
    let mut owner = owner.acquire().await.expect("a connection");
    let parts = json!([{
        "book_id": BOOK, "shelf": "HISTORY", "uses": 2, "price_minor": 150,
    }]);
    let voucher = "INSERT INTO vouchers (id, partition, version, status, holder_id, currency, \
                   issued_at, uses, worth_minor, parts, note)
                   VALUES ($1::uuid, 0, 2, 'cancelled', '00000000-0000-0000-0000-0000000000c1', \
                   'USD', '2026-11-22T21:34:24.123456Z', 2, 300, $2, 'changed my mind')";
    sqlx::query(voucher).bind(VOUCHER).bind(parts).execute(&mut *owner).await.expect("a voucher");
    let book = "INSERT INTO books (id, partition, version, status, title, shelf, price_minor, \
                currency, publisher)
                VALUES ($1::uuid, 0, 1, 'active', 'Rome', 'HISTORY', 150, 'USD', 'Tiber')";
    sqlx::query(book).bind(BOOK).execute(&mut *owner).await.expect("a book");
    let checkpoints = "INSERT INTO checkpoints (projection, generation, category, partition, \
                       next_offset, epoch, next_seq, drained, sealed)
                       SELECT 'vouchers', 1, 'voucher', p, 42, 1, 41, 0, false FROM \
                       generate_series(0, 7) p";
    sqlx::query(checkpoints).execute(&mut *owner).await.expect("checkpoints");
}
