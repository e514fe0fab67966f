//! The task that hears of changes.

use std::time::Duration;

use service::{postgres::Connections, resilience::Once};
use tokio_util::sync::CancellationToken;

use super::Cache;
use crate::circuit::Circuit;

/// Where projectors say what their transactions changed.
const CHANNEL: &str = "highwater_changes";
const RECONNECT: Duration = Duration::from_secs(1);

pub(super) async fn listen(cache: Cache, pool: Connections, circuit: Circuit, stop: CancellationToken) {
    let mut deaf = Once::new("cache-listener");
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = hear(&cache, &pool, &mut deaf) => ended,
            () = pool.scarce() => Ok(()),
        };
        // Also when the process drains: nobody listens any more.
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
    let mut listener = pool.listener().await?;
    listener.listen(CHANNEL).await?;
    // What is read from here on either has a change, or hears of it.
    cache.hears();
    deaf.over("changes are heard again");
    while let Some(notification) = listener.try_recv().await? {
        cache.heard(notification.payload());
    }
    Ok(())
}
