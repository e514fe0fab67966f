//! Connections to Postgres: bounded in number and in waiting, open before a burst needs them, and with a cause where there is none.

use std::{str::FromStr, time::Duration};

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tracing::warn;

/// What a pool is made from.
pub struct Pool<'a> {
    pub url: &'a str,
    /// As `pg_stat_activity` shows it.
    pub application: &'a str,
    /// Of every session, such as `statement_timeout`.
    pub session: Vec<(&'a str, String)>,
    pub connections: u32,
    /// How long a connection may be waited for.
    pub acquire_timeout: Duration,
}

impl Pool<'_> {
    /// Opens no connection yet: see [`open`]. Fails if the URL is not usable.
    pub fn build(self) -> Result<PgPool, sqlx::Error> {
        let session = self.session.into_iter();
        let options = PgConnectOptions::from_str(self.url)?.application_name(self.application).options(session);
        let connections = self.connections.max(1);
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            // What is closed because of its age is opened again.
            .min_connections(connections)
            .acquire_timeout(self.acquire_timeout);
        Ok(pool.connect_lazy_with(options))
    }
}

/// Opens what `pool` lacks and replaces what is dead, so that no burst of callers has to make connections and wait for that longer
/// than for what they ask. A pool that connects lazily never does so by itself. Ends at the first that cannot be had.
pub async fn open(pool: &PgPool) {
    let all = pool.options().get_max_connections();
    let mut held = Vec::new();
    while pool.size() < all || pool.num_idle() > 0 {
        match pool.acquire().await {
            Ok(connection) => held.push(connection),
            Err(error) => {
                warn!(%error, all, opened = held.len(), "not all connections to the database could be opened");
                return;
            }
        }
    }
}

/// Why a pool that waited in vain got no connection: it does not know itself.
pub async fn why(pool: &PgPool) -> sqlx::Error {
    PgConnection::connect_with(&pool.connect_options()).await.err().unwrap_or(sqlx::Error::PoolTimedOut)
}

/// Neither tables nor role of Highwater are there: 42P01 no such table, 22023 or 42704 no such role.
pub fn is_unmigrated(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|reported| reported.code());
    code.is_some_and(|code| ["42P01", "22023", "42704"].contains(&&*code))
}
