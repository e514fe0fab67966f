//! Connections to the database that owners load from: bounded in number, in waiting, and in what one statement may take.
//! They take the role that can only read.

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::settings::DatabaseSettings;

/// Opens no connection yet.
pub fn pool(settings: &DatabaseSettings) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(&settings.url)?
        .application_name("highwater-command-api")
        .options([("role", "highwater_reader".to_owned()), ("statement_timeout", settings.statement_timeout_ms.to_string())]);
    let pool = PgPoolOptions::new()
        .max_connections(settings.connections.max(1))
        // A take-over asks for all of them at once, and making them takes longer than what it asks.
        .min_connections(settings.connections.max(1))
        .acquire_timeout(Duration::from_millis(settings.acquire_timeout_ms))
        .connect_lazy_with(options);
    Ok(pool)
}
