//! Where an owner takes a partition up: at the place that `snapshots` names, if that is one of this
//! very log.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use highwater_command::owner::{Delivery, actor::End, origin::Origins, supervise::Assignable};
use highwater_log::{Divergence, FaultyLog, faulty::Faults};
use highwater_protocol::{
    fold::Fold,
    position::Position,
    wire::{Wire, decode},
    writer::{Answer, Limits, Outcome, RecordedOutcome},
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    harness::{Kept, Owner, SOON, TestSnapshots, World, accepted, add, history, soon, world},
    moves::{Instance, until},
};

/// Two commands on one aggregate, and the place after them; the log goes on with a third.
async fn places() -> (World, Position<Wire>, TestSnapshots) {
    let world = world().await;
    let owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    let mut end = 0;
    for command in 1..=3 {
        let (version, offset) = accepted(&owner.ask(add(command, 7, 1)).await).unwrap();
        if version == 2 {
            end = offset;
        }
    }
    owner.stop.cancel();
    owner.ended().await;
    let (place, snapshots) = (folded(&world, end).await, TestSnapshots::default());
    snapshots.0.lock().unwrap().states.insert(Uuid::from_u128(7), (2, 2));
    snapshots.0.lock().unwrap().position = place.clone();
    (world, place, snapshots)
}

/// The place of everything below `end`.
async fn folded(world: &World, end: u64) -> Position<Wire> {
    let mut fold = Fold::<Wire>::new();
    for stored in world
        .log
        .fetch(&world.partition, 0, 1_000)
        .await
        .unwrap()
        .into_iter()
        .take_while(|stored| stored.offset < end)
    {
        fold.apply(stored.offset, decode(stored.record)).unwrap();
    }
    fold.position().clone()
}

#[tokio::test]
async fn an_owner_goes_on_from_its_place_when_it_has_read_the_witness() {
    let (world, place, snapshots) = places().await;
    assert!(place.witness.as_ref().is_some_and(|witness| witness.offset < place.offset));
    let owner = Owner::start(&world, world.log.clone(), snapshots, Limits::default());
    assert_eq!(accepted(&owner.ask(add(4, 7, 1)).await).map(|(version, _)| version), Some(4));
    assert_eq!(history(&world).await.commits.len(), 4);
}

#[tokio::test]
async fn a_place_of_another_history_ends_the_owner_before_any_fence() {
    let (world, place, snapshots) = places().await;
    let fences = history(&world).await.fences;
    let mut other = place.clone();
    other.witness.as_mut().unwrap().writer = Uuid::from_u128(99);
    snapshots.0.lock().unwrap().position = other;
    let end =
        Owner::start(&world, world.log.clone(), snapshots.clone(), Limits::default()).ended().await;
    assert!(matches!(&end, End::Diverged(Divergence::Witness { .. })), "{end}");
    let mut beyond = place;
    beyond.offset = world.log.end(&world.partition).await.unwrap() + 1;
    snapshots.0.lock().unwrap().position = beyond.clone();
    let end = Owner::start(&world, world.log.clone(), snapshots, Limits::default()).ended().await;
    assert!(matches!(&end, End::Diverged(Divergence::BeyondEnd { .. })), "{end}");
    assert_eq!(history(&world).await.fences, fences, "no fence was sent");
}

#[tokio::test]
async fn no_fence_is_sent_before_the_witness_has_been_read() {
    let (world, _, snapshots) = places().await;
    let mut place = folded(&world, world.log.end(&world.partition).await.unwrap()).await;
    place.witness.as_mut().unwrap().writer = Uuid::from_u128(99);
    snapshots.0.lock().unwrap().position = place;
    let slow = Arc::new(FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap());
    slow.hold_reads(&world.partition);
    let owner = Owner::start(&world, slow.clone(), snapshots, Limits::default());
    // It hears where the log ends, which is where it stands, and goes on to what callers want: what
    // is missing is the record before.
    until("it has heard where the log ends", || slow.ends_said() > 0).await;
    let unanswered = owner.send(add(4, 7, 1));
    until("it has gone on to what callers want", || {
        owner.intake.capacity() == owner.intake.max_capacity()
    })
    .await;
    assert_eq!(slow.asked(), 0, "it fenced a log that it has not read a record of");
    slow.release();
    let end = owner.ended().await;
    assert!(matches!(&end, End::Diverged(Divergence::Witness { .. })), "{end}");
    assert_eq!(slow.asked(), 0);
    assert!(soon(unanswered).await.is_err());
}

