//! The promises, one function each.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use highwater_log::{
    Appended, Delivery, Error, Group, Membership, MembershipEvent, Partition, Topic,
};
use highwater_protocol::record::{Header, Record};

use crate::fixture::{Fixture, PARTITIONS, Reports, caught_up, numbered, soon, take, unique};

const APPENDS: u64 = 600;

pub async fn every_append_is_reported_once_and_in_sequence(fixture: &Fixture) {
    let mut partitions: Vec<(Partition, Reports)> =
        (0..PARTITIONS).map(|p| (fixture.partition(p), Reports::new())).collect();
    for seq in 0..APPENDS {
        for (partition, reports) in &partitions {
            fixture.log.append(partition, numbered(seq), reports.reply(seq)).unwrap();
        }
    }
    for (partition, reports) in &mut partitions {
        for seq in 0..APPENDS {
            let report = reports.next().await;
            assert_eq!(report.ticket.seq, Some(seq), "{partition}");
            // Offsets are dense and start at 0; where a report does not say which one, reading
            // does, below.
            assert!(
                [Ok(Appended::At(seq)), Ok(Appended::Somewhere)].contains(&report.result),
                "{partition}: {report:?}"
            );
        }
        assert_eq!(soon(fixture.log.end(partition)).await.unwrap(), APPENDS);
        assert_eq!(soon(fixture.log.begin(partition)).await.unwrap(), 0);
        let mut subscription = fixture.log.read(partition, 0).unwrap();
        let stored = take(&mut subscription, APPENDS as usize).await;
        assert!(
            stored
                .into_iter()
                .map(|stored| (stored.offset, stored.record))
                .eq((0..APPENDS).map(|n| (n, numbered(n))))
        );
    }
    soon(fixture.log.close(Duration::from_secs(30))).await;
    for (partition, reports) in &mut partitions {
        assert!(reports.waiting().is_none(), "{partition}: a second report");
    }
}

pub async fn what_is_reported_can_be_read_at_once(fixture: &Fixture) {
    let partition = fixture.partition(1);
    for n in 0..20 {
        let Appended::At(offset) = fixture.append(&partition, numbered(n)).await.unwrap() else {
            panic!("no offset")
        };
        assert_eq!(offset, n);
        let fetched = soon(fixture.log.fetch(&partition, offset, 10)).await.unwrap();
        assert_eq!(fetched.iter().map(|stored| &stored.record).collect::<Vec<_>>(), [&numbered(n)]);
        assert!(soon(fixture.log.end(&partition)).await.unwrap() > offset);
    }
    let mut opened_afterwards = fixture.log.read(&partition, 0).unwrap();
    assert_eq!(take(&mut opened_afterwards, 20).await.len(), 20);
}

