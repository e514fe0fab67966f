//! Consumer groups of the local log: one process, so the first member has every partition, and the
//! next member waits for it to go. Never touches records.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::log::{Membership, MembershipEvent, Partition};

#[derive(Default)]
pub struct Groups {
    /// Per group the members in the sequence of their arrival; the first one has the partitions.
    members: Mutex<HashMap<String, VecDeque<Member>>>,
    next: AtomicU64,
}

struct Member {
    number: u64,
    partitions: Vec<Partition>,
    events: mpsc::UnboundedSender<MembershipEvent>,
    /// Ends the task that watches for a dropped membership.
    _watch: DropGuard,
}

impl Groups {
    pub fn join(self: &Arc<Self>, group: String, partitions: Vec<Partition>) -> Membership {
        let (events, receiver) = mpsc::unbounded_channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let left = CancellationToken::new();
        {
            let mut groups = self.lock();
            let members = groups.entry(group.clone()).or_default();
            members.push_back(Member {
                number,
                partitions,
                events: events.clone(),
                _watch: left.clone().drop_guard(),
            });
            if members.len() == 1 {
                assign_first(members);
            }
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (groups, group) = (Arc::clone(self), group.clone());
            // A membership that was dropped: its receiver is gone.
            runtime.spawn(async move {
                tokio::select! {
                    () = events.closed() => groups.leave(&group, number),
                    () = left.cancelled() => {}
                }
            });
        }
        let groups = Arc::clone(self);
        let leave = Box::new(move |_within| {
            groups.leave(&group, number);
            Box::pin(std::future::ready(())) as futures_util::future::BoxFuture<'static, ()>
        });
        // No tool asks a local log how far its readers are: the checkpoints say so.
        Membership { events: receiver, leave, commit: Arc::new(|_: &[(Partition, u64)]| ()) }
    }

    fn leave(&self, group: &str, number: u64) {
        let mut groups = self.lock();
        let Some(members) = groups.get_mut(group) else { return };
        let Some(place) = members.iter().position(|member| member.number == number) else { return };
        let Some(left) = members.remove(place) else { return };
        if place == 0 {
            let _ = left
                .events
                .send(MembershipEvent::Revoked { partitions: left.partitions, lost: false });
            assign_first(members);
        }
        if members.is_empty() {
            groups.remove(group);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Member>>> {
        self.members.lock()
    }
}

fn assign_first(members: &VecDeque<Member>) {
    if let Some(first) = members.front() {
        // A member that is gone already is taken out by the task that watches it.
        let _ = first.events.send(MembershipEvent::Assigned(first.partitions.clone()));
    }
}
