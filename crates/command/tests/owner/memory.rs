//! What an owner remembers, what it loads, and where it says no.

use std::{collections::BTreeMap, sync::Arc};

use highwater_command::owner::actor::End;
use highwater_protocol::writer::{
    Answer, Busy, Expected, Limits, Outcome, RecordedOutcome, StepDown, Submission,
};
use uuid::Uuid;

use crate::harness::{Add, Owner, TestSnapshots, accepted, add, history, soon, world};

#[tokio::test]
async fn a_cold_aggregate_is_loaded_and_a_warm_fresh_command_is_not_looked_up() {
    let world = world().await;
    let snapshots = TestSnapshots::default();
    snapshots.0.lock().unwrap().states.insert(Uuid::from_u128(7), (41, 41));
    let owner = Owner::start(&world, world.log.clone(), snapshots.clone(), Limits::default());
    assert_eq!(accepted(&owner.ask(add(1, 7, 1)).await).map(|(version, _)| version), Some(42));
    assert_eq!(snapshots.0.lock().unwrap().loads, 1);
    let mut fresh = add(2, 7, 1);
    fresh.fresh = true;
    fresh.caller_key = false;
    assert_eq!(accepted(&owner.ask(fresh).await).map(|(version, _)| version), Some(43));
    assert_eq!(
        snapshots.0.lock().unwrap().loads,
        1,
        "a fresh command on a warm aggregate was looked up"
    );
}

#[tokio::test]
async fn without_snapshots_warm_and_new_aggregates_go_on_and_cold_ones_are_refused() {
    let world = world().await;
    let snapshots = TestSnapshots::default();
    let owner = Owner::start(&world, world.log.clone(), snapshots.clone(), Limits::default());
    assert!(accepted(&owner.ask(add(1, 1, 1)).await).is_some());
    snapshots.0.lock().unwrap().unreachable = true;
    assert_eq!(owner.ask(add(2, 2, 1)).await, Answer::Busy(Busy::SnapshotsUnreachable));
    let minted = |command, aggregate, new| {
        let mut submission = add(command, aggregate, 1);
        (submission.fresh, submission.caller_key, submission.new_aggregate) = (true, false, new);
        submission
    };
    assert!(accepted(&owner.ask(minted(3, 1, false)).await).is_some(), "a warm aggregate");
    assert!(accepted(&owner.ask(minted(4, 4, true)).await).is_some(), "a new aggregate");
}

