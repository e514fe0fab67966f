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

use super::{AwaitedCheckpoints, Positions, ReachedOffsets};
use crate::settings::PositionSettings;

const RECONNECT: Duration = Duration::from_secs(1);
/// So often all checkpoints are read while a request waits.
const ALL_EVERY: Duration = Duration::from_secs(1);

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

/// Reads the checkpoints that requests wait for; now and then all, so that it is known how far ahead
/// a request waits that is yet to come.
pub(super) async fn read(
    positions: Positions,
    pool: Connections,
    settings: PositionSettings,
    stop: CancellationToken,
) {
    let mut unread = Once::new("positions-reader");
    let (mut last, mut all): (Option<Instant>, Option<Instant>) = (None, None);
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
        let awaited = all.filter(|all| all.elapsed() < ALL_EVERY).and_then(|_| positions.awaited());
        match reached(&pool, awaited.as_ref()).await {
            Ok(reached) => {
                unread.over("the checkpoints can be read again");
                if awaited.is_some() {
                    positions.publish_some(reached);
                } else {
                    positions.publish(reached);
                    all = Some(Instant::now());
                }
            }
            Err(error) => unread.warn("the checkpoints cannot be read", &error),
        }
        last = Some(Instant::now());
    }
}

/// Of what is `awaited`, or of everything.
async fn reached(
    pool: &Connections,
    awaited: Option<&AwaitedCheckpoints>,
) -> Result<ReachedOffsets, ReadError> {
    let mut connection = pool.acquire().await?;
    let offsets = match awaited {
        None => checkpoints::live_offsets(&mut connection).await?,
        Some(awaited) => {
            let whole: Vec<String> = awaited.projections.iter().cloned().collect();
            let partitions: Vec<_> = awaited.partitions.iter().cloned().collect();
            checkpoints::offsets_of(&mut connection, &whole, &partitions).await?
        }
    };
    let offsets = offsets.into_iter();
    Ok(offsets.map(|at| ((at.projection, at.category, at.partition), at.offset)).collect())
}
