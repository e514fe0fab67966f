//! Connections to the database that owners load from: bounded in number, in waiting, and in what
//! one statement may take. They take the role that can only read.

use std::time::Duration;

use highwater_tables::postgres::{Connections, Pool};

use crate::settings::DatabaseSettings;

/// Opens no connection yet.
pub fn pool(settings: &DatabaseSettings) -> Result<Connections, sqlx::Error> {
    let session = vec![
        ("role", "highwater_reader".to_owned()),
        ("statement_timeout", settings.statement_timeout_ms.to_string()),
    ];
    let pool = Pool {
        url: &settings.url,
        application: "highwater-command-api",
        session,
        writes: false,
        connections: settings.connections,
        acquire_timeout: Duration::from_millis(settings.acquire_timeout_ms),
    };
    pool.build()
}
