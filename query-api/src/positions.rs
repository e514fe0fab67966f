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

use service::postgres::Connections;
use service::{headers::PartitionPosition, shutdown::Shutdown};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, watch},
    time::Instant,
};

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
}

impl Positions {
    /// Begins to listen; ends with `shutdown`.
    pub fn watch(pool: &Connections, settings: &PositionSettings, shutdown: &Shutdown) -> Self {
        let positions = Self(Arc::new(Shared {
            reached: watch::Sender::new(Arc::new(Reached::new())),
            room: Semaphore::new(settings.waiting.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            wake: Notify::new(),
        }));
        shutdown.tasks.spawn(reader::listen(positions.clone(), pool.clone(), shutdown.soft.clone()));
        // Requests that are open when the process drains go on waiting, so this ends with the last of them.
        shutdown.tasks.spawn(reader::read(positions.clone(), pool.clone(), settings.clone(), shutdown.soft.clone()));
        positions
    }

    /// Waits until `projection` has reached all of `wanted`, or until `deadline`. Says whether it has.
    pub async fn wait(&self, projection: &str, wanted: &[PartitionPosition], deadline: Instant) -> Result<bool, Full> {
        let _waiting = self.enter()?;
        let mut reached = self.watched();
        let all = reached.wait_for(|reached| satisfied(reached, projection, wanted));
        Ok(tokio::time::timeout_at(deadline, all).await.is_ok_and(|waited| waited.is_ok()))
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
