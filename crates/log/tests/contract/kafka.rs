//! The suite on `KafkaLog`, against a real Kafka: `HIGHWATER_TEST_KAFKA` names its bootstrap
//! servers; without it, one broker is started through `bin/kafka` and ends with this process.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock},
};

use highwater_log::{
    Delivery, Error, Follow, Group, KafkaLog, KafkaReader, Log, LogSettings, Membership,
    MembershipEvent, Partition, RawReader, Step, Topic, TopicKind, kafka::Settings,
};
use highwater_protocol::position::Position;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::documented::Row;
use crate::fixture::{Fixture, Folder, soon, unique};

/// Bootstrap servers; and the process that takes the broker away when its standard input ends.
static KAFKA: LazyLock<(String, Option<Child>)> =
    LazyLock::new(|| match std::env::var("HIGHWATER_TEST_KAFKA") {
        Ok(bootstrap) => (bootstrap, None),
        Err(_) => start_broker(),
    });

/// The shell outlives this process, however that ends: then its standard input does, and it takes
/// the broker and the folder away.
const KEEPER: &str = r#"
trap '' INT TERM
if "$0" start "$1" 1; then cat >/dev/null; fi
"$0" kill "$1" 1
rm -rf "$1"
"#;

fn start_broker() -> (String, Option<Child>) {
    let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bin/kafka");
    let folder = Folder::new();
    let mut keeper = Command::new("bash")
        .args(["-c", KEEPER])
        .arg(bin)
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("bash");
    // The keeper removes it.
    std::mem::forget(folder);
    let mut bootstrap = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut bootstrap).unwrap();
    assert!(bootstrap.contains(':'), "bin/kafka did not start a broker; see its output above");
    (bootstrap.trim().to_owned(), Some(keeper))
}

fn settings() -> Settings {
    Settings { development: true, ..Settings::new(&KAFKA.0) }
}

async fn log(settings: Settings) -> Arc<dyn Log> {
    let log = tokio::task::spawn_blocking(move || KafkaLog::new(settings)).await.unwrap();
    Arc::new(log.unwrap())
}

async fn one_producer() -> Fixture {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    Fixture::new(log(settings).await, ()).await
}

crate::contract!(one_producer());

/// With hardly any buffers: readers are paused and resumed all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_reader_misses_nothing() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let narrow = Settings { reader_chunks: 1, reader_buffer_records: 1_500, ..settings };
    let fixture = Fixture::new(log(narrow).await, ()).await;
    crate::suite::a_reader_that_is_behind_misses_nothing_and_holds_no_other_up(&fixture).await;
}

/// With a single consumer for all that is looked up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_consumer_goes_through_several_partitions_in_turn() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let fixture = Fixture::new(log(Settings { lookups: 1, ..settings }).await, ()).await;
    crate::suite::partitions_that_are_gone_through_side_by_side_are_not_mixed_up(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_producers_every_append_is_reported_once() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let fixture = Fixture::new(log(Settings { producers: 2, ..settings }).await, ()).await;
    crate::suite::every_append_is_reported_once_and_in_sequence(&fixture).await;
}

#[tokio::test]
async fn few_replicas_are_refused_outside_development() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let strict = log(Settings { development: false, ..settings.clone() }).await;
    let topic =
        |name: &str| Topic { name: unique(name).into(), partitions: 2, kind: TopicKind::Events };
    let (made, new) = (topic("made"), topic("new"));
    soon(log(Settings { replication: 1, ..settings }).await.prepare(vec![made.clone()]))
        .await
        .unwrap();
    let refused = soon(strict.prepare(vec![made.clone()])).await.unwrap_err();
    let message = refused.to_string();
    assert!(matches!(refused, Error::Promise(_)), "{message}");
    assert!(
        message
            .contains(&format!("topic {}: replication factor is 1, must be at least 3", made.name)),
        "{message}"
    );
    assert!(message.contains("--development"), "{message}");
    // On one broker, such a topic is not made either; on three, it is, and keeps every promise.
    let prepared = soon(strict.prepare(vec![new.clone()])).await;
    if KAFKA.0.split(',').count() < 3 {
        let message = prepared.unwrap_err().to_string();
        assert!(
            message.contains(&format!("topic {}: replication factor is at most 1", new.name)),
            "{message}"
        );
    } else {
        prepared.unwrap();
    }
}

