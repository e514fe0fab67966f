//! Whether the database still stands where this runner left it. A server that crashes may forget
//! its last commits, rows and checkpoints together; without new events nothing else would notice.

use highwater_protocol::{position::Position, wire::Wire};
use tokio::time::Instant;
use tracing::debug;

use super::{
    Runner, Step,
    failure::Failure,
    projection::{Key, Store},
    rules::{Moved, compare},
};

impl<S: Store> Runner<S> {
    /// Compares every checkpoint with the stored one; takes a partition up again where they differ.
    pub(super) async fn verify(&mut self) -> Step {
        self.schedule.verify_at = Some(Instant::now() + self.limits.verify_every);
        let mut expected: Vec<(Key, Position<Wire>)> =
            self.consumers.checkpoints().map(|(key, at)| (key, at.clone())).collect();
        expected.sort_by(|(a, _), (b, _)| a.cmp(b));
        let keys: Vec<Key> = expected.iter().map(|(key, _)| key.clone()).collect();
        let stored = match stored(&self.store, &keys).await {
            Ok(stored) => stored,
            Err(failure) => {
                self.notices.unverified.warn("the checkpoints cannot be verified", &failure);
                if matches!(failure, Failure::ReadOnly(_)) {
                    self.store.distrust();
                }
                self.schedule.retry_at = Some(Instant::now() + self.limits.backoff.after(ATTEMPTS));
                return Step::Failed;
            }
        };
        self.notices.unverified.over("the checkpoints are verified again");
        self.look_at_parked().await;
        let mut step = Step::Verified;
        for ((key, expected), stored) in expected.into_iter().zip(stored) {
            // It may have gone with an earlier key of its place.
            let Some(moved) =
                compare(&expected, &stored).filter(|_| self.consumers.track_of(&key).is_some())
            else {
                continue;
            };
            if self.was_taken_over(&key.topic_partition) {
                continue;
            }
            match moved {
                // The runner that had the partition before still moved it.
                Moved::Further => self.adopt(&key, stored),
                Moved::Elsewhere => {
                    self.reload(key.topic_partition);
                    step = Step::Failed;
                }
            }
        }
        step
    }

    /// An operator may have applied or given up what was parked. What cannot be looked at now is
    /// looked at the next time.
    async fn look_at_parked(&mut self) {
        let keys: Vec<Key> = self.consumers.parked.iter().cloned().collect();
        if keys.is_empty() {
            return;
        }
        let look = async {
            let mut tx = self.store.begin().await?;
            let counts = self.store.parked(&mut tx, &keys).await?;
            self.store.commit(tx, None).await?;
            Ok::<_, Failure>(counts)
        };
        match look.await {
            Ok(counts) => {
                keys.iter().zip(counts).for_each(|(key, count)| self.shows_parked(key, count))
            }
            Err(failure) => debug!(error = %failure, "what is parked cannot be looked at"),
        }
    }
}

/// The wait after a failure, as after so many.
const ATTEMPTS: u32 = 4;

/// The checkpoints of `keys` as they are.
pub(super) async fn stored<S: Store>(
    store: &S,
    keys: &[Key],
) -> Result<Vec<Position<Wire>>, Failure> {
    let mut tx = store.begin().await?;
    let stored = store.load(&mut tx, keys).await?;
    store.commit(tx, None).await?;
    Ok(stored)
}
