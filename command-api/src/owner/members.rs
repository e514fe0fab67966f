//! The group membership that assigns partitions to instances. A hint, like all membership: safety comes from the fold.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eventlog::{Group, Log, Membership, MembershipEvent};
use futures_util::future::join_all;
use service::shutdown::Shutdown;

use super::supervise::Assignable;

/// The partitions of every category are shared out among the instances of the group.
pub struct Members {
    categories: BTreeMap<Arc<str>, Arc<dyn Assignable>>,
    leave_within: Duration,
}

impl Members {
    pub fn new(categories: Vec<Arc<dyn Assignable>>, leave_within: Duration) -> Self {
        Self { categories: categories.into_iter().map(|category| (category.topic().clone(), category)).collect(), leave_within }
    }

    pub fn join(&self, log: &dyn Log, id: String, client: String) -> Result<Membership, eventlog::Error> {
        log.join(Group { id, topics: self.categories.keys().cloned().collect(), client })
    }

    /// Follows the assignment until shutdown; then releases everything and leaves, so that others take over at once.
    pub async fn run(self, mut membership: Membership, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.soft.cancelled() => break,
                event = membership.events.recv() => match event {
                    Some(event) => self.follow(event),
                    None => break,
                },
            }
        }
        let release =
            |category: &Arc<dyn Assignable>| category.assigned().into_iter().map(|index| category.release(index)).collect::<Vec<_>>();
        join_all(self.categories.values().flat_map(release)).await;
        (membership.leave)(self.leave_within).await;
    }

    fn follow(&self, event: MembershipEvent) {
        match event {
            MembershipEvent::Assigned(partitions) => {
                for partition in partitions {
                    if let Some(category) = self.categories.get(&partition.topic) {
                        category.assign(partition.index);
                    }
                }
            }
            MembershipEvent::Revoked { partitions, lost } => {
                for partition in partitions {
                    tracing::info!(%partition, lost, "the group takes the partition back");
                    if let Some(category) = self.categories.get(&partition.topic) {
                        // It drains by itself; the fold decides whatever it does not manage.
                        drop(category.release(partition.index));
                    }
                }
            }
        }
    }
}
