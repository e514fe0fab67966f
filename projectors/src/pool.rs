//! Connections to the database that is written to: bounded in number, in waiting, and in what one statement may take.

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::settings::DatabaseSettings;

/// Opens no connection yet.
pub fn pool(settings: &DatabaseSettings) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(&settings.url)?.application_name("highwater-projectors").options([
        ("statement_timeout", settings.statement_timeout_ms.to_string()),
        ("lock_timeout", settings.lock_timeout_ms.to_string()),
        // A transaction whose process is gone or hangs does not hold its locks for ever.
        ("idle_in_transaction_session_timeout", settings.statement_timeout_ms.to_string()),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(settings.connections.max(1))
        .acquire_timeout(Duration::from_millis(settings.acquire_timeout_ms))
        .connect_lazy_with(options);
    Ok(pool)
}
