//! An owner that was paused, and goes on after its successor's fence: by hand on `FaultyLog`,
//! without any clock.

use std::sync::Arc;

use highwater_log::{
    Appended, FaultyLog, Follow, LocalLog, Log, Partition, ReportError, Topic, TopicKind,
    faulty::Faults, local::Settings,
};
use highwater_protocol::{
    fold::{Effect, Void},
    position::Position,
    record::Record,
};

use crate::{
    fixture::{Folder, Reports, numbered, soon},
    history::{event, fence, id, write},
};

struct World {
    shared: Arc<dyn Log>,
    partition: Partition,
    _folder: Folder,
}

async fn world() -> World {
    let folder = Folder::new();
    let shared: Arc<dyn Log> =
        Arc::new(LocalLog::open(folder.path().join("log"), Settings::default()).unwrap());
    soon(shared.prepare(vec![Topic {
        name: "things".into(),
        partitions: 1,
        kind: TopicKind::Events,
    }]))
    .await
    .unwrap();
    World { shared, partition: Partition { topic: "things".into(), index: 0 }, _folder: folder }
}

fn seen_by(world: &World, seed: u64, faults: Faults) -> FaultyLog {
    FaultyLog::new(Arc::clone(&world.shared), seed, faults).unwrap()
}

async fn effects(world: &World, n: usize) -> Vec<Effect<highwater_protocol::wire::Wire>> {
    let mut follow =
        Follow::resume(&*world.shared, &world.partition, Position::start()).await.unwrap();
    let mut effects = Vec::new();
    while effects.len() < n {
        effects
            .extend(soon(follow.next()).await.unwrap().effects.into_iter().map(|seen| seen.effect));
    }
    effects
}

#[tokio::test]
async fn records_held_past_the_successors_fence_are_void_for_every_reader() {
    let world = world().await;
    let zombie = seen_by(&world, 1, Faults::default());
    let (old, new) = (id(1), id(2));
    let mut reports = Reports::new();
    zombie.append(&world.partition, fence(1, old), reports.reply(0)).unwrap();
    zombie.append(&world.partition, event(1, old, 0, 1, 1, 1, (1, 1)), reports.reply(1)).unwrap();
    assert_eq!(reports.next().await.result, Ok(Appended::At(0)));
    assert_eq!(reports.next().await.result, Ok(Appended::At(1)));
    zombie.hold(&world.partition);
    for seq in 1..5 {
        zombie
            .append(
                &world.partition,
                event(1, old, seq, 1, 1 + u128::from(seq), 1 + seq, (1, 1)),
                reports.reply(seq),
            )
            .unwrap();
    }
    assert_eq!(zombie.waiting(&world.partition), 4);
    write(&world.shared, &world.partition, vec![fence(2, new), event(2, new, 0, 1, 9, 2, (1, 1))])
        .await;
    assert!(reports.waiting().is_none(), "nothing that is held was reported");
    zombie.release();
    for offset in 4..8 {
        assert_eq!(
            reports.next().await.result,
            Ok(Appended::At(offset)),
            "appended, but not where its anchor says"
        );
    }
    let effects = effects(&world, 8).await;
    assert!(matches!(effects[3], Effect::Commit(_)));
    assert_eq!(effects[4..], vec![Effect::Void(Void::Unexpected); 4]);
}

#[tokio::test]
async fn reads_and_reports_are_held_apart_from_appends() {
    let world = world().await;
    let log = seen_by(&world, 1, Faults::default());
    log.hold_reads(&world.partition);
    log.hold_reports(&world.partition);
    let (mut reports, mut subscription) = (Reports::new(), log.read(&world.partition, 0).unwrap());
    log.append(&world.partition, numbered(1), reports.reply(1)).unwrap();
    // It arrives: every other reader can read it.
    let mut elsewhere = world.shared.read(&world.partition, 0).unwrap();
    assert_eq!(crate::fixture::take(&mut elsewhere, 1).await.len(), 1);
    assert_eq!(log.inject(&world.partition, Record::default()).await.unwrap(), Appended::At(1));
    assert!(reports.waiting().is_none() && subscription.deliveries.try_recv().is_err());
    log.release();
    assert_eq!(reports.next().await.result, Ok(Appended::At(0)));
    assert_eq!(crate::fixture::take(&mut subscription, 2).await.len(), 2);
}

/// What an append's report said, and how often its record is in the log.
async fn fates(seed: u64, faults: Faults) -> Vec<(Result<Appended, ReportError>, usize)> {
    const APPENDS: u64 = 200;
    let world = world().await;
    let log = seen_by(&world, seed, faults);
    let mut reports = Reports::new();
    for n in 0..APPENDS {
        log.append(&world.partition, numbered(n), reports.reply(n)).unwrap();
    }
    let mut results = Vec::new();
    for n in 0..APPENDS {
        let report = reports.next().await;
        assert_eq!(report.ticket.seq, Some(n));
        results.push(report.result);
    }
    let end = soon(world.shared.end(&world.partition)).await.unwrap();
    let mut subscription = world.shared.read(&world.partition, 0).unwrap();
    let stored = crate::fixture::take(&mut subscription, end as usize).await;
    let count = |n: u64| stored.iter().filter(|stored| stored.record == numbered(n)).count();
    results.into_iter().zip(0..).map(|(result, n)| (result, count(n))).collect()
}

#[tokio::test]
async fn the_same_seed_gives_the_same_fates_and_another_seed_others() {
    let faults = Faults {
        dropped: 100,
        duplicated: 100,
        stripped: 100,
        misreported: 100,
        foreign: 100,
        ..Faults::default()
    };
    let first = fates(7, faults.clone()).await;
    assert_eq!(first, fates(7, faults.clone()).await);
    assert_ne!(first, fates(8, faults).await);
}

#[tokio::test]
async fn every_fault_does_what_it_says() {
    let always = |faults: Faults| fates(3, faults);
    for (result, copies) in always(Faults { dropped: 1000, ..Faults::default() }).await {
        assert!(result.is_err() && copies == 0);
    }
    for (result, copies) in always(Faults { misreported: 1000, ..Faults::default() }).await {
        assert!(result.is_err() && copies == 1);
    }
    for (result, copies) in always(Faults { stripped: 1000, ..Faults::default() }).await {
        assert!(result == Ok(Appended::Somewhere) && copies == 1);
    }
    for (n, (result, copies)) in
        (0..).zip(always(Faults { foreign: 1000, ..Faults::default() }).await)
    {
        assert_eq!((result, copies), (Ok(Appended::At(2 * n + 1)), 1));
    }
    for (n, (result, copies)) in
        (0..).zip(always(Faults { duplicated: 1000, ..Faults::default() }).await)
    {
        assert_eq!(result, Ok(Appended::At(2 * n)));
        // The second copy of the last one may still be on its way.
        assert!(copies == 2 || n == 199);
    }
}
