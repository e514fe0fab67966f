//! Requests that wait for an outcome share one look: when the checkpoints of the outcomes have
//! moved, all ids that are waited for are looked up in one statement. Nothing is asked while no
//! request waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use highwater_runtime::resilience::Once;
use highwater_runtime::shutdown::Shutdown;
use highwater_tables::{outcomes, postgres::Connections};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::OUTCOMES;
use crate::positions::{Positions, ReachedOffsets};

/// Clones share the look.
#[derive(Clone)]
pub struct Awaited(Arc<Shared>);

struct Shared {
    /// How many wait for each; bounded by the room of [`Positions`].
    ids: Mutex<BTreeMap<Uuid, usize>>,
    /// Those that the last look found.
    decided: watch::Sender<BTreeSet<Uuid>>,
    left: Notify,
    draining: CancellationToken,
}

/// A request that waits, until dropped.
pub(crate) struct Waiter<'a> {
    id: Uuid,
    shared: &'a Shared,
    decided: watch::Receiver<BTreeSet<Uuid>>,
}

impl Awaited {
    /// Begins to look; ends with `shutdown` and the last request that waits.
    pub fn watch(pool: &Connections, positions: &Positions, shutdown: &Shutdown) -> Self {
        let awaited = Self(Arc::new(Shared {
            ids: Mutex::default(),
            decided: watch::Sender::new(BTreeSet::new()),
            left: Notify::new(),
            draining: shutdown.soft.clone(),
        }));
        shutdown.tasks.spawn(look(
            awaited.clone(),
            positions.watched(),
            pool.clone(),
            shutdown.soft.clone(),
        ));
        awaited
    }

    /// A request that registers and then looks misses nothing.
    pub(crate) fn register(&self, id: Uuid) -> Waiter<'_> {
        *self.0.lock().entry(id).or_default() += 1;
        Waiter { id, shared: &self.0, decided: self.0.decided.subscribe() }
    }
}

impl Waiter<'_> {
    /// Waits until there is an outcome, or until `deadline` or a drain. Which of them it was, a
    /// look tells.
    pub(crate) async fn decided(mut self, deadline: Instant) {
        let (id, decided) = (self.id, &mut self.decided);
        tokio::select! {
            biased;
            _ = tokio::time::timeout_at(
                deadline,
                decided.wait_for(|decided| decided.contains(&id)),
            ) => {}
            () = self.shared.draining.cancelled() => {}
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut ids = self.shared.lock();
        if let Some(waiting) = ids.get_mut(&self.id) {
            *waiting -= 1;
            if *waiting == 0 {
                ids.remove(&self.id);
            }
        }
        self.shared.left.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, usize>> {
        self.ids.lock()
    }
}

async fn look(
    awaited: Awaited,
    mut reached: watch::Receiver<Arc<ReachedOffsets>>,
    pool: Connections,
    stop: CancellationToken,
) {
    let (mut looked_at, mut unread) = (BTreeMap::new(), Once::new("outcomes-reader"));
    loop {
        // Draining: requests that wait still are answered.
        if stop.is_cancelled() && awaited.0.lock().is_empty() {
            return;
        }
        tokio::select! {
            changed = reached.changed() => if changed.is_err() { return },
            () = awaited.0.left.notified() => continue,
            () = stop.cancelled(), if !stop.is_cancelled() => continue,
        }
        let at = of_outcomes(&reached.borrow_and_update());
        let ids: Vec<Uuid> = awaited.0.lock().keys().copied().collect();
        // A request that has come since has looked since.
        if ids.is_empty() || at == looked_at {
            continue;
        }
        match decided(&pool, &ids).await {
            Ok(found) => {
                unread.over("outcomes can be looked up again");
                looked_at = at;
                if !found.is_empty() {
                    awaited.0.decided.send_replace(found);
                }
            }
            Err(error) => unread.warn("outcomes that are waited for cannot be looked up", &error),
        }
    }
}

fn of_outcomes(reached: &ReachedOffsets) -> BTreeMap<(String, u32), u64> {
    let own = reached.iter().filter(|((projection, _, _), _)| projection == OUTCOMES);
    own.map(|((_, category, partition), offset)| ((category.clone(), *partition), *offset))
        .collect()
}

async fn decided(pool: &Connections, ids: &[Uuid]) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    let found = outcomes::known(&mut *pool.acquire().await?, ids).await?;
    Ok(found.into_iter().collect())
}
