//! A log that takes nothing, and one that refuses single records: how often an owner asks it, by a
//! paused clock, and what callers hear.

use std::{sync::Arc, time::Duration};

use highwater_log::{
    FaultyLog,
    faulty::{Faults, Takes},
};
use highwater_protocol::writer::{Answer, Busy, Limits};
use highwater_runtime::resilience::Backoff;
use tokio::time::Instant;

use crate::{
    documented::Row,
    harness::{Owner, TestSnapshots, accepted, add, history, soon, world},
};

const FENCES: Backoff =
    Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(5) };

/// The paused clock runs on when nothing else does; each turn lets it.
async fn pass(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_takes_nothing_is_asked_once_a_wait_and_resumed_when_it_takes_again() {
    let world = world().await;
    let log = Arc::new(FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap());
    log.take(Takes::Nothing);
    let owner = Owner::start_paced(
        &world,
        log.clone(),
        TestSnapshots::default(),
        Limits::default(),
        FENCES,
    );
    pass(Duration::from_secs(600)).await;
    let asked = log.asked();
    // Half of the longest wait at least, and the doublings before it.
    assert!((100..=260).contains(&asked), "{asked} fences in ten minutes");

    // From here on a disk is waited for, which has a clock of its own.
    tokio::time::resume();
    log.take(Takes::All);
    assert!(accepted(&owner.ask(add(1, 1, 1)).await).is_some());
    assert_eq!(history(&world).await.fences, 1, "nothing of the attempts is in the log");
    Row {
        id: "L1",
        situation: "the data folder is full (the log takes no record at all), and no client \
                    sends anything",
        answer: "the owner asks once a wait, and the waits double from 50 ms to 5 s \
                 (`owner.retry_first_ms`, `owner.retry_longest_ms`): \
                 at most 260 attempts of a partition in ten minutes, one line in the log when it \
                 begins and one when it ends; \
                 the ids of attempts that were not sent are not kept. When there is room again it \
                 serves within the longest wait",
        test: (
            file!(),
            "a_log_that_takes_nothing_is_asked_once_a_wait_and_resumed_when_it_takes_again",
        ),
    }
    .check();
}

#[tokio::test]
async fn a_record_that_the_log_refuses_is_answered_once_and_holds_up_no_other() {
    const REFUSED: Duration = Duration::from_millis(500);
    let world = world().await;
    let log = Arc::new(FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap());
    let limits = Limits { refused_ms: 500, ..Limits::default() };
    let fences = Backoff { first: Duration::from_millis(5), longest: Duration::from_millis(50) };
    let owner = Owner::start_paced(&world, log.clone(), TestSnapshots::default(), limits, fences);
    // An event, and an outcome that nothing was added: of different sizes.
    for (command, events) in [(1, 1), (2, 0)] {
        assert!(matches!(owner.ask(add(command, 1, events)).await, Answer::Done { .. }));
    }
    let records = world.log.fetch(&world.partition, 1, 2).await.unwrap();
    let [event, outcome] = [0, 1].map(|at: usize| records[at].record.size_bytes());
    let (larger, smaller) = if event > outcome { (1, 0) } else { (0, 1) };

    log.take(Takes::UpTo(event.min(outcome)));
    let (before, began, refused) = (log.asked(), Instant::now(), add(3, 2, larger));
    for _ in 0..200 {
        assert_eq!(owner.ask(refused.clone()).await, Answer::Busy(Busy::Refused));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A record and a fence, each time that it is tried again.
    let tried = u64::try_from(began.elapsed().as_millis() / REFUSED.as_millis()).unwrap() + 1;
    let asked = log.asked() - before;
    assert!(
        (2..=2 * tried).contains(&asked),
        "{asked} appends for 200 requests, and {tried} tries"
    );
    assert!(
        matches!(owner.ask(add(4, 3, smaller)).await, Answer::Done { .. }),
        "smaller ones go on"
    );

    log.take(Takes::All);
    let decided = soon(async {
        loop {
            match owner.ask(refused.clone()).await {
                Answer::Busy(Busy::Refused) => tokio::time::sleep(REFUSED / 10).await,
                answer => return answer,
            }
        }
    });
    assert!(
        matches!(decided.await, Answer::Done { replayed: false, .. }),
        "it is decided once the log takes it"
    );
    let history = history(&world).await;
    assert_eq!((history.commits.len() + history.rejected.len(), history.voids), (4, 0));
    Row {
        id: "L3",
        situation: "the topic's `max.message.bytes` is lowered below the record of a command, \
                    which its client sends again and again",
        answer: "503 `log.refused` with `Retry-After`, after one append and one fence; for 10 s no \
                 record of that size or larger is sent to \
                 the log, and its commands are answered at once; smaller ones go on; when the log \
                 takes it, it is decided, once",
        test: (file!(), "a_record_that_the_log_refuses_is_answered_once_and_holds_up_no_other"),
    }
    .check();
}
