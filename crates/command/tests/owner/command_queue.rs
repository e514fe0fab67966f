//! The command queue, from the topic `commands` to the outcomes in the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use highwater_command::{
    command_queue::{CommandQueue, Ends, Refusal},
    owner::announcements::Announcements,
    settings::QueueSettings,
};
use highwater_log::{
    Appended, FaultyLog, Partition, Reply, Ticket, Topic, TopicKind, faulty::Faults,
};
use highwater_protocol::{
    command_queue::{AcceptedCommand, encode},
    record::Record,
    time::Micros,
    wire::Fingerprint,
    writer::{Answer, Busy, Expected, Limits, Outcome},
};
use highwater_runtime::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    shutdown::Shutdown,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    harness::{
        History, Owner, SOON, TestSnapshots, World, accepted, add, history, keys, owners, soon,
        world,
    },
    moves::until,
};

const HOUR_US: i64 = 3_600_000_000;

/// As [`add`], on its way through the command queue.
pub fn waiting(command: u128, aggregate: u128) -> AcceptedCommand {
    AcceptedCommand {
        aggregate: Uuid::from_u128(aggregate),
        command: Uuid::from_u128(command),
        name: "counter.add".to_owned(),
        version: 1,
        fingerprint: Fingerprint {
            key_number: 1,
            hmac: [u8::try_from(command % 256).unwrap(); 32],
        },
        caller_key: true,
        expected: Expected::Anything,
        actor: Uuid::from_u128(9),
        scopes: Vec::new(),
        deadline: Micros(SystemClock.now() + HOUR_US),
        correlation: Uuid::from_u128(8),
        traceparent: None,
        body: b"{}".to_vec(),
    }
}

fn with_body(command: u128, aggregate: u128, body: &str) -> AcceptedCommand {
    AcceptedCommand { body: body.as_bytes().to_vec(), ..waiting(command, aggregate) }
}

/// Puts a record into the command queue; its offset.
pub async fn put(world: &World, record: Record) -> u64 {
    let (to, mut reports) = mpsc::unbounded_channel();
    world
        .log
        .append(
            &world.commands,
            record,
            Reply { ticket: Ticket { writer: Uuid::nil(), seq: None }, to },
        )
        .unwrap();
    match soon(reports.recv()).await.unwrap().result.unwrap() {
        Appended::At(offset) => offset,
        Appended::Somewhere => panic!("a local log knows where"),
    }
}

async fn put_all(world: &World, commands: impl IntoIterator<Item = AcceptedCommand>) {
    for command in commands {
        put(world, encode(&command)).await;
    }
}