#[tokio::test]
async fn snapshots_below_the_eviction_watermark_end_the_owner() {
    let world = world().await;
    let snapshots = TestSnapshots::default();
    let limits = Limits { cached_aggregates: 0, cached_outcomes: 0, ..Limits::default() };
    let owner = Owner::start(&world, world.log.clone(), snapshots.clone(), limits);
    let (_, end) = accepted(&owner.ask(add(1, 1, 1)).await).unwrap();
    // Snapshots have it, the owner forgets it; then they fall back, as a database does after a
    // crash.
    owner.checkpoints.send(BTreeMap::from([(0, end)])).unwrap();
    let answer = soon(async {
        loop {
            let mut again = add(2, 1, 1);
            again.expected = Expected::OneOf(vec![99]);
            match owner.send(again).await {
                Ok(Answer::VersionMismatch { .. }) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    })
    .await;
    assert!(matches!(answer, Ok(Answer::Busy(_)) | Err(_)), "{answer:?}");
    assert!(matches!(
        owner.ended().await,
        End::SteppedDown(StepDown::BelowEvictionWatermark { checkpoint: 0, .. })
    ));
}

#[tokio::test]
async fn a_hot_aggregate_is_bounded_and_its_neighbour_is_not() {
    let world = world().await;
    let slow = std::sync::Arc::new(
        highwater_log::FaultyLog::new(
            world.log.clone(),
            1,
            highwater_log::faulty::Faults::default(),
        )
        .unwrap(),
    );
    let limits = Limits { aggregate_queue: 3, ..Limits::default() };
    let owner = Owner::start(&world, slow.clone(), TestSnapshots::default(), limits);
    assert!(accepted(&owner.ask(add(1, 1, 1)).await).is_some());
    slow.hold(&world.partition);
    let waiting: Vec<_> = (10..13).map(|command| owner.send(add(command, 1, 1))).collect();
    assert_eq!(owner.ask(add(20, 1, 1)).await, Answer::Busy(Busy::Aggregate));
    let neighbour = owner.send(add(30, 2, 1));
    slow.release();
    assert!(accepted(&soon(neighbour).await.unwrap()).is_some());
    for answer in waiting {
        assert!(accepted(&soon(answer).await.unwrap()).is_some());
    }
}

#[tokio::test]
async fn a_partition_far_ahead_of_snapshots_refuses_cold_work_then_all() {
    let world = world().await;
    let limits = Limits { max_tail_events: 20, ..Limits::default() };
    let owner = Owner::start(&world, world.log.clone(), TestSnapshots::default(), limits);
    // The owner counts what it has read, which may be a few records behind what it has answered.
    let refused_at = async |first: u128, aggregate: fn(u128) -> u128| {
        for command in first..first + 100 {
            if owner.ask(add(command, aggregate(command), 1)).await
                == Answer::Busy(Busy::SnapshotsBehind)
            {
                return world.log.end(&world.partition).await.unwrap();
            }
        }
        panic!("never refused");
    };
    let cold = refused_at(1_000, |command| command).await;
    assert!((20..30).contains(&cold), "cold work was refused at {cold} records");
    let all = refused_at(2_000, |_| 1_000).await;
    assert!((40..50).contains(&all), "a warm aggregate was refused at {all} records");
}

#[tokio::test]
async fn an_unrecorded_no_is_held_until_a_barrier_proves_the_writer() {
    let world = world().await;
    let owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    let mut missing = add(1, 1, 1);
    missing.payload =
        Ok(Arc::new(Add { must_exist: true, ..Add::clone(missing.payload.as_ref().unwrap()) }));
    assert_eq!(owner.ask(missing).await, Answer::NotFound);
    assert_eq!(history(&world).await.barriers, 1);
    assert!(accepted(&owner.ask(add(2, 1, 2)).await).is_some());
    let mut below = add(3, 1, 1);
    below.expected = Expected::OneOf(vec![1]);
    assert_eq!(owner.ask(below).await, Answer::VersionMismatch { current: 2 });
    assert_eq!(
        history(&world).await.barriers,
        1,
        "a version below a confirmed one is final at once"
    );
    let mut above = add(4, 1, 1);
    above.expected = Expected::OneOf(vec![9]);
    assert_eq!(owner.ask(above).await, Answer::VersionMismatch { current: 2 });
    assert_eq!(history(&world).await.barriers, 2);
}

/// What it never saw is decided without a look-up, also the create of an aggregate by a caller's
/// own key.
#[tokio::test]
async fn what_the_filter_never_saw_is_not_looked_up_and_what_it_saw_is() {
    let world = world().await;
    let snapshots = TestSnapshots::default();
    snapshots.0.lock().unwrap().filters = true;
    let limits = Limits { cached_aggregates: 0, cached_outcomes: 0, ..Limits::default() };
    let owner = Owner::start(&world, world.log.clone(), snapshots.clone(), limits);
    // The first one may come before the owner serves, when the filter has no say yet.
    owner.ask(add(1, 10_001, 1)).await;
    let before = snapshots.0.lock().unwrap().loads;
    for command in 2..200 {
        assert!(accepted(&owner.ask(add(command, 10_000 + command % 20, 1)).await).is_some());
    }
    assert_eq!(snapshots.0.lock().unwrap().loads, before, "a fresh key was looked up");

    // Evicted from memory, the ids are still in the filter: now the snapshots decide.
    let end = world.log.end(&world.partition).await.unwrap();
    snapshots.0.lock().unwrap().position.offset = end;
    owner.checkpoints.send(BTreeMap::from([(0, end)])).unwrap();
    let looked_up = soon(async {
        while snapshots.0.lock().unwrap().loads == before {
            // Memory may still have it for a moment; then the answer is replayed.
            owner.ask(add(7, 10_007, 1)).await;
        }
    });
    looked_up.await;
}

/// A predecessor's ids come from the log: the next owner decides none of them anew, also when
/// nothing but the filter tells them from those that no caller ever sent.
#[tokio::test]
async fn a_take_over_fills_the_filter_from_the_log_before_it_serves() {
    // A cold aggregate is loaded together with the outcome; of a warm one only the filter says that
    // there may be an outcome to look for.
    for cached_aggregates in [0, Limits::default().cached_aggregates] {
        nothing_is_decided_again(Limits {
            cached_aggregates,
            cached_outcomes: 0,
            ..Limits::default()
        })
        .await;
    }
}

async fn nothing_is_decided_again(limits: Limits) {
    let world = world().await;
    let snapshots = TestSnapshots::default();
    snapshots.0.lock().unwrap().filters = true;
    let first = Owner::start(&world, world.log.clone(), snapshots.clone(), Limits::default());
    let (mut outcomes, mut states) = (BTreeMap::new(), BTreeMap::new());
    for command in 1..50 {
        let Submission { command, aggregate, fingerprint, .. } = add(command, command % 7, 1);
        let answer = first.ask(add(command.as_u128(), aggregate.as_u128(), 1)).await;
        let Answer::Done { outcome, .. } = answer.clone() else { panic!("{answer:?}") };
        let version = accepted(&answer).unwrap().0;
        states.insert(aggregate, (version, version));
        outcomes.insert(command, RecordedOutcome { aggregate, fingerprint, outcome });
    }
    first.stop.cancel();
    first.ended().await;

    let next = Owner::start(&world, world.log.clone(), snapshots.clone(), limits);
    let is_replayed = async |command: u128| {
        let answer = next.ask(add(command, command % 7, 1)).await;
        assert!(
            matches!(answer, Answer::Done { replayed: true, .. }),
            "command {command} was decided again: {answer:?}"
        );
    };
    is_replayed(1).await;
    // Snapshots come as far as the log, and the owner forgets what it has read.
    let end = world.log.end(&world.partition).await.unwrap();
    let before = {
        let mut kept = snapshots.0.lock().unwrap();
        (kept.position.offset, kept.outcomes, kept.states) = (end, outcomes, states);
        kept.loads
    };
    next.checkpoints.send(BTreeMap::from([(0, end)])).unwrap();
    soon(async {
        while snapshots.0.lock().unwrap().loads == before {
            is_replayed(1).await;
        }
    })
    .await;
    for command in 1..50 {
        is_replayed(command).await;
    }
    history(&world).await;
}

/// A recorded "no" is an outcome like any other, on an aggregate that is there and on one that is
/// not: its id is in the filter, where this owner has recorded it and where it has read it.
#[tokio::test]
async fn a_recorded_no_is_not_decided_again_once_memory_has_forgotten_it() {
    for taken_over in [false, true] {
        let world = world().await;
        let snapshots = TestSnapshots::default();
        snapshots.0.lock().unwrap().filters = true;
        // The aggregates stay warm, so only the filter says that there may be an outcome.
        let limits = Limits { cached_outcomes: 0, ..Limits::default() };
        let mut owner = Owner::start(&world, world.log.clone(), snapshots.clone(), limits);
        assert!(accepted(&owner.ask(add(1, 7, 1)).await).is_some());
        let refused = |command: u128| add(command, 5 + command, 0);
        let mut outcomes = BTreeMap::new();
        for command in [2, 3] {
            let Submission { command: id, aggregate, fingerprint, .. } = refused(command);
            let answer = owner.ask(refused(command)).await;
            let Answer::Done { outcome: outcome @ Outcome::Rejected { .. }, replayed: false } =
                answer
            else {
                panic!("{answer:?}")
            };
            outcomes.insert(id, RecordedOutcome { aggregate, fingerprint, outcome });
        }
        if taken_over {
            owner.stop.cancel();
            owner.ended().await;
            owner = Owner::start(&world, world.log.clone(), snapshots.clone(), limits);
        }
        let is_replayed = async |command: u128| {
            let answer = owner.ask(refused(command)).await;
            assert!(
                matches!(answer, Answer::Done { replayed: true, .. }),
                "command {command} was decided again: {answer:?}"
            );
        };
        is_replayed(2).await;
        let end = world.log.end(&world.partition).await.unwrap();
        let before = {
            let mut kept = snapshots.0.lock().unwrap();
            (kept.position.offset, kept.outcomes) = (end, outcomes);
            kept.loads
        };
        owner.checkpoints.send(BTreeMap::from([(0, end)])).unwrap();
        soon(async {
            while snapshots.0.lock().unwrap().loads == before {
                is_replayed(2).await;
            }
        })
        .await;
        is_replayed(3).await;
        assert_eq!(history(&world).await.rejected.len(), 2);
    }
}
