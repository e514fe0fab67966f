//! What a runner waits for, and how long.

use std::time::Duration;

use futures_util::FutureExt;
use highwater_log::MembershipEvent;
use tokio::time::Instant;

use super::{
    super::Step,
    alone::Alone,
    play,
    single::{SECOND, singles, stands},
    turns::Play,
};

/// Follows everything, with records to come.
async fn caught_up() -> (Play, Alone) {
    let play = Play { visible: 3, ..play(vec![singles(20)], 1) };
    let mut alone = play.alone();
    alone.go_on_for(SECOND / 10).await;
    assert_eq!(alone.runner.step().await, Step::CaughtUp);
    (play, alone)
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_something_arrives_and_loses_nothing() {
    let (_, mut alone) = caught_up().await;
    assert_eq!(alone.runner.wait().now_or_never(), None);
    alone.shelf.grow(1);
    assert_eq!(alone.runner.wait().now_or_never(), Some(()));
    assert_eq!(alone.runner.step().await, Step::Projected { events: 2 });
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_what_it_has_changes() {
    let (play, mut alone) = caught_up().await;
    alone.runner.limits.handoff = Duration::ZERO;
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: play.partitions(), lost: false })
        .expect("a runner");
    assert_eq!(alone.runner.wait().now_or_never(), Some(()));
    assert!(alone.progress.all().is_empty(), "and it heeds it");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_the_database_is_to_be_compared_and_not_before() {
    let (_, mut alone) = caught_up().await;
    let began = Instant::now();
    alone.runner.wait().await;
    assert!((150..=201).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(alone.runner.step().await, Step::Verified);
}

#[tokio::test(start_paused = true)]
async fn while_the_database_is_away_what_arrives_waits_and_the_tries_come_later_each_time() {
    let (_, mut alone) = caught_up().await;
    alone.store.server().away = usize::MAX;
    alone.shelf.grow(1);
    assert_eq!(alone.runner.step().await, Step::Failed);
    let mut waits = Vec::new();
    for _ in 0..5 {
        alone.shelf.grow(1);
        let (waited, _) = alone.next_step().await;
        waits.push(waited.as_millis() / 10 * 10);
    }
    assert_eq!(waits, [50, 100, 200, 200, 200]);
    alone.store.server().away = 0;
    alone.go_on_for(SECOND).await;
    assert_eq!(stands(&alone, "a"), 9);
}

#[tokio::test(start_paused = true)]
async fn after_a_comparison_that_failed_nothing_is_tried_for_a_while() {
    let (_, mut alone) = caught_up().await;
    alone.runner.wait().await;
    alone.store.server().away = 1;
    assert_eq!(alone.runner.step().await, Step::Failed);
    alone.shelf.grow(1);
    let (waited, step) = alone.next_step().await;
    assert_eq!((waited.as_millis() / 10 * 10, step), (200, Step::Projected { events: 2 }));
}
