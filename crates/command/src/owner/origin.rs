//! Who wrote the first valid fence of each partition: with the witness, what proves that a stored
//! place is one of this very log. It never changes, so it is read once, and by every instance,
//! before any of them has to take the partition over.
//!
//! A log that was put in the place of another while this process runs is found out by the witness,
//! which every take-over reads.

use std::{collections::BTreeMap, sync::Arc};

use highwater_log::{Divergence, Log, Partition, follow};
use highwater_protocol::{position::Position, wire::Wire};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Of one category, by partition.
#[derive(Debug, Default)]
pub struct Origins(Mutex<BTreeMap<u32, Uuid>>);

impl Origins {
    /// Proves that the history that `from` belongs to began as the log does.
    pub async fn check(
        &self,
        log: &dyn Log,
        partition: &Partition,
        from: &Position<Wire>,
    ) -> Result<(), Divergence> {
        if from.identity.is_some() && from.identity == self.known(partition.index) {
            return Ok(());
        }
        follow::check_identity(log, partition, from).await?;
        if let Some(writer) = from.identity {
            self.learn(partition.index, writer);
        }
        Ok(())
    }

    /// Learns those of the partitions on which `snapshots` stands somewhere, until `stop`.
    pub async fn keep_warm(
        self: Arc<Self>,
        log: Arc<dyn Log>,
        topic: Arc<str>,
        mut checkpoints: watch::Receiver<BTreeMap<u32, u64>>,
        stop: CancellationToken,
    ) {
        loop {
            let begun: Vec<u32> = checkpoints
                .borrow_and_update()
                .iter()
                .filter(|(_, at)| **at > 0)
                .map(|(index, _)| *index)
                .collect();
            for index in begun.into_iter().filter(|index| self.known(*index).is_none()) {
                let of = Partition { topic: topic.clone(), index };
                tokio::select! {
                    () = stop.cancelled() => return,
                    found = follow::first_writer(&*log, &of) => match found {
                        Ok(Some(writer)) => self.learn(index, writer),
                        Ok(None) => {}
                        // A take-over asks again, and so does the next change.
                        Err(error) => tracing::debug!(partition = %of, %error, "the first fence \
                            cannot be read"),
                    },
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = checkpoints.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    fn known(&self, index: u32) -> Option<Uuid> {
        self.0.lock().get(&index).copied()
    }

    fn learn(&self, index: u32, writer: Uuid) {
        self.0.lock().insert(index, writer);
    }
}
