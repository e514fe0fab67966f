//! An owner that was paused past its session, and goes on after its successor's fence.

use std::{sync::Arc, time::Duration};

use highwater_command::owner::actor::End;
use highwater_log::{FaultyLog, faulty::Faults};
use highwater_protocol::writer::{Answer, Limits, StepDown};

use crate::harness::{Owner, TestSnapshots, World, accepted, add, history, soon, world};

/// What the successor's fence finds on its way: how many commands the zombie holds, and whether it
/// still hears the log.
async fn zombie_run(held: u128, deaf: bool) {
    let world = world().await;
    let slow = Arc::new(FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap());
    let zombie = Owner::start(&world, slow.clone(), TestSnapshots::default(), Limits::default());
    let first = accepted(&zombie.ask(add(1, 1, 1)).await);
    assert_eq!(first, Some((1, 2)), "it served before");

    slow.hold(&world.partition);
    if deaf {
        slow.hold_reads(&world.partition);
    }
    let waiting: Vec<_> = (0..held)
        .map(|n| zombie.send(add(100 + n, 1 + n % 3, 1 + usize::try_from(n % 2).unwrap())))
        .collect();
    until_held(&world, &slow, held).await;

    let successor =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    let taken_over = accepted(&successor.ask(add(2, 1, 1)).await).expect("the successor serves");
    let first_free = world.log.end(&world.partition).await.unwrap();
    let held_records = (0..held).map(|n| 1 + u64::try_from(n % 2).unwrap()).sum::<u64>();
    // One that hears of the successor may say that it is not the owner any more; a deaf one can say
    // nothing.
    let mut silent = Vec::new();
    for mut answer in waiting {
        match answer.try_recv() {
            Err(_) => silent.push(answer),
            Ok(early) => assert!(
                !deaf && early == Answer::Moved,
                "a held command was answered before its outcome could be known"
            ),
        }
    }

    slow.release_appends(&world.partition);
    landed(&world, first_free + held_records).await;
    if deaf {
        for answer in &mut silent {
            assert!(
                answer.try_recv().is_err(),
                "a report at another offset than the anchor says was taken for a confirmation"
            );
        }
    }
    slow.release_partition(&world.partition);
    for answer in silent {
        // A dropped reply is no answer either: the request goes to the next owner.
        let answer = soon(answer).await.unwrap_or(Answer::Moved);
        assert_eq!(answer, Answer::Moved, "a zombie acknowledged something");
    }
    assert!(matches!(zombie.ended().await, End::SteppedDown(StepDown::Deposed { epoch: 2 })));

    // The zombie's records lie between the successor's: it anchors again, without a second fence.
    let after = accepted(&successor.ask(add(3, 1, 1)).await).expect("the successor goes on");
    assert_eq!(after.0, taken_over.0 + 1);
    let history = history(&world).await;
    assert_eq!(history.fences, 2, "the rightful owner fenced again");
    assert_eq!(history.voids as u64, held_records, "every held record is void");
    assert_eq!(history.commits.len(), 3);
    successor.stop.cancel();
    assert!(matches!(successor.ended().await, End::SteppedDown(StepDown::Drained)));
}

/// Until the log ends at `end`, and the reports of what landed have had time to do harm: nothing
/// shows that they were ignored.
async fn landed(world: &World, end: u64) {
    soon(async {
        while world.log.end(&world.partition).await.unwrap() < end {
            tokio::task::yield_now().await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Until everything that was sent waits in the log's queue.
async fn until_held(world: &World, slow: &FaultyLog, commands: u128) {
    let records: u128 = (0..commands).map(|n| 1 + n % 2).sum();
    soon(async {
        while (slow.waiting(&world.partition) as u128) < records {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_zombie_acknowledges_nothing_and_its_records_are_void() {
    for held in [1, 2, 7, 40] {
        zombie_run(held, false).await;
    }
}

/// It reads nothing of its successor's fence before the reports come: only their offsets can tell.
#[tokio::test]
async fn a_zombie_that_hears_only_its_reports_acknowledges_nothing() {
    for held in [1, 2, 7, 40] {
        zombie_run(held, true).await;
    }
}

#[tokio::test]
async fn an_owner_that_hears_nothing_of_its_records_drains_for_no_longer_than_it_may() {
    let world = world().await;
    let slow = Arc::new(FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap());
    let owner = Owner::start(&world, slow.clone(), TestSnapshots::default(), Limits::default());
    assert!(accepted(&owner.ask(add(1, 1, 1)).await).is_some());
    slow.hold(&world.partition);
    let unanswered = owner.send(add(2, 1, 1));
    until_held(&world, &slow, 1).await;
    owner.stop.cancel();
    let end = owner.ended().await;
    assert!(matches!(end, End::DrainedLate), "{end}");
    assert!(soon(unanswered).await.is_err(), "the owner does not know what became of it");
}
