//! The two tasks behind [`Positions`]: one hears notifications, one reads the checkpoints.

use std::time::Duration;

use highwater_runtime::resilience::Once;
use highwater_tables::{
    ReadError,
    checkpoints::{self, CHANNEL},
    postgres::Connections,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Positions, ReachedOffsets};
use crate::settings::PositionSettings;

const RECONNECT: Duration = Duration::from_secs(1);

/// Wakes the reader with every notification. Without it the reader still reads at its own pace.
pub(super) async fn listen(positions: Positions, pool: Connections, stop: CancellationToken) {
    let mut deaf = Once::new("positions-listener");
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = hear(&positions, &pool, &mut deaf) => ended,
            () = pool.scarce() => Ok(()),
        };
        if let Err(error) = ended {
            deaf.warn("notifications of the database are lost", &error);
        }
        // What was read may not hold any more: a database that recovers may have fallen back.
        positions.publish(ReachedOffsets::new());
        positions.0.wake.notify_one();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RECONNECT) => {}
        }
    }
}

/// Ends when the connection is lost.
async fn hear(
    positions: &Positions,
    pool: &Connections,
    deaf: &mut Once,
) -> Result<(), sqlx::Error> {
    let mut listener = pool.listener().await?;
    listener.listen(CHANNEL).await?;
    deaf.over("notifications of the database are heard again");
    while listener.try_recv().await?.is_some() {
        if positions.is_wanted() {
            positions.0.wake.notify_one();
        }
    }
    Ok(())
}

/// Reads the checkpoints while a request waits.
pub(super) async fn read(
    positions: Positions,
    pool: Connections,
    settings: PositionSettings,
    stop: CancellationToken,
) {
    let (mut last, mut unread): (Option<Instant>, Once) = (None, Once::new("positions-reader"));
    loop {
        // Draining: requests that wait still are answered.
        if stop.is_cancelled() && !positions.is_wanted() {
            return;
        }
        let poll = if positions.is_wanted() { settings.poll } else { Duration::from_secs(3600) };
        tokio::select! {
            () = positions.0.wake.notified() => {}
            () = tokio::time::sleep(poll) => {}
            () = stop.cancelled(), if !stop.is_cancelled() => {}
        }
        if !positions.is_wanted() {
            continue;
        }
        if let Some(last) = last {
            tokio::time::sleep_until(last + settings.interval).await;
        }
        match reached(&pool).await {
            Ok(reached) => {
                unread.over("the checkpoints can be read again");
                positions.publish(reached);
            }
            Err(error) => unread.warn("the checkpoints cannot be read", &error),
        }
        last = Some(Instant::now());
    }
}

async fn reached(pool: &Connections) -> Result<ReachedOffsets, ReadError> {
    let offsets = checkpoints::live_offsets(&mut *pool.acquire().await?).await?.into_iter();
    Ok(offsets.map(|at| ((at.projection, at.category, at.partition), at.offset)).collect())
}
