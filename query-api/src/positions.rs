//! Waiting for a position: callers share one reader of the checkpoints, which a notification of the projectors wakes.
//! It asks the database only while somebody waits, and no more often than its interval.

mod reader;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use service::{headers::PartitionPosition, shutdown::Shutdown};
use sqlx::PgPool;
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::settings::PositionSettings;

/// The offset that a projection has reached, by projection, category and partition.
pub type Reached = BTreeMap<(String, String, u32), u64>;

/// Too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Clones share the reader.
#[derive(Clone)]
pub struct Positions(Arc<Shared>);

struct Shared {
    reached: watch::Sender<Arc<Reached>>,
    room: Semaphore,
    waiting: AtomicUsize,
    /// Somebody began to wait, or a projector has committed.
    wake: Notify,
    draining: CancellationToken,
}

impl Positions {
    /// Begins to listen; ends with `shutdown`.
    pub fn watch(pool: &PgPool, settings: &PositionSettings, shutdown: &Shutdown) -> Self {
        let positions = Self(Arc::new(Shared {
            reached: watch::Sender::new(Arc::new(Reached::new())),
            room: Semaphore::new(settings.waiting.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            wake: Notify::new(),
            draining: shutdown.soft.clone(),
        }));
        shutdown.tasks.spawn(reader::listen(positions.clone(), pool.clone(), shutdown.soft.clone()));
        // Ends with the last one who waits: a drain lets nobody wait for long.
        shutdown.tasks.spawn(reader::read(positions.clone(), pool.clone(), settings.clone(), shutdown.soft.clone()));
        positions
    }

    /// Waits until `projection` has reached all of `wanted`, or until `deadline` or a drain. Says whether it has.
    pub async fn wait(&self, projection: &str, wanted: &[PartitionPosition], deadline: Instant) -> Result<bool, Full> {
        let _waiting = self.enter()?;
        let mut reached = self.watched();
        let all = reached.wait_for(|reached| satisfied(reached, projection, wanted));
        tokio::select! {
            biased;
            waited = tokio::time::timeout_at(deadline, all) => Ok(waited.is_ok_and(|waited| waited.is_ok())),
            () = self.0.draining.cancelled() => Ok(false),
        }
    }

    /// Room for one more who waits. The checkpoints are read while it is held.
    pub fn enter(&self) -> Result<Waiting<'_>, Full> {
        let room = self.0.room.try_acquire().map_err(|_| Full)?;
        let counted = Counted::new(&self.0.waiting);
        self.0.wake.notify_one();
        Ok(Waiting { _room: room, _counted: counted })
    }

    /// What was read last, and whatever is read while somebody waits.
    pub fn watched(&self) -> watch::Receiver<Arc<Reached>> {
        self.0.reached.subscribe()
    }

    fn is_wanted(&self) -> bool {
        self.0.waiting.load(Ordering::SeqCst) > 0
    }

    fn publish(&self, reached: Reached) {
        self.0.reached.send_replace(Arc::new(reached));
    }
}

/// Whether `projection` has reached all of `wanted`.
fn satisfied(reached: &Reached, projection: &str, wanted: &[PartitionPosition]) -> bool {
    wanted.iter().all(|position| {
        let key = (projection.to_owned(), position.category.clone(), position.partition);
        reached.get(&key).copied().unwrap_or(0) >= position.offset
    })
}

/// See [`Positions::enter`].
pub struct Waiting<'a> {
    _room: SemaphorePermit<'a>,
    _counted: Counted<'a>,
}

/// One who waits, until dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[path = "../../tests/support/documented.rs"]
mod documented;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::postgres::PgPoolOptions;

    use super::documented::Row;
    use super::*;
    use crate::{operations::Awaited, settings::QuerySettings};

    #[tokio::test]
    async fn a_drain_ends_every_wait_at_once() -> Result<(), Box<dyn std::error::Error>> {
        let shutdown = Shutdown::new();
        let pool = PgPoolOptions::new().connect_lazy("postgres://127.0.0.1:1/nobody_answers")?;
        let positions = Positions::watch(&pool, &QuerySettings::default().positions(), &shutdown);
        let awaited = Awaited::watch(&pool, &positions, &shutdown);
        let far = [PartitionPosition { category: "order".to_owned(), partition: 0, offset: u64::MAX }];
        let deadline = Instant::now() + Duration::from_secs(3_600);
        let (position, outcome) = (positions.wait("orders", &far, deadline), awaited.register(uuid::Uuid::nil()).decided(deadline));
        let drain = async {
            while !positions.is_wanted() {
                tokio::task::yield_now().await;
            }
            shutdown.soft.cancel();
        };
        let waits = async { tokio::join!(position, outcome, drain) };
        let (reached, (), ()) = tokio::time::timeout(Duration::from_secs(20), waits).await?;
        assert_eq!(reached, Ok(false));
        Row {
            id: "C11",
            situation: "SIGTERM with long polls open",
            answer: "each is answered at once, as at its time-out, and with `Connection: close` or GOAWAY",
            test: (file!(), "a_drain_ends_every_wait_at_once"),
        }
        .check();
        Ok(())
    }
}