pub async fn records_come_back_as_they_were_given(fixture: &Fixture) {
    let partition = fixture.partition(0);
    let records = [
        Record::default(),
        Record { key: Some(b"key".to_vec()), value: None, headers: Vec::new() },
        Record {
            key: None,
            value: Some(Vec::new()),
            headers: vec![Header::new("empty", Vec::new())],
        },
        Record {
            key: Some(vec![0, 255]),
            value: Some(vec![7; 200_000]),
            headers: vec![
                Header::new("twice", "a"),
                Header::new("twice", vec![0, 1, 255]),
                Header::new("ünï", "b"),
            ],
        },
    ];
    for record in &records {
        fixture.append(&partition, record.clone()).await.unwrap();
    }
    let mut subscription = fixture.log.read(&partition, 0).unwrap();
    let stored = take(&mut subscription, records.len()).await;
    for (expected, stored) in records.iter().zip(&stored) {
        assert_eq!(&stored.record, expected);
        assert!(stored.appended_at_ms > 1_500_000_000_000, "{}", stored.appended_at_ms);
    }
    assert_eq!(stored.iter().map(|stored| stored.offset).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let mut fetched = Vec::new();
    while fetched.len() < records.len() {
        let more = soon(fixture.log.fetch(&partition, fetched.len() as u64, 100)).await.unwrap();
        assert!(!more.is_empty());
        fetched.extend(more);
    }
    assert_eq!(fetched, stored);
}

pub async fn two_readers_of_a_partition_both_get_everything(fixture: &Fixture) {
    let partition = fixture.partition(2);
    fixture.fill(&partition, 300).await;
    let mut first = fixture.log.read(&partition, 0).unwrap();
    assert_eq!(take(&mut first, 100).await.first().unwrap().offset, 0);
    let mut second = fixture.log.read(&partition, 50).unwrap();
    assert_eq!(caught_up(&mut first).await, 300);
    assert_eq!(caught_up(&mut second).await, 300);
    fixture.fill(&partition, 100).await;
    for subscription in [&mut first, &mut second] {
        let offsets: Vec<u64> =
            take(subscription, 100).await.iter().map(|stored| stored.offset).collect();
        assert_eq!(offsets, (300..400).collect::<Vec<_>>());
    }
    drop(first);
    fixture.fill(&partition, 1).await;
    assert_eq!(take(&mut second, 1).await[0].offset, 400, "the other reader's end is its own");
}

pub async fn reading_resumes_at_any_offset(fixture: &Fixture) {
    let partition = fixture.partition(0);
    let mut empty = fixture.log.read(&partition, 0).unwrap();
    assert_eq!(caught_up(&mut empty).await, 0);
    fixture.fill(&partition, APPENDS).await;
    assert_eq!(take(&mut empty, 1).await[0].offset, 0, "a reader that waits at the end goes on");
    for from in [0, 1, APPENDS / 2, APPENDS - 1] {
        let mut subscription = fixture.log.read(&partition, from).unwrap();
        let offsets: Vec<u64> = take(&mut subscription, (APPENDS - from) as usize)
            .await
            .iter()
            .map(|stored| stored.offset)
            .collect();
        assert_eq!(offsets, (from..APPENDS).collect::<Vec<_>>());
        assert_eq!(caught_up(&mut subscription).await, APPENDS);
    }
    let mut at_the_end = fixture.log.read(&partition, APPENDS).unwrap();
    assert_eq!(caught_up(&mut at_the_end).await, APPENDS);
    assert_eq!(soon(fixture.log.fetch(&partition, APPENDS, 10)).await.unwrap(), []);
    let some = soon(fixture.log.fetch(&partition, 7, 5)).await.unwrap();
    assert_eq!(some.iter().map(|stored| stored.offset).collect::<Vec<_>>(), [7, 8, 9, 10, 11]);
}

/// As an audit does it, or take-overs at a start.
pub async fn partitions_that_are_gone_through_side_by_side_are_not_mixed_up(fixture: &Fixture) {
    const STEP: usize = 300;
    let places = [(fixture.partition(0), 0), (fixture.partition(1), 10_000)];
    for (partition, first) in &places {
        let mut reports = Reports::new();
        for n in 0..4 * STEP as u64 {
            fixture.log.append(partition, numbered(first + n), reports.reply(n)).unwrap();
        }
        for _ in 0..4 * STEP {
            reports.next().await.result.unwrap();
        }
    }
    for from in (0..4 * STEP as u64).step_by(STEP) {
        for (partition, first) in &places {
            let found = soon(fixture.log.fetch(partition, from, STEP)).await.unwrap();
            assert!(!found.is_empty(), "{partition} from offset {from}");
            for (stored, offset) in found.into_iter().zip(from..) {
                assert_eq!(
                    (stored.offset, stored.record),
                    (offset, numbered(first + offset)),
                    "{partition}"
                );
            }
        }
    }
}

/// Far more than any reader's buffers hold.
pub async fn a_reader_that_is_behind_misses_nothing_and_holds_no_other_up(fixture: &Fixture) {
    const RECORDS: u64 = 30_000;
    let (slow, fast) = (fixture.partition(0), fixture.partition(1));
    fixture.fill(&slow, RECORDS).await;
    let mut behind = fixture.log.read(&slow, 0).unwrap();
    let mut beside = fixture.log.read(&fast, 0).unwrap();
    assert_eq!(take(&mut behind, 1).await[0].offset, 0);
    for n in 0..20 {
        fixture.fill(&fast, 10).await;
        assert_eq!(take(&mut beside, 10).await.last().unwrap().offset, n * 10 + 9);
    }
    let mut behind = (behind, fixture.log.read(&slow, 0).unwrap());
    let rest = take(&mut behind.1, RECORDS as usize).await;
    assert!(rest.iter().map(|stored| stored.offset).eq(0..RECORDS));
    // The one that waited all the time goes on where it was.
    let mut expected = None;
    loop {
        match soon(behind.0.deliveries.recv()).await.unwrap() {
            Delivery::Records(records) => {
                for stored in records {
                    assert_eq!(stored.offset, *expected.get_or_insert(stored.offset));
                    expected = Some(stored.offset + 1);
                }
            }
            Delivery::CaughtUp(end) => break assert_eq!(end, RECORDS),
            Delivery::Trouble(_) => {}
            Delivery::Failed(error) => panic!("{error}"),
        }
    }
    fixture.fill(&slow, 1).await;
    assert_eq!(take(&mut behind.0, 1).await[0].offset, RECORDS);
}

pub async fn reading_outside_the_log_fails_and_says_where(fixture: &Fixture) {
    let partition = fixture.partition(1);
    fixture.fill(&partition, 3).await;
    let mut subscription = fixture.log.read(&partition, 77).unwrap();
    let failed = loop {
        match soon(subscription.deliveries.recv()).await.unwrap() {
            Delivery::Failed(error) => break error.to_string(),
            Delivery::Trouble(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let fetched = soon(fixture.log.fetch(&partition, 77, 1)).await.unwrap_err().to_string();
    for message in [failed, fetched] {
        assert!(
            message.contains(&*fixture.topic.name)
                && message.contains("/1")
                && message.contains("77"),
            "{message}"
        );
        assert!(message.contains('3'), "where the log ends: {message}");
    }
    let nowhere = Partition { topic: Arc::clone(&fixture.topic.name), index: PARTITIONS };
    assert!(soon(fixture.log.end(&nowhere)).await.is_err());
    assert!(soon(fixture.log.fetch(&nowhere, 0, 1)).await.is_err());
}

pub async fn an_oversized_record_fails_alone(fixture: &Fixture) {
    let partition = fixture.partition(0);
    let large = Record { value: Some(vec![0; 3 << 20]), ..Record::default() };
    let mut reports = Reports::new();
    if fixture.log.append(&partition, large, reports.reply(0)).is_ok() {
        assert!(reports.next().await.result.is_err());
    }
    assert_eq!(fixture.append(&partition, numbered(1)).await, Ok(Appended::At(0)));
}

pub async fn preparing_again_is_harmless_and_another_partition_count_is_refused(fixture: &Fixture) {
    let partition = fixture.partition(0);
    fixture.fill(&partition, 2).await;
    soon(fixture.log.prepare(vec![fixture.topic.clone()])).await.unwrap();
    assert_eq!(soon(fixture.log.end(&partition)).await.unwrap(), 2);
    let other = Topic { partitions: PARTITIONS + 1, ..fixture.topic.clone() };
    let refused = soon(fixture.log.prepare(vec![other])).await.unwrap_err();
    let message = refused.to_string();
    assert!(matches!(refused, Error::Promise(_)), "{message}");
    for named in [&*fixture.topic.name, "partitions", "3", "4"] {
        assert!(message.contains(named), "{message} does not name {named}");
    }
}

pub async fn a_member_is_assigned_everything_until_it_leaves(fixture: &Fixture) {
    let group = group(fixture);
    let all: BTreeSet<Partition> = (0..PARTITIONS).map(|p| fixture.partition(p)).collect();
    let mut member = fixture.log.join(group.clone()).unwrap();
    let mut held = BTreeSet::new();
    while held != all {
        follow(&mut held, soon(member.events.recv()).await.unwrap());
    }
    (member.commit)(&[(fixture.partition(0), 1)]);
    soon((member.leave)(Duration::from_secs(20))).await;
    while let Some(event) = soon(member.events.recv()).await {
        follow(&mut held, event);
    }
    assert_eq!(held, BTreeSet::new(), "leaving gives everything up");
    let mut next = fixture.log.join(group).unwrap();
    while held != all {
        follow(&mut held, soon(next.events.recv()).await.unwrap());
    }
    soon((next.leave)(Duration::from_secs(20))).await;
}

pub async fn two_members_share_without_overlap(fixture: &Fixture) {
    let group = group(fixture);
    let all: BTreeSet<Partition> = (0..PARTITIONS).map(|p| fixture.partition(p)).collect();
    let (mut first, mut second) =
        (fixture.log.join(group.clone()).unwrap(), fixture.log.join(group).unwrap());
    let (mut of_first, mut of_second) = (BTreeSet::new(), BTreeSet::new());
    while &of_first | &of_second != all {
        next_of_either(&mut first, &mut of_first, &mut second, &mut of_second).await;
        assert_eq!(&of_first & &of_second, BTreeSet::new());
    }
    soon((first.leave)(Duration::from_secs(20))).await;
    while of_second != all {
        follow(&mut of_second, soon(second.events.recv()).await.unwrap());
    }
    soon((second.leave)(Duration::from_secs(20))).await;
}

pub async fn a_closed_log_takes_nothing(fixture: &Fixture) {
    let partition = fixture.partition(0);
    fixture.fill(&partition, 1).await;
    let mut subscription = fixture.log.read(&partition, 0).unwrap();
    assert_eq!(caught_up(&mut subscription).await, 1);
    soon(fixture.log.close(Duration::from_secs(30))).await;
    let reports = Reports::new();
    assert!(fixture.log.append(&partition, numbered(1), reports.reply(0)).is_err());
    // The reader comes to an end.
    while let Some(delivery) = soon(subscription.deliveries.recv()).await {
        assert!(!matches!(delivery, Delivery::Records(_)), "{delivery:?}");
    }
}

async fn next_of_either(
    first: &mut Membership,
    of_first: &mut BTreeSet<Partition>,
    second: &mut Membership,
    of_second: &mut BTreeSet<Partition>,
) {
    soon(async {
        tokio::select! {
            event = first.events.recv() => follow(of_first, event.unwrap()),
            event = second.events.recv() => follow(of_second, event.unwrap()),
        }
    })
    .await;
}

fn follow(held: &mut BTreeSet<Partition>, event: MembershipEvent) {
    match event {
        MembershipEvent::Assigned(partitions) => held.extend(partitions),
        MembershipEvent::Revoked { partitions, .. } => {
            held.retain(|partition| !partitions.contains(partition))
        }
    }
}

fn group(fixture: &Fixture) -> Group {
    Group {
        id: unique("group"),
        topics: vec![Arc::clone(&fixture.topic.name)],
        client: "contract".to_owned(),
    }
}
