//! The task that hears of changes.

use std::time::Duration;

use highwater_runtime::resilience::Once;
use highwater_tables::{changes::CHANNEL, postgres::Connections};
use sqlx::postgres::PgListener;
use tokio_util::sync::CancellationToken;

use super::Cache;
use crate::circuit::CircuitBreaker;

const RECONNECT: Duration = Duration::from_secs(1);

pub(super) async fn listen(
    cache: Cache,
    pool: Connections,
    circuit: CircuitBreaker,
    stop: CancellationToken,
) {
    let mut deaf = Once::new("cache-listener");
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = hear(&cache, &pool, &mut deaf) => ended,
            () = pool.scarce() => Ok(()),
        };
        // Also when the process drains: nothing listens any more.
        cache.lost();
        if stop.is_cancelled() {
            return;
        }
        if let Err(error) = ended {
            circuit.doubt();
            deaf.warn("nothing is heard of changes, so nothing is kept in memory", &error);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RECONNECT) => {}
        }
    }
}

/// Ends when the connection is lost.
async fn hear(cache: &Cache, pool: &Connections, deaf: &mut Once) -> Result<(), sqlx::Error> {
    let listener = pool.listener().await?;
    hear_from(listener, cache, || deaf.over("changes are heard again")).await
}

/// Where changes are heard of: the database, or a test.
pub(super) trait Notifications {
    /// From its end on every change is heard of.
    async fn listen(&mut self) -> Result<(), sqlx::Error>;
    /// `None`: the connection is lost.
    async fn next(&mut self) -> Result<Option<String>, sqlx::Error>;
}

pub(super) async fn hear_from(
    mut from: impl Notifications,
    cache: &Cache,
    listens: impl FnOnce(),
) -> Result<(), sqlx::Error> {
    from.listen().await?;
    // What is read from here on either has a change, or hears of it.
    cache.hears();
    listens();
    while let Some(payload) = from.next().await? {
        cache.heard(&payload);
    }
    Ok(())
}

impl Notifications for PgListener {
    async fn listen(&mut self) -> Result<(), sqlx::Error> {
        PgListener::listen(self, CHANNEL).await
    }

    async fn next(&mut self) -> Result<Option<String>, sqlx::Error> {
        Ok(self.try_recv().await?.map(|notification| notification.payload().to_owned()))
    }
}
