use std::sync::Mutex;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::*;

type Noted = Arc<Mutex<Vec<Vec<(Partition, u64)>>>>;

struct Group {
    assignment: Assignment,
    changes: Option<mpsc::UnboundedSender<MembershipEvent>>,
    noted: Noted,
    left_within: Arc<Mutex<Option<Duration>>>,
}

fn topics() -> Topics {
    Topics::of("test", &["thing", "other"])
}

fn group() -> Group {
    let (changes, events) = mpsc::unbounded_channel();
    let (noted, left_within) = (Noted::default(), Arc::<Mutex<Option<Duration>>>::default());
    let (notes, left) = (noted.clone(), left_within.clone());
    let membership = Membership {
        events,
        leave: Box::new(move |within| {
            *left.lock().unwrap() = Some(within);
            Box::pin(std::future::pending())
        }),
        commit: Arc::new(move |offsets| notes.lock().unwrap().push(offsets.to_vec())),
    };
    Group {
        assignment: Assignment::new(membership, topics()),
        changes: Some(changes),
        noted,
        left_within,
    }
}

fn partition(topic: &str, index: u32) -> Partition {
    Partition { topic: topic.into(), index }
}

/// Every topic-partition with its partition.
fn both() -> [(TopicPartition, Partition); 4] {
    [
        (TopicPartition::of_events("thing", 3), partition("test.thing.events", 3)),
        (TopicPartition::of_commands("thing", 0), partition("test.thing.commands", 0)),
        (TopicPartition::of_events("other", 0), partition("test.other.events", 0)),
        (TopicPartition::of_commands("other", 1), partition("test.other.commands", 1)),
    ]
}

#[test]
fn every_category_has_two_topics_and_the_log_is_asked_for_both() {
    let names =
        ["test.thing.events", "test.thing.commands", "test.other.events", "test.other.commands"];
    assert_eq!(topics().topics().iter().map(|name| &**name).collect::<Vec<_>>(), names);
    let wanted = topics().wanted(7);
    let wanted: Vec<_> =
        wanted.iter().map(|topic| (&*topic.name, topic.partitions, topic.kind)).collect();
    let kinds = [TopicKind::Events, TopicKind::Commands, TopicKind::Events, TopicKind::Commands];
    assert_eq!(
        wanted,
        names.iter().zip(kinds).map(|(name, kind)| (*name, 7, kind)).collect::<Vec<_>>()
    );
}

#[test]
fn a_place_and_its_partition_are_each_others() {
    for (topic_partition, partition) in both() {
        assert_eq!(topics().partition(&topic_partition).as_ref(), Some(&partition));
        assert_eq!(group().assignment.partition(&topic_partition).as_ref(), Some(&partition));
        assert_eq!(topics().topic_partition(&partition).as_ref(), Some(&topic_partition));
    }
    assert_eq!(topics().partition(&TopicPartition::of_events("unknown", 0)), None);
    assert_eq!(topics().topic_partition(&partition("test.unknown.events", 0)), None);
}

#[test]
fn a_change_is_told_by_its_places_and_each_once() {
    let mut group = group();
    assert_eq!(group.assignment.happened(), None);
    let (topic_partitions, mut partitions): (Vec<TopicPartition>, Vec<Partition>) =
        both().into_iter().unzip();
    partitions.push(partition("test.unknown.events", 0));
    let changes = group.changes.as_ref().unwrap();
    changes.send(MembershipEvent::Assigned(partitions.clone())).unwrap();
    for lost in [false, true] {
        changes.send(MembershipEvent::Revoked { partitions: partitions.clone(), lost }).unwrap();
    }
    assert_eq!(group.assignment.happened(), Some(Change::Gained(topic_partitions.clone())));
    assert_eq!(
        group.assignment.change_to_come().now_or_never(),
        Some(Change::Gone(topic_partitions.clone()))
    );
    assert_eq!(group.assignment.happened(), Some(Change::Gone(topic_partitions)));
    assert_eq!(group.assignment.happened(), None);
    assert_eq!(group.assignment.change_to_come().now_or_never(), None);
}

#[test]
fn of_a_log_that_was_closed_no_change_is_awaited() {
    let mut group = group();
    group.changes = None;
    assert_eq!(group.assignment.happened(), None);
    assert_eq!(group.assignment.change_to_come().now_or_never(), None);
}

#[test]
fn the_group_is_left_at_once_and_once_and_nothing_is_noted_or_changes_any_more() {
    let mut group = group();
    let offsets = vec![(partition("test.thing.events", 0), 5)];
    group.assignment.note(&offsets);
    group.assignment.note(&[]);
    assert_eq!(
        *group.noted.lock().unwrap(),
        std::slice::from_ref(&offsets),
        "and nothing is not noted"
    );

    let leaving = group.assignment.leave(Duration::from_secs(3));
    assert_eq!(
        *group.left_within.lock().unwrap(),
        Some(Duration::from_secs(3)),
        "whether it is waited for or not"
    );
    assert_eq!(leaving.now_or_never(), None);
    assert_eq!(group.assignment.leave(Duration::from_secs(9)).now_or_never(), Some(()));
    assert_eq!(*group.left_within.lock().unwrap(), Some(Duration::from_secs(3)));
    group.assignment.note(&offsets);
    assert_eq!(group.noted.lock().unwrap().len(), 1);
    assert_eq!(
        (group.assignment.happened(), group.assignment.change_to_come().now_or_never()),
        (None, None)
    );
}