#[tokio::test]
async fn a_session_below_the_brokers_minimum_is_a_start_up_error() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let log =
        log(Settings { session_timeout: std::time::Duration::from_secs(3), ..settings }).await;
    let refused = soon(log.prepare(Vec::new())).await.unwrap_err().to_string();
    assert!(
        refused.contains("group.min.session.timeout.ms") && refused.contains("3000"),
        "{refused}"
    );
}

#[tokio::test]
async fn no_broker_is_a_clear_error() {
    let unreachable = Settings {
        request_timeout: std::time::Duration::from_secs(1),
        ..Settings::new("127.0.0.1:1")
    };
    let log = log(unreachable).await;
    for error in
        [soon(log.prepare(Vec::new())).await.unwrap_err(), soon(log.health()).await.unwrap_err()]
    {
        assert!(matches!(error, Error::Unreachable(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raw_reader_goes_through_topics_and_partitions() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let fixture = one_producer().await;
    let partition = fixture.partition(2);
    fixture.fill(&partition, 3_000).await;
    let reader =
        tokio::task::spawn_blocking(move || KafkaReader::new(&settings)).await.unwrap().unwrap();
    let topics = soon(reader.topics()).await.unwrap();
    let topic = topics.iter().find(|topic| *topic.name == *fixture.topic.name).unwrap();
    assert!(
        topic.each().any(|each| each == partition)
            && topics.iter().all(|topic| !topic.name.starts_with("__"))
    );
    let mut read = Vec::new();
    while read.len() < 3_000 {
        // In turn, and with look-ups elsewhere in between: a sequence goes on where it was.
        let more = soon(reader.fetch(&partition, read.len() as u64, 700)).await.unwrap();
        assert!(!more.is_empty());
        read.extend(more.into_iter().map(|stored| stored.offset));
        assert_eq!(soon(reader.fetch(&partition, 7, 1)).await.unwrap()[0].offset, 7);
    }
    assert!(read.into_iter().eq(0..soon(reader.end(&partition)).await.unwrap()));
    let elsewhere = soon(reader.fetch(&partition, 100, 700)).await.unwrap();
    assert!(elsewhere.iter().map(|stored| stored.offset).eq(100..100 + elsewhere.len() as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_members_commits_are_what_lag_tools_see() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let fixture = one_producer().await;
    let group = Group {
        id: unique("group"),
        topics: vec![Arc::clone(&fixture.topic.name)],
        client: "committer".to_owned(),
    };
    let mut member = fixture.log.join(group.clone()).unwrap();
    assert!(matches!(
        soon(member.events.recv()).await,
        Some(MembershipEvent::Assigned(all)) if all.len() == 3
    ));
    (member.commit)(&[(fixture.partition(1), 41), (fixture.partition(2), 7)]);
    let committed = tokio::task::spawn_blocking(move || {
        let mut config = ClientConfig::new();
        let tool: BaseConsumer = config
            .set("bootstrap.servers", &settings.bootstrap)
            .set("group.id", &group.id)
            .create()
            .unwrap();
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(&fixture.topic.name, 0, 2);
        // The commit is on its way: asked until it has arrived, a deadline long.
        let answers = (0..500).map(|_| {
            tool.committed_offsets(asked.clone(), std::time::Duration::from_secs(10)).unwrap()
        });
        let offsets = answers.map(|list| {
            list.elements().iter().map(|element| element.offset().to_raw()).collect::<Vec<_>>()
        });
        let expected = vec![Offset::Invalid.to_raw(), Some(41), Some(7)];
        offsets.into_iter().any(|offsets| offsets == expected)
    });
    assert!(committed.await.unwrap());
    soon((member.leave)(std::time::Duration::from_secs(20))).await;
}

/// Transactions use up offsets for markers that no reader sees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_a_gap_that_halts_readers() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let fixture = one_producer().await;
    let (partition, topic) = (fixture.partition(0), Arc::clone(&fixture.topic.name));
    fixture.fill(&partition, 1).await;
    let (first, bootstrap) =
        ((settings.bootstrap.clone(), Arc::clone(&topic)), settings.bootstrap.clone());
    tokio::task::spawn_blocking(move || transaction(&first.0, &first.1)).await.unwrap();
    // Offset 2 is the marker, which is written a little later: no reader can read there, and that
    // is said.
    soon(async { while fixture.log.end(&partition).await.unwrap() < 3 {} }).await;
    let unreadable = soon(fixture.log.fetch(&partition, 2, 1)).await.unwrap_err().to_string();
    assert!(
        unreadable.contains(&partition.to_string()) && unreadable.contains("offset 2"),
        "{unreadable}"
    );
    fixture.append(&partition, crate::fixture::numbered(1)).await.unwrap();
    let mut follow = Follow::resume(&*fixture.log, &partition, Position::start()).await.unwrap();
    let halted = loop {
        match soon(follow.next()).await {
            Ok(step) => assert!(step.end <= 2),
            Err(error) => break error,
        }
    };
    let said = format!("{partition}: the log continues at offset 3 where 2 was expected");
    assert!(halted.to_string().starts_with(&said), "{halted}");

    // The way back, when an operator has seen that it is a marker. A second one is the last that
    // there is.
    soon(tokio::task::spawn_blocking(move || transaction(&bootstrap, &topic))).await.unwrap();
    soon(async { while fixture.log.end(&partition).await.unwrap() < 6 {} }).await;
    let known_holes = vec![format!("{partition}@2"), format!("{partition}@5-5")];
    let named = LogSettings {
        kafka: settings.bootstrap,
        development: true,
        known_holes,
        ..LogSettings::default()
    };
    let opened = tokio::task::spawn_blocking(move || {
        (named.open_kafka("test"), named.open_kafka_reader("test"))
    })
    .await
    .unwrap();
    let (log, reader) = (opened.0.unwrap(), opened.1.unwrap());
    let mut follow = Follow::resume(&*log, &partition, Position::start()).await.unwrap();
    while !matches!(soon(follow.next()).await.unwrap(), Step { end: 6, caught_up: true, .. }) {}
    let mut offsets = Vec::new();
    while offsets.len() < 6 {
        let from = offsets.len() as u64;
        let (looked_up, raw) = (
            soon(log.fetch(&partition, from, 4)).await.unwrap(),
            soon(reader.fetch(&partition, from, 4)).await.unwrap(),
        );
        assert!(
            !raw.is_empty()
                && looked_up.iter().zip(&raw).all(|(one, other)| one.offset == other.offset)
        );
        offsets.extend(raw.iter().map(|stored| stored.offset));
    }
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
    Row {
        id: "P11",
        situation: "a stray transactional producer writes to `events`: its marker uses up an \
                    offset that no reader sees",
        answer: "readers halt, naming the offsets; with them in `log.known_holes`, which every \
                 process and tool reads, all go on over them",
        test: (file!(), "a_transaction_is_a_gap_that_halts_readers"),
    }
    .check();
}

/// One record of a foreign producer, and the marker after it.
fn transaction(bootstrap: &str, topic: &str) {
    let mut config = ClientConfig::new();
    let foreign: BaseProducer = config
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", unique("foreign"))
        .create()
        .unwrap();
    foreign.init_transactions(std::time::Duration::from_secs(60)).unwrap();
    foreign.begin_transaction().unwrap();
    foreign
        .send(BaseRecord::<(), str>::to(topic).partition(0).payload("foreign"))
        .map_err(|(error, _)| error)
        .unwrap();
    foreign.commit_transaction(std::time::Duration::from_secs(60)).unwrap();
}

/// A topic that Highwater did not make: each setting is named, with what it is and must be.
#[tokio::test]
async fn a_topic_without_the_promised_settings_is_refused() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", &settings.bootstrap).create().unwrap();
    let topic = Topic { name: unique("foreign").into(), partitions: 2, kind: TopicKind::Events };
    let foreign = NewTopic::new(&topic.name, 2, TopicReplication::Fixed(1))
        .set("message.timestamp.type", "CreateTime")
        .set("retention.ms", "1000");
    soon(admin.create_topics(&[foreign], &AdminOptions::new())).await.unwrap()[0].as_ref().unwrap();
    let message =
        soon(log(settings).await.prepare(vec![topic.clone()])).await.unwrap_err().to_string();
    for broken in [
        "message.timestamp.type is CreateTime, must be LogAppendTime",
        "retention.ms is 1000, must be -1",
    ] {
        assert!(message.contains(&format!("topic {}: {broken}", topic.name)), "{message}");
    }
}

/// As of `commands`, whose records go after a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_has_forgotten_lies_before_its_beginning() {
    let fixture = one_producer().await;
    let partition = fixture.partition(0);
    fixture.fill(&partition, 10).await;
    let mut reading = fixture.log.read(&partition, 0).unwrap();
    assert_eq!(crate::fixture::take(&mut reading, 10).await.len(), 10);

    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", &KAFKA.0).create().unwrap();
    let mut below = TopicPartitionList::new();
    below.add_partition_offset(&partition.topic, 0, Offset::Offset(7)).unwrap();
    soon(admin.delete_records(&below, &AdminOptions::new())).await.unwrap();
    assert_eq!(soon(fixture.log.begin(&partition)).await.unwrap(), 7);
    assert_eq!(soon(fixture.log.begin(&fixture.partition(1))).await.unwrap(), 0);
    let reader =
        tokio::task::spawn_blocking(|| KafkaReader::new(&settings())).await.unwrap().unwrap();
    assert_eq!(soon(RawReader::begin(&reader, &partition)).await.unwrap(), 7);

    let kept = soon(fixture.log.fetch(&partition, 7, 100)).await.unwrap();
    assert_eq!(kept.iter().map(|stored| stored.offset).collect::<Vec<_>>(), [7, 8, 9]);
    let refused = soon(fixture.log.fetch(&partition, 6, 100)).await.unwrap_err();
    assert!(
        refused.to_string().contains("offset 6 is outside the log, which begins at 7"),
        "{refused}"
    );
    let mut late = fixture.log.read(&partition, 6).unwrap();
    let failed = async {
        loop {
            match late.deliveries.recv().await {
                Some(Delivery::Failed(error)) => return error,
                Some(Delivery::Records(records)) => panic!("{records:?}"),
                Some(_) => {}
                None => panic!("it ended without a word"),
            }
        }
    };
    assert!(
        soon(failed).await.to_string().contains("begins at 7"),
        "a reader says why it cannot begin there"
    );
    // A reader that was past it goes on.
    fixture.fill(&partition, 1).await;
    assert_eq!(crate::fixture::take(&mut reading, 1).await[0].offset, 10);
}

const MEMBER: &str = "EVENTLOG_TEST_MEMBER";

/// In the child: joins, and says what happens to it.
async fn be_a_member(place: &str) {
    let mut place = place.split(' ').map(str::to_owned);
    let mut part = || place.next().unwrap();
    let (bootstrap, topic, group) = (part(), part(), part());
    let log = log(Settings { development: true, ..Settings::new(bootstrap) }).await;
    let group = Group { id: group, topics: vec![topic.into()], client: "child".to_owned() };
    let mut member = log.join(group).unwrap();
    while let Some(event) = member.events.recv().await {
        println!("member {event:?}");
    }
}

/// Waits for a line of the child that holds all of `parts`.
fn line_with(lines: &mut impl Iterator<Item = std::io::Result<String>>, parts: &[&str]) {
    let found =
        lines.map_while(Result::ok).find(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found.is_some(), "the child ended without saying {parts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_paused_past_its_session_hears_that_it_has_lost_everything() {
    if let Ok(place) = std::env::var(MEMBER) {
        return be_a_member(&place).await;
    }
    let fixture = one_producer().await;
    let group = unique("group");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "kafka::a_member_that_was_paused_past_its_session_hears_that_it_has_lost_everything",
            "--nocapture",
        ])
        .env(MEMBER, format!("{} {} {group}", KAFKA.0, fixture.topic.name))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let child = crate::kill::Killed(child);
    let signal = |name: &str| {
        assert!(
            Command::new("kill")
                .args([name, &child.0.id().to_string()])
                .status()
                .unwrap()
                .success()
        )
    };
    line_with(&mut lines, &["Assigned", "index: 0", "index: 1", "index: 2"]);
    signal("-STOP");
    let group = Group {
        id: group,
        topics: vec![Arc::clone(&fixture.topic.name)],
        client: "successor".to_owned(),
    };
    let mut successor = fixture.log.join(group).unwrap();
    let event = soon(successor.events.recv()).await.unwrap();
    assert!(matches!(&event, MembershipEvent::Assigned(all) if all.len() == 3), "{event:?}");
    signal("-CONT");
    line_with(&mut lines, &["Revoked", "index: 0", "index: 1", "index: 2", "lost: true"]);
    soon((successor.leave)(std::time::Duration::from_secs(20))).await;
}

/// Why each category of command-api has a group of its own. What the assignor does with one group
/// over two topics is shown beside it: it only counts partitions, so that a member which comes
/// second gets the first topics whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_for_each_topic_spreads_every_topic_evenly_and_one_group_only_the_sum() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let log = log(settings).await;
    let topics: Vec<Arc<str>> = (0..2).map(|_| unique("spread").into()).collect();
    let topic =
        |name: &Arc<str>| Topic { name: name.clone(), partitions: 8, kind: TopicKind::Events };
    log.prepare(topics.iter().map(topic).collect()).await.unwrap();

    let one = unique("one");
    let shared = spread(&*log, &[(one, topics.clone())]).await;
    println!("one group over two topics, the member that came second: {:?}", shared.1);
    assert_eq!(
        (shared.0.iter().sum::<usize>(), shared.1.iter().sum::<usize>()),
        (8, 8),
        "the sum is even"
    );

    let own: Vec<_> = topics.iter().map(|topic| (unique("own"), vec![topic.clone()])).collect();
    let (first, second) = spread(&*log, &own).await;
    assert_eq!((first, second), (vec![4, 4], vec![4, 4]));
}

/// What two members have of each topic, the first of whom had everything before the second came.
async fn spread(log: &dyn Log, groups: &[(String, Vec<Arc<str>>)]) -> (Vec<usize>, Vec<usize>) {
    let join = || -> Vec<_> {
        let group = |(id, topics): &(String, Vec<Arc<str>>)| Group {
            id: id.clone(),
            topics: topics.clone(),
            client: "spread".into(),
        };
        groups.iter().map(|named| log.join(group(named)).unwrap()).collect()
    };
    let topics: Vec<Arc<str>> = groups.iter().flat_map(|(_, topics)| topics.clone()).collect();
    let mut members = [(join(), BTreeSet::new()), (Vec::new(), BTreeSet::new())];
    follow(&mut members, |sizes| sizes[0] == 16).await;
    members[1].0 = join();
    follow(&mut members, |sizes| sizes == [8, 8]).await;
    let count = |held: &BTreeSet<Partition>| {
        topics.iter().map(|topic| held.iter().filter(|at| at.topic == *topic).count()).collect()
    };
    let counted = (count(&members[0].1), count(&members[1].1));
    for (memberships, _) in members {
        for membership in memberships {
            (membership.leave)(std::time::Duration::from_secs(10)).await;
        }
    }
    counted
}

/// Hears what the groups say, until what the members hold is as it should be.
async fn follow(
    members: &mut [(Vec<Membership>, BTreeSet<Partition>); 2],
    holds: impl Fn([usize; 2]) -> bool,
) {
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while !holds([members[0].1.len(), members[1].1.len()]) {
        assert!(
            tokio::time::Instant::now() < until,
            "the groups do not settle: {:?}",
            members.each_ref().map(|(_, held)| held.len())
        );
        for (memberships, held) in members.iter_mut() {
            for event in
                memberships.iter_mut().filter_map(|membership| membership.events.try_recv().ok())
            {
                match event {
                    MembershipEvent::Assigned(partitions) => held.extend(partitions),
                    MembershipEvent::Revoked { partitions, .. } => {
                        held.retain(|at| !partitions.contains(at))
                    }
                }
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
