//! Whether the database still stands where this runner left it. A server that crashes may forget its last commits, rows and
//! checkpoints together; without new events nothing else would notice.

use super::*;

impl<S: Store> Runner<S> {
    /// Compares every checkpoint with the stored one; takes a partition up again where they differ.
    pub(super) async fn verify(&mut self) -> Step {
        self.verify_at = Some(Instant::now() + self.limits.verify_every);
        let mut expected: Vec<(Key, u64)> = Vec::new();
        for (lane, track) in &self.tracks {
            let key = |projection| Key { projection, place: lane.place.clone() };
            expected.extend(track.checkpoints().map(|(projection, at)| (key(projection), at.offset)));
        }
        expected.sort();
        let keys: Vec<Key> = expected.iter().map(|(key, _)| key.clone()).collect();
        let stored = match load(&self.store, &keys).await {
            Ok(stored) => stored,
            Err(failure) => {
                warn!(error = %failure, "the checkpoints cannot be verified");
                self.retry_at = Some(Instant::now() + self.limits.backoff.after(ATTEMPTS));
                return Step::Failed;
            }
        };
        let moved: BTreeSet<Place> = expected
            .into_iter()
            .zip(stored)
            .filter(|((_, offset), stored)| stored.offset != *offset)
            .map(|((key, _), _)| key.place)
            .collect();
        let step = if moved.is_empty() { Step::Verified } else { Step::Failed };
        moved.into_iter().for_each(|place| self.reload(place));
        step
    }
}

/// The wait after a failure, as after so many.
const ATTEMPTS: u32 = 4;

async fn load<S: Store>(store: &S, keys: &[Key]) -> Result<Vec<Position<Wire>>, Failure> {
    let mut tx = store.begin().await?;
    let stored = store.load(&mut tx, keys).await?;
    store.commit(tx).await?;
    Ok(stored)
}