/// Its witness is there, and the log began otherwise: as where a log was made anew from a part of
/// another.
#[tokio::test]
async fn a_place_of_a_history_that_another_began_is_not_served() {
    let (world, place, snapshots) = places().await;
    let fences = history(&world).await.fences;
    snapshots.0.lock().unwrap().position =
        Position { identity: Some(Uuid::from_u128(99)), ..place };
    let instance = Instance::from(&world, snapshots, Duration::ZERO, Duration::ZERO).await;
    instance.supervisors.assign(0);
    until("it has looked", || instance.statuses.all().iter().any(|live| live.why == "log")).await;
    instance.supervisors.release(0).await;
    assert_eq!(history(&world).await.fences, fences, "no fence was sent");
}

#[tokio::test]
async fn who_began_a_partition_is_read_once_and_compared_each_time() {
    let (world, place, _) = places().await;
    let origins = Origins::default();
    soon(origins.check(&*world.log, &world.partition, &place)).await.unwrap();
    let other = Position { identity: Some(Uuid::from_u128(99)), ..place.clone() };
    for _ in 0..2 {
        let found = soon(origins.check(&*world.log, &world.partition, &other)).await;
        assert!(
            matches!(found, Err(Divergence::Identity { found, .. }) if found == place.identity)
        );
    }
    // It never changes, so the log is asked once.
    let (log, origins) =
        (FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap(), Origins::default());
    for _ in 0..3 {
        soon(origins.check(&log, &world.partition, &place)).await.unwrap();
    }
    assert_eq!(log.ends_said(), 1);
}

/// Before it is taken over: a take-over waits for one read less. Where nothing was ever projected
/// there is nothing to compare.
#[tokio::test]
async fn who_began_a_partition_is_read_as_soon_as_something_of_it_was_projected() {
    let (world, place, _) = places().await;
    for (projected, asked, asked_by_a_take_over) in [(0, 0, 1), (1, 1, 1)] {
        let log = Arc::new(FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap());
        let origins = Arc::new(Origins::default());
        // It looks at what there is, and ends because nothing more will come.
        let checkpoints =
            watch::Sender::new(BTreeMap::from([(world.partition.index, projected)])).subscribe();
        let warm = origins.clone().keep_warm(
            log.clone(),
            world.partition.topic.clone(),
            checkpoints,
            CancellationToken::new(),
        );
        soon(warm).await;
        assert_eq!(log.ends_said(), asked, "projected below offset {projected}");
        soon(origins.check(&*log, &world.partition, &place)).await.unwrap();
        assert_eq!(log.ends_said(), asked_by_a_take_over, "projected below offset {projected}");
    }
}

/// The projection comes on while the owner looks where it stands: what it has by then is in the
/// filter, or is read.
#[tokio::test]
async fn what_is_projected_while_a_place_is_looked_up_is_not_decided_again() {
    let world = world().await;
    let owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    let answer = owner.ask(add(1, 7, 1)).await;
    let (version, end) = accepted(&answer).unwrap();
    owner.stop.cancel();
    owner.ended().await;

    let snapshots = TestSnapshots::default();
    let sent = add(1, 7, 1);
    let Answer::Done { outcome: outcome @ Outcome::Accepted { .. }, .. } = answer else {
        panic!("{answer:?}")
    };
    let recorded = RecordedOutcome {
        aggregate: sent.aggregate,
        fingerprint: sent.fingerprint.clone(),
        outcome,
    };
    let arrived = Kept {
        position: folded(&world, end).await,
        states: BTreeMap::from([(sent.aggregate, (version, version))]),
        outcomes: BTreeMap::from([(sent.command, recorded)]),
        seen: vec![sent.command, sent.aggregate],
        filters: true,
        ..Kept::default()
    };
    *snapshots.0.lock().unwrap() =
        Kept { filters: true, arrives: Some(Box::new(arrived)), ..Kept::default() };
    let next = Instance::from(&world, snapshots, SOON, SOON).await;
    next.supervisors.assign(0);
    until("it serves", || next.serves()).await;
    let (reply, answer) = oneshot::channel();
    let delivery = Delivery { submission: sent, reply, deadline: Instant::now() + SOON };
    next.table
        .find(0)
        .unwrap()
        .try_send(delivery)
        .unwrap_or_else(|_| panic!("the owner takes nothing"));
    let answer = soon(answer).await.unwrap();
    assert!(
        matches!(answer, Answer::Done { replayed: true, .. }),
        "it was decided again: {answer:?}"
    );
    assert_eq!(history(&world).await.commits.len(), 1);
}