/// The history once the log says that everything below `drained` has its outcome.
pub async fn drained(world: &World, drained: u64) -> History {
    let until = Instant::now() + SOON;
    loop {
        let history = history(world).await;
        if history.drained >= drained {
            return history;
        }
        assert!(
            Instant::now() < until,
            "drained up to {} of {drained}: {history:?}",
            history.drained
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn silent_for(command_queue_silence_ms: u64) -> Limits {
    Limits { command_queue_silence_ms, ..Limits::default() }
}

#[tokio::test]
async fn every_outcome_of_a_queued_command_is_recorded_with_its_source() {
    let world = world().await;
    let missing = with_body(2, 20, r#"{"must_exist":true}"#);
    let mismatch = AcceptedCommand { expected: Expected::OneOf(vec![7]), ..waiting(3, 1) };
    let minted = AcceptedCommand { caller_key: false, ..with_body(4, 1, r#"{"events":0}"#) };
    let large = with_body(5, 1, r#"{"events":257}"#);
    put_all(&world, [waiting(1, 1), missing, mismatch, minted, large]).await;
    let _owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    let history = drained(&world, 5).await;
    assert_eq!(history.commits.keys().copied().collect::<Vec<_>>(), [Uuid::from_u128(1)]);
    let answers: Vec<_> = history
        .rejected
        .values()
        .map(|reason| (reason["code"].as_str().unwrap(), reason["status"].as_u64()))
        .collect();
    let expected = [
        ("counter.not-found", Some(404)),
        ("version.mismatch", Some(412)),
        ("counter.nothing", None),
        ("commit.too-large", Some(413)),
    ];
    assert_eq!(answers, expected);
    let sources = (0..5).map(|source| (Uuid::from_u128(u128::from(source) + 1), source));
    assert_eq!(history.sources, sources.collect::<BTreeMap<_, _>>());
}

#[tokio::test]
async fn every_event_of_a_commit_names_its_source_and_the_last_one_what_is_drained() {
    let world = world().await;
    put(&world, encode(&with_body(1, 1, r#"{"events":3}"#))).await;
    let _owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    drained(&world, 1).await;
    let records = world.log.fetch(&world.partition, 0, 100).await.unwrap();
    let events = records
        .iter()
        .map(|stored| &stored.record)
        .filter(|record| record.header("hw-kind") == Some(b"event"));
    let said = |name: &str| {
        events.clone().map(|event| event.header(name).map(<[u8]>::to_vec)).collect::<Vec<_>>()
    };
    let some = |texts: [&str; 3]| texts.map(|text| Some(text.as_bytes().to_vec())).to_vec();
    assert_eq!(said("hw-commit"), some(["1/3", "2/3", "3/3"]));
    assert_eq!(said("hw-source"), some(["0", "0", "0"]));
    assert_eq!(said("hw-drained"), [None, None, Some(b"1".to_vec())]);
}

#[tokio::test]
async fn a_command_sent_both_ways_is_there_once_and_its_caller_hears_what_became_of_it() {
    let world = world().await;
    let owner = Owner::start(&world, world.log.clone(), TestSnapshots::default(), silent_for(50));
    for command in 1..40 {
        let (put, answer) = if command % 2 == 0 {
            tokio::join!(
                put(&world, encode(&waiting(command, command % 3))),
                owner.ask(add(command, command % 3, 1))
            )
        } else {
            let answer = owner.ask(add(command, command % 3, 1)).await;
            (put(&world, encode(&waiting(command, command % 3))).await, answer)
        };
        assert!(accepted(&answer).is_some(), "command {command} at {put}: {answer:?}");
    }
    // Once more, both ways.
    put_all(&world, (1..40).map(|command| waiting(command, command % 3))).await;
    let history = drained(&world, 78).await;
    assert_eq!(history.commits.len(), 39);
    for command in 1..40 {
        assert!(matches!(
            owner.ask(add(command, command % 3, 1)).await,
            Answer::Done { replayed: true, .. }
        ));
    }
}

#[tokio::test]
async fn a_caller_waits_for_what_came_through_the_command_queue_rejections_too() {
    let world = world().await;
    put(&world, encode(&with_body(1, 1, r#"{"must_exist":true}"#))).await;
    let owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    drained(&world, 1).await;
    match owner.ask(add(1, 1, 1)).await {
        Answer::Done { outcome: Outcome::Rejected { reason, .. }, replayed: true } => {
            assert!(String::from_utf8_lossy(&reason.0).contains("counter.not-found"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn owners_die_while_the_command_queue_is_deep_and_each_command_is_decided_once() {
    const COMMANDS: u128 = 600;
    let world = world().await;
    put_all(&world, (0..COMMANDS).map(|command| waiting(1_000 + command, command % 17))).await;
    let snapshots = TestSnapshots::default();
    let limits = Limits { command_queue_window: 32, in_flight_records: 1, ..Limits::default() };
    let mut deaths = 0;
    for nth in [100, 250, 400] {
        // After so many records one more is on its way, and it dies, however long that takes.
        let slow = Arc::new(FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap());
        slow.hold_after(&world.partition, 120);
        let owner = Owner::start(&world, slow.clone(), snapshots.clone(), limits);
        // Some of them are sent synchronously, too.
        let also: Vec<_> = (nth..nth + 20).map(|n| owner.send(add(1_000 + n, n % 17, 1))).collect();
        until("a record is on its way", || slow.held(&world.partition) > 0).await;
        owner.kill().await;
        drop(also);
        let begun = history(&world).await;
        assert!(
            (1..COMMANDS.try_into().unwrap()).contains(&begun.drained),
            "it died at {} of {COMMANDS}",
            begun.drained
        );
        // What was on its way arrives, before the next owner's fence or after it.
        slow.release();
        deaths += 1;
    }
    let owner = Owner::start(&world, world.log.clone(), snapshots, limits);
    let history = drained(&world, COMMANDS.try_into().unwrap()).await;
    assert_eq!(history.commits.len(), usize::try_from(COMMANDS).unwrap(), "after {deaths} deaths");
    assert!(owner.is_running());
}

#[tokio::test]
async fn commands_of_one_aggregate_are_decided_in_their_sequence() {
    let world = world().await;
    put_all(&world, (1..=200).rev().map(|command| waiting(command, 1))).await;
    let _owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    let history = drained(&world, 200).await;
    let by_version: BTreeMap<_, _> = history
        .commits
        .iter()
        .map(|(command, (version, _))| (*version, command.as_u128()))
        .collect();
    assert_eq!(by_version.into_values().collect::<Vec<_>>(), (1..=200).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_decoded_is_rejected_or_passed_and_holds_up_nobody() {
    let world = world().await;
    let without = |name: &str, command: u128| {
        let mut record = encode(&waiting(command, 1));
        record.headers.retain(|header| header.name != name);
        record
    };
    put(&world, without("hw-deadline", 1)).await;
    put(&world, without("hw-command", 2)).await;
    put(&world, encode(&with_body(3, 1, "{"))).await;
    put(&world, encode(&with_body(4, 1, r#"{"events":"many"}"#))).await;
    put(&world, Record::default()).await;
    put(&world, encode(&waiting(5, 1))).await;
    let _owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    let history = drained(&world, 6).await;
    assert_eq!(history.commits.keys().map(Uuid::as_u128).collect::<Vec<_>>(), [5]);
    assert_eq!(history.rejected.keys().map(Uuid::as_u128).collect::<Vec<_>>(), [1, 3, 4]);
    assert!(
        history
            .rejected
            .values()
            .all(|reason| reason["code"] == "command.malformed" && reason["status"] == 422)
    );
    assert_eq!(history.rejected[&Uuid::from_u128(4)]["errors"][0]["pointer"], "/events");
}

#[tokio::test]
async fn a_version_newer_than_the_owner_pauses_the_command_queue_and_nothing_else() {
    let world = world().await;
    let newer = AcceptedCommand { version: 2, ..waiting(2, 2) };
    put_all(&world, [waiting(1, 1), newer, waiting(3, 3)]).await;
    let owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    drained(&world, 1).await;
    for command in 100..150 {
        assert!(accepted(&owner.ask(add(command, command, 1)).await).is_some());
    }
    let history = history(&world).await;
    assert_eq!((history.drained, history.commits.contains_key(&Uuid::from_u128(3))), (1, false));
}

/// Unlike a newer one, it will never be understood by a later owner.
#[tokio::test]
async fn a_version_that_is_not_served_any_more_is_rejected_and_holds_up_no_other() {
    let world = world().await;
    let retired = AcceptedCommand { name: "counter.raise".to_owned(), version: 2, ..waiting(1, 1) };
    put_all(&world, [retired, waiting(2, 2)]).await;
    let _owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    let history = drained(&world, 2).await;
    let rejected = &history.rejected[&Uuid::from_u128(1)];
    assert_eq!(rejected["code"], "command.malformed");
    assert_eq!(rejected["detail"], "version 2 of the command counter.raise is not served any more");
    assert!(history.commits.contains_key(&Uuid::from_u128(2)));
}

#[tokio::test]
async fn a_command_past_its_deadline_is_rejected_by_its_owner_also_where_the_aggregate_cannot_be_read()
 {
    let world = world().await;
    let snapshots = TestSnapshots::default();
    snapshots.0.lock().unwrap().unreadable.insert(Uuid::from_u128(7));
    let overdue = AcceptedCommand { deadline: Micros(SystemClock.now() - 1), ..waiting(1, 1) };
    let soon_overdue =
        AcceptedCommand { deadline: Micros(SystemClock.now() + 400_000), ..waiting(2, 7) };
    put_all(&world, [overdue, soon_overdue, waiting(3, 3)]).await;
    let owner = Owner::start(&world, world.log.clone(), snapshots, Limits::default());
    let history = drained(&world, 3).await;
    assert_eq!(history.rejected.keys().map(Uuid::as_u128).collect::<Vec<_>>(), [1, 2]);
    assert!(history.rejected.values().all(|reason| reason["code"] == "operation.expired"));
    assert!(history.commits.contains_key(&Uuid::from_u128(3)));
    assert_eq!(owner.ask(add(9, 7, 1)).await, Answer::Unreadable);
}

/// An owner that has forgotten an aggregate, 7, which the snapshots cannot tell it any more.
async fn forgetful(world: &World, snapshots: &TestSnapshots, limits: Limits) -> Owner {
    snapshots.0.lock().unwrap().filters = true;
    let limits = Limits { cached_aggregates: 0, cached_outcomes: 0, ..limits };
    let owner = Owner::start(world, world.log.clone(), snapshots.clone(), limits);
    assert!(accepted(&owner.ask(add(1, 7, 1)).await).is_some());
    // The owner forgets the aggregate, and then the snapshots cannot say what it was.
    snapshots.0.lock().unwrap().unreachable = true;
    soon(async {
        for command in 1_000.. {
            let answer = owner.ask(add(command, 7, 1)).await;
            let Some((version, end)) = accepted(&answer) else {
                assert_eq!(answer, Answer::Busy(Busy::SnapshotsUnreachable));
                break;
            };
            {
                let mut kept = snapshots.0.lock().unwrap();
                kept.position.offset = end;
                kept.states.insert(Uuid::from_u128(7), (version, version));
            }
            owner.checkpoints.send(BTreeMap::from([(0, end)])).unwrap();
            // The owner hears of it when no caller asks it anything.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    owner
}

#[tokio::test]
async fn an_aggregate_that_cannot_be_loaded_holds_up_no_other() {
    let (world, snapshots) = (world().await, TestSnapshots::default());
    let _owner = forgetful(&world, &snapshots, Limits::default()).await;
    put_all(
        &world,
        std::iter::once(waiting(3, 7)).chain((10..30).map(|command| waiting(command, command))),
    )
    .await;
    let others: BTreeSet<_> = (10..30).map(Uuid::from_u128).collect();
    let until = Instant::now() + SOON;
    let before = loop {
        let history = history(&world).await;
        if others.iter().all(|command| history.commits.contains_key(command)) {
            break history;
        }
        assert!(Instant::now() < until, "{history:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!((before.drained, before.commits.contains_key(&Uuid::from_u128(3))), (0, false));
    snapshots.0.lock().unwrap().unreachable = false;
    assert!(drained(&world, 21).await.commits.contains_key(&Uuid::from_u128(3)));
}

#[tokio::test]
async fn no_more_is_taken_from_the_command_queue_than_its_window_above_what_cannot_be_decided() {
    let (world, snapshots) = (world().await, TestSnapshots::default());
    let owner =
        forgetful(&world, &snapshots, Limits { command_queue_window: 4, ..Limits::default() })
            .await;
    put_all(
        &world,
        std::iter::once(waiting(3, 7)).chain((10..30).map(|command| waiting(command, command))),
    )
    .await;
    let decided = async || {
        history(&world)
            .await
            .commits
            .keys()
            .filter(|command| (10..30).contains(&command.as_u128()))
            .count()
    };
    let until = Instant::now() + SOON;
    while decided().await < 3 {
        assert!(Instant::now() < until, "{} are decided", decided().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The owner has many a turn meanwhile.
    for command in 2_000..2_050 {
        assert!(accepted(&owner.ask(add(command, command, 1)).await).is_some());
    }
    assert_eq!(decided().await, 3);
    snapshots.0.lock().unwrap().unreachable = false;
    drained(&world, 21).await;
    assert_eq!(decided().await, 20);
}

#[tokio::test]
async fn duplicates_that_write_nothing_are_said_to_be_drained_by_a_barrier() {
    let world = world().await;
    let before =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    assert!(accepted(&before.ask(add(1, 1, 1)).await).is_some());
    before.stop.cancel();
    before.ended().await;
    // Both are there when the command queue is read: one barrier says it of both.
    put_all(&world, [waiting(1, 1), waiting(1, 1)]).await;
    let _owner = Owner::start(&world, world.log.clone(), TestSnapshots::default(), silent_for(200));
    let history = drained(&world, 2).await;
    assert_eq!((history.commits.len(), history.barriers, history.sources.len()), (1, 1, 0));
}

#[tokio::test]
async fn a_command_queue_that_lacks_commands_is_not_served_and_callers_are() {
    let mut world = world().await;
    put_all(&world, [waiting(1, 1), waiting(2, 2)]).await;
    let owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    drained(&world, 2).await;
    owner.kill().await;
    // Another topic: it begins before the place where the command queue must go on, and ends before
    // it, too.
    world.commands = Partition { topic: "other".into(), index: 0 };
    world
        .log
        .prepare(vec![Topic { name: "other".into(), partitions: 1, kind: TopicKind::Commands }])
        .await
        .unwrap();
    put(&world, encode(&waiting(3, 3))).await;
    let owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    for command in 100..150 {
        assert!(accepted(&owner.ask(add(command, command, 1)).await).is_some());
    }
    let history = history(&world).await;
    assert_eq!((history.drained, history.commits.contains_key(&Uuid::from_u128(3))), (2, false));
}

#[tokio::test]
async fn a_command_queue_as_long_as_it_may_be_takes_no_more_until_its_owner_has_come_on() {
    let world = world().await;
    let (announcements, reports) = Announcements::new(
        world.log.clone(),
        owners(),
        keys(),
        "http://127.0.0.1:1".into(),
        SystemIds.v4(),
    );
    let announcements = Arc::new(announcements);
    let following = tokio::spawn(announcements.clone().follow(reports));
    let queue = CommandQueue {
        log: world.log.clone(),
        announcements: announcements.clone(),
        category: "counter",
        topic: world.commands.topic.clone(),
        settings: QueueSettings {
            max_backlog: 3,
            max_backlog_bytes: 10_000,
            ..QueueSettings::default()
        },
        room: Arc::new(Semaphore::new(1 << 20)),
        shutdown: Shutdown::new(),
        ends: Ends::default(),
    };
    let accept =
        async |command| queue.accept(0, &waiting(command, command), Instant::now() + SOON).await;
    for command in 1..=2 {
        assert_eq!(accept(command).await, Ok(command.try_into().unwrap()));
    }
    // Two of its size would not fit, and of the small ones one more does.
    let large = with_body(3, 3, &format!("{{\"must_exist\":\"{}\"}}", "x".repeat(6_000)));
    assert_eq!(queue.accept(0, &large, Instant::now() + SOON).await, Err(Refusal::Full));
    assert_eq!(accept(3).await, Ok(3));
    assert_eq!(accept(4).await, Err(Refusal::Full));
    let owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    let until = Instant::now() + SOON;
    while announcements.drained("counter", 0) < 3 {
        assert!(Instant::now() < until, "no owner said that the command queue has come on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(accept(4).await, Ok(4));
    drained(&world, 4).await;
    owner.kill().await;
    following.abort();
}
