//! Connections to the database that is written to: bounded in number, in waiting, and in what one
//! statement may take.

use std::time::Duration;

use highwater_tables::postgres::{Connections, Pool};

use crate::settings::DatabaseSettings;

/// Opens no connection yet.
pub fn pool(settings: &DatabaseSettings) -> Result<Connections, sqlx::Error> {
    let session = vec![
        ("statement_timeout", settings.statement_timeout_ms.to_string()),
        ("lock_timeout", settings.lock_timeout_ms.to_string()),
        // A transaction whose process is gone or hangs does not hold its locks for ever.
        ("idle_in_transaction_session_timeout", settings.statement_timeout_ms.to_string()),
    ];
    let pool = Pool {
        url: &settings.url,
        application: "highwater-projectors",
        session,
        writes: true,
        connections: settings.connections,
        acquire_timeout: Duration::from_millis(settings.acquire_timeout_ms),
    };
    pool.build()
}
