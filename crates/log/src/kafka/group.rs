//! Group membership: a consumer of its own, for its assignment alone. Everything assigned is
//! paused; records are read elsewhere. Nothing ever waits inside a rebalance callback.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rdkafka::{
    ClientContext, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::Offset,
    util::Timeout,
};
use tokio::sync::{mpsc, oneshot};

use super::{Settings, context::client_error};
use crate::log::{CommitOffsets, Error, Group, Membership, MembershipEvent, Partition};

const TICK: Duration = Duration::from_millis(50);
/// Commits that may wait for the thread; more are dropped, later ones say the same and more.
const COMMITS: usize = 64;

type Offsets = Vec<(Partition, u64)>;

pub fn join(settings: &Settings, group: &Group) -> Result<Membership, Error> {
    let (events, receiver) = mpsc::unbounded_channel();
    let member = Member { group: group.id.clone(), events, held: Mutex::default() };
    let refused = |error: KafkaError| Error::Refused(format!("group {}: {error}", group.id));
    let consumer: BaseConsumer<Member> =
        settings.member(&group.id, &group.client).create_with_context(member).map_err(refused)?;
    consumer
        .subscribe(&group.topics.iter().map(|topic| &**topic).collect::<Vec<_>>())
        .map_err(refused)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (commits, to_commit) = sync_channel(COMMITS);
    let (left, has_left) = oneshot::channel();
    let stopping = Arc::clone(&stop);
    std::thread::Builder::new()
        .name("kafka-member".to_owned())
        .spawn(move || {
            run(consumer, &to_commit, &stopping);
            // No caller waits for a member that was dropped.
            let _ = left.send(());
        })
        .map_err(|error| {
            Error::Refused(format!("group {}: its thread does not start: {error}", group.id))
        })?;
    let name = group.id.clone();
    let leave = Box::new(move |within: Duration| {
        stop.store(true, Ordering::Release);
        Box::pin(async move {
            if tokio::time::timeout(within, has_left).await.is_err() {
                tracing::warn!(
                    group = name,
                    ?within,
                    "the group was not left in time; its session will run out"
                );
            }
        }) as futures_util::future::BoxFuture<'static, ()>
    });
    Ok(Membership { events: receiver, leave, commit: committer(commits) })
}

fn committer(commits: SyncSender<Offsets>) -> CommitOffsets {
    // Best effort: what does not fit is said again by the next commit.
    Arc::new(move |offsets: &[(Partition, u64)]| drop(commits.try_send(offsets.to_vec())))
}

/// Polls until told to stop, or until the receiver of its events is gone; then leaves by closing,
/// off the runtime, because closing can hang.
fn run(consumer: BaseConsumer<Member>, commits: &Receiver<Offsets>, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) && !consumer.context().events.is_closed() {
        // Records that were fetched before their partition was paused are dropped; errors went to
        // the context.
        if let Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::InvalidSessionTimeout))) =
            consumer.poll(TICK)
        {
            // For ever: the brokers' group.min.session.timeout.ms is higher. `prepare` has checked
            // it.
            tracing::error!(
                group = consumer.context().group,
                "the brokers refuse session.timeout.ms; there will be no assignment"
            );
            break;
        }
        while let Ok(offsets) = commits.try_recv() {
            commit(&consumer, &offsets);
        }
    }
    drop(consumer);
}

fn commit(consumer: &BaseConsumer<Member>, offsets: &[(Partition, u64)]) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        let (Ok(index), Ok(offset)) = (i32::try_from(partition.index), i64::try_from(*offset))
        else {
            continue;
        };
        if let Err(error) =
            list.add_partition_offset(&partition.topic, index, Offset::Offset(offset))
        {
            tracing::warn!(%partition, %error, "an offset for Kafka's lag tools was not stored");
        }
    }
    if let Err(error) = consumer.commit(&list, CommitMode::Async) {
        tracing::debug!(%error, "offsets for Kafka's lag tools were not stored");
    }
}

struct Member {
    group: String,
    events: mpsc::UnboundedSender<MembershipEvent>,
    held: Mutex<BTreeSet<Partition>>,
}

impl Member {
    fn assigned(&self, list: &TopicPartitionList) {
        let partitions = partitions(list);
        self.held().extend(partitions.iter().cloned());
        self.tell(partitions, MembershipEvent::Assigned);
    }

    fn revoked(&self, partitions: Vec<Partition>, lost: bool) {
        self.held().retain(|held| !partitions.contains(held));
        self.tell(partitions, |partitions| MembershipEvent::Revoked { partitions, lost });
    }

    fn tell(
        &self,
        partitions: Vec<Partition>,
        event: impl FnOnce(Vec<Partition>) -> MembershipEvent,
    ) {
        if !partitions.is_empty() {
            // A membership that was dropped is left by its thread.
            let _ = self.events.send(event(partitions));
        }
    }

    fn held(&self) -> parking_lot::MutexGuard<'_, BTreeSet<Partition>> {
        self.held.lock()
    }
}

impl ClientContext for Member {
    fn error(&self, error: KafkaError, reason: &str) {
        client_error("member", &error, reason);
    }
}

impl ConsumerContext for Member {
    /// `assignment_lost` is only true here, before the rebalance.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(_) => {}
            Rebalance::Revoke(list) => self.revoked(partitions(list), consumer.assignment_lost()),
            Rebalance::Error(error) => {
                tracing::warn!(group = self.group, %error, "the group had a problem and took \
                    everything back");
                let all = self.held().iter().cloned().collect();
                self.revoked(all, true);
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            if list.count() > 0
                && let Err(error) = consumer.pause(list)
            {
                tracing::warn!(group = self.group, %error, "the assignment could not be paused; \
                    records come twice over the network");
            }
            self.assigned(list);
        }
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(TICK)
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    let elements = list.elements();
    let known = elements.iter().filter_map(|element| {
        let index = u32::try_from(element.partition()).ok()?;
        Some(Partition { topic: element.topic().into(), index })
    });
    known.collect()
}
