//! Connections that can only read, and the check that the tables are those that the views were
//! written for.

use std::time::Duration;

use highwater_tables::{
    migrations,
    postgres::{Connections, Pool},
};

use crate::settings::{DatabaseSettings, LEAST_CONNECTIONS};

/// Opens no connection yet. Every connection takes the role `highwater_reader`, whatever the user
/// of `url` may do.
pub fn pool(settings: &DatabaseSettings) -> Result<Connections, sqlx::Error> {
    let session = vec![
        ("role", "highwater_reader".to_owned()),
        ("default_transaction_read_only", "on".to_owned()),
        ("statement_timeout", settings.statement_timeout_ms.to_string()),
        ("lock_timeout", settings.statement_timeout_ms.to_string()),
        // Every statement has an index, and a page of a list is worth no look at its whole table,
        // whatever the planner takes it for.
        ("enable_seqscan", "off".to_owned()),
        ("jit", "off".to_owned()),
    ];
    let pool = Pool {
        url: &settings.url,
        application: "highwater-query-api",
        session,
        writes: false,
        connections: settings.connections.max(LEAST_CONNECTIONS),
        acquire_timeout: Duration::from_millis(settings.acquire_timeout_ms),
    };
    pool.build()
}

/// Refuses tables of another release.
pub async fn check_tables(
    pool: &Connections,
    application: Option<&migrations::Application>,
) -> Result<(), migrations::Error> {
    migrations::open(pool, application).await.map(drop)
}
