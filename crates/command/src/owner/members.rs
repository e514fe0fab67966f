//! The group memberships that assign partitions to instances. Only hints: safety comes from the
//! fold.
//!
//! Each category has a group of its own: the assignor counts the partitions of a member over all
//! topics of its group, so with one group an instance that comes second would get one whole
//! category, and the first keep the other (docs/adr/0013).

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use highwater_log::{Group, Log, Membership, MembershipEvent};
use highwater_runtime::shutdown::Shutdown;

use super::supervise::Assignable;

/// The partitions of a category are shared out among the instances of its group.
pub struct Members {
    categories: Vec<Arc<dyn Assignable>>,
    /// How long this instance serves on when it ends, if others do not take what it has.
    handoff_within: Duration,
    leave_within: Duration,
}

impl Members {
    pub fn new(
        categories: Vec<Arc<dyn Assignable>>,
        handoff_within: Duration,
        leave_within: Duration,
    ) -> Self {
        Self { categories, handoff_within, leave_within }
    }

    /// In the sequence of the categories. The group of a category is `<prefix>.owners.<category>`.
    pub fn join(
        &self,
        log: &dyn Log,
        prefix: &str,
        client: &str,
    ) -> Result<Vec<Membership>, highwater_log::Error> {
        let group = |category: &Arc<dyn Assignable>| Group {
            id: format!("{prefix}.owners.{}", category.category()),
            topics: vec![category.topic().clone()],
            client: client.to_owned(),
        };
        self.categories.iter().map(|category| log.join(group(category))).collect()
    }

    /// Follows the assignments until shutdown; then hands off what others take while it is still
    /// served, releases the rest and leaves.
    pub async fn run(self, mut memberships: Vec<Membership>, shutdown: Shutdown) {
        let handing_off = shutdown.handoffs.token();
        join_all(
            self.categories
                .iter()
                .zip(&mut memberships)
                .map(|(category, membership)| follow(&**category, membership, &shutdown)),
        )
        .await;
        tokio::select! {
            () = shutdown.soft.cancelled() => {}
            _ = tokio::time::timeout(
                self.handoff_within,
                join_all(self.categories.iter().map(|category| category.leave())),
            ) => {}
        }
        drop(handing_off);
        join_all(
            self.categories
                .iter()
                .zip(memberships)
                .map(|(category, membership)| leave(&**category, membership, self.leave_within)),
        )
        .await;
    }
}

async fn follow(category: &dyn Assignable, membership: &mut Membership, shutdown: &Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.leaving.cancelled() => break,
            event = membership.events.recv() => match event {
                Some(event) => hear(category, event),
                // No member any more, so others are about to be assigned what is owned here.
                None => return release(category).await,
            },
        }
    }
}

async fn leave(category: &dyn Assignable, membership: Membership, leave_within: Duration) {
    release(category).await;
    (membership.leave)(leave_within).await;
}

async fn release(category: &dyn Assignable) {
    join_all(category.owned().into_iter().map(|index| category.release(index))).await;
}

fn hear(category: &dyn Assignable, event: MembershipEvent) {
    match event {
        MembershipEvent::Assigned(partitions) => {
            let own: Vec<_> =
                partitions.iter().filter(|it| it.topic == *category.topic()).collect();
            if !own.is_empty() {
                tracing::info!(
                    category = category.category(),
                    partitions = own.len(),
                    "partitions assigned"
                );
            }
            own.into_iter().for_each(|partition| category.assign(partition.index));
        }
        MembershipEvent::Revoked { partitions, lost } => {
            for partition in
                partitions.iter().filter(|partition| partition.topic == *category.topic())
            {
                tracing::info!(%partition, lost, "the group takes the partition back");
                category.hand_off(partition.index);
            }
        }
    }
}
