//! What fails stops as little as possible: one projection on one partition; and two runners never
//! both win.

use std::{collections::BTreeSet, time::Duration};

use highwater_log::MembershipEvent;
use highwater_projection::runner::{Key, Limits, PostgresStore, Source, Step, TopicPartition};
use serde_json::json;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    lives::issued,
    postgres,
    tables::{dump, tables, tables_with},
    world::{World, event, halted},
};

fn key(projection: &'static str, category: &str, id: Uuid) -> Key {
    Key {
        projection,
        topic_partition: TopicPartition::of_events(category, World::partition_of(id)),
    }
}

const PATIENCE: Duration = Duration::from_secs(120);

async fn until(what: &str, happened: impl Fn() -> bool) {
    let waiting = async {
        while !happened() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect("a number")
}

#[tokio::test]
async fn a_poisoned_event_halts_its_projection_on_its_partition_alone() {
    let mut world = World::new().await;
    world.live(0..12).await;
    let before = tables("poison_before").await;
    world.project(&before, 5_000).await;
    let vouchers_before = count(&before, "SELECT count(*) FROM vouchers").await;

    let poisoned = Uuid::from_u128(0xbad);
    world
        .commit("voucher", poisoned, vec![event("voucher.issued", 2, json!({"nonsense": true}))], 1)
        .await;
    let neighbours: Vec<Uuid> = (0..40).map(|n| Uuid::from_u128(0x9000 + n)).collect();
    for id in &neighbours {
        world.commit("voucher", *id, vec![issued(1)], 1).await;
    }
    let pool = tables("poison").await;
    let (mut runner, _changes) = world.runner(PostgresStore::new(pool.clone()), Limits::default());
    world.to_the_end(&mut runner).await;

    assert_eq!(
        halted(&runner),
        BTreeSet::from([
            key("vouchers", "voucher", poisoned),
            key("worth_daily", "voucher", poisoned)
        ])
    );
    let behind = neighbours
        .iter()
        .filter(|id| World::partition_of(**id) == World::partition_of(poisoned))
        .count();
    assert!(behind > 0 && behind < neighbours.len());
    let projected = i64::try_from(neighbours.len() - behind).expect("few");
    assert_eq!(count(&pool, "SELECT count(*) FROM vouchers").await, vouchers_before + projected);
    // Snapshots go on: the aggregate is stored as unreadable, its neighbours are not.
    assert_eq!(
        count(&pool, "SELECT count(*) FROM snapshots WHERE unreadable IS NOT NULL").await,
        1
    );
    assert_eq!(
        count(&pool, "SELECT count(*) FROM snapshots").await,
        i64::try_from(world.events.len()).expect("few")
    );
    assert_eq!(
        count(&pool, "SELECT count(*) FROM outcomes").await,
        i64::try_from(world.outcomes.len()).expect("few")
    );
    // The halted one stands between what came before the poison and the poison.
    let halted_at = count(
        &pool,
        "SELECT next_offset FROM checkpoints c WHERE projection = \
                                  'vouchers' AND partition = (SELECT partition FROM outcomes WHERE \
                                  aggregate_id = '00000000-0000-0000-0000-000000000bad')",
    )
    .await;
    let poison = "SELECT partition, next_offset FROM outcomes WHERE aggregate_id = \
                  '00000000-0000-0000-0000-000000000bad'";
    let (partition, poison_end): (i32, i64) =
        sqlx::query_as(poison).fetch_one(&pool).await.expect("the poison's outcome");
    let before: i64 = sqlx::query_scalar(
        "SELECT max(next_offset) FROM outcomes WHERE category = 'voucher' AND \
                            partition = $1 AND next_offset < $2",
    )
    .bind(partition)
    .bind(poison_end)
    .fetch_one(&pool)
    .await
    .expect("something before");
    assert!(before <= halted_at && halted_at < poison_end, "{before} {halted_at} {poison_end}");
}

#[tokio::test]
async fn an_event_of_a_newer_release_pauses_its_readers_on_its_partition() {
    let mut world = World::new().await;
    let id = Uuid::from_u128(0xfeed);
    world.commit("voucher", id, vec![issued(1)], 1).await;
    world.commit("voucher", id, vec![event("voucher.issued", 9, json!({}))], 1).await;
    world.live(0..8).await;
    let pool = tables("newer").await;
    let (mut runner, _changes) = world.runner(PostgresStore::new(pool.clone()), Limits::default());
    world.to_the_end(&mut runner).await;
    assert_eq!(
        halted(&runner),
        BTreeSet::from(
            ["vouchers", "worth_daily", "snapshots"].map(|name| key(name, "voucher", id))
        )
    );
    assert_eq!(
        count(
            &pool,
            "SELECT version FROM vouchers WHERE id = '00000000-0000-0000-0000-00000000feed'"
        )
        .await,
        1
    );
    assert_eq!(
        count(&pool, "SELECT count(*) FROM snapshots WHERE unreadable IS NOT NULL").await,
        0
    );
    assert!(count(&pool, "SELECT count(*) FROM holders").await > 0);
}

#[tokio::test]
async fn of_two_runners_with_the_same_checkpoints_one_wins_each_time() {
    let mut world = World::new().await;
    world.live(0..6).await;
    let reference = tables("two_reference").await;
    let pool = tables("two").await;
    let limits = || Limits { batch_events: 4, resume_at_once: usize::MAX, ..Limits::default() };
    let (mut one, _one) = world.runner(PostgresStore::new(pool.clone()), limits());
    let (mut two, _two) = world.runner(PostgresStore::new(pool.clone()), limits());
    // Both begin at the same checkpoints.
    for runner in [&mut one, &mut two] {
        assert_eq!(runner.step().await, Step::Resumed);
        assert_eq!(runner.progress().all().len(), world.checkpoints());
    }
    let (lost_by_one, lost_by_two) =
        tokio::join!(world.to_the_end(&mut one), world.to_the_end(&mut two));
    assert!(lost_by_one + lost_by_two > 0, "they never met");
    assert!(halted(&one).is_empty() && halted(&two).is_empty());
    world.project(&reference, 5_000).await;
    assert_eq!(dump(&pool).await, dump(&reference).await);
}

#[tokio::test]
async fn a_partition_that_was_revoked_is_not_projected_until_it_comes_back() {
    let mut world = World::new().await;
    let pool = tables("revoked").await;
    let limits = Limits { handoff: Duration::ZERO, ..Limits::default() };
    let (mut runner, changes) = world.runner(PostgresStore::new(pool.clone()), limits);
    world.to_the_end(&mut runner).await;
    changes
        .send(MembershipEvent::Revoked { partitions: world.partitions(), lost: true })
        .expect("a runner");
    assert_eq!(runner.step().await, Step::CaughtUp);
    assert!(runner.progress().all().is_empty());
    world.live(0..4).await;
    assert_eq!(runner.step().await, Step::CaughtUp);
    assert_eq!(count(&pool, "SELECT count(*) FROM vouchers").await, 0);
    changes.send(MembershipEvent::Assigned(world.partitions())).expect("a runner");
    world.to_the_end(&mut runner).await;
    assert_eq!(count(&pool, "SELECT count(*) FROM vouchers").await, 4);
}

#[tokio::test]
async fn a_partition_that_was_revoked_is_projected_until_another_runner_moves_it() {
    let mut world = World::new().await;
    let (pool, reference) = (tables("handed_over").await, tables("handed_over_reference").await);
    // The test does not wait so long: what ends, ends because it was taken over.
    let limits = || Limits { handoff: Duration::from_secs(3_600), ..Limits::default() };
    let (mut old, changes) = world.runner(PostgresStore::new(pool.clone()), limits());
    world.to_the_end(&mut old).await;
    changes
        .send(MembershipEvent::Revoked { partitions: world.partitions(), lost: false })
        .expect("a runner");
    world.live(0..4).await;
    world.to_the_end(&mut old).await;
    assert_eq!(count(&pool, "SELECT count(*) FROM vouchers").await, 4);

    let (mut new, _new) = world.runner(PostgresStore::new(pool.clone()), limits());
    world.to_the_end(&mut new).await;
    assert!(old.progress().all().keys().count() > 0, "without events nothing shows it");
    world.live(4..8).await;
    world.to_the_end(&mut new).await;
    // Every partition of events had something.
    let progress = old.progress();
    let letting_go = async {
        while progress.all().keys().any(|key| key.topic_partition.source == Source::Events) {
            if matches!(old.step().await, Step::Waiting | Step::CaughtUp) {
                old.wait().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, letting_go).await.expect("it sees that it was taken over");
    world.project(&reference, 5_000).await;
    assert_eq!(dump(&pool).await, dump(&reference).await);
}

#[tokio::test]
async fn a_runner_that_ends_projects_until_others_do() {
    let mut world = World::new().await;
    let (pool, reference) = (tables("ending").await, tables("ending_reference").await);
    let limits = || Limits { handoff: Duration::from_secs(3_600), ..Limits::default() };
    let (old, _old) = world.runner(PostgresStore::new(pool.clone()), limits());
    let (soft, progress) = (CancellationToken::new(), old.progress());
    let ending = tokio::spawn(old.run(soft.clone()));
    until("everything is resumed", || progress.all().len() == world.checkpoints()).await;
    soft.cancel();
    world.live(0..4).await;
    until("the runner that ends projects on", || {
        progress.all().values().filter(|offset| **offset > 1).count() > 0
    })
    .await;

    // By itself, as the other one: while events are appended both have their turns, however long
    // that takes.
    let (new, _new) = world.runner(PostgresStore::new(pool.clone()), limits());
    let new_progress = new.progress();
    let projecting = tokio::spawn(new.run(CancellationToken::new()));
    // The faster runner has what comes next, and nothing says that this is the new one each time.
    let taken_over = async {
        for n in 4.. {
            world.live(n..n + 1).await;
            while !world.is_projected(&new_progress).await {
                tokio::task::yield_now().await;
            }
            if ending.is_finished() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, taken_over).await.expect("it ends when it was taken over");
    projecting.abort();
    ending.await.expect("no panic");
    assert!(progress.all().is_empty());
    world.project(&reference, 5_000).await;
    assert_eq!(dump(&pool).await, dump(&reference).await);
}

#[tokio::test]
async fn another_log_behind_the_same_checkpoints_halts() {
    let mut world = World::new().await;
    world.live(0..2).await;
    let pool = tables("another_log").await;
    world.project(&pool, 5_000).await;
    let before = dump(&pool).await;
    // A command queue without records can be of any log.
    let begun = count(&pool, "SELECT count(*) FROM checkpoints WHERE next_offset > 0").await;
    let mut other = World::of_history(1).await;
    other.live(0..6).await;
    let (mut runner, _changes) = other.runner(PostgresStore::new(pool.clone()), Limits::default());
    other.to_the_end(&mut runner).await;
    assert_eq!(halted(&runner).len(), usize::try_from(begun).expect("few"));
    assert_eq!(without_queues(&dump(&pool).await), without_queues(&before));
}

fn without_queues(dump: &str) -> Vec<&str> {
    dump.lines().filter(|line| !line.contains("operations")).collect()
}

#[tokio::test]
async fn a_projection_that_waits_for_a_lock_does_not_hold_up_the_others() {
    let mut world = World::new().await;
    world.live(0..8).await;
    let options = postgres::database("lock").await;
    let pool = tables_with(options.options([("lock_timeout", "100")])).await;
    let mut holding = pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE vouchers IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *holding)
        .await
        .expect("a lock");

    let (mut runner, _changes) = world.runner(PostgresStore::new(pool.clone()), Limits::default());
    let others_are_done = async {
        while count(
            &pool,
            "SELECT count(*) FROM checkpoints WHERE projection NOT IN ('vouchers', \
                            'operations') AND next_offset = 0",
        )
        .await
            > 0
            || count(
                &pool,
                "SELECT count(*) FROM \
                             outcomes",
            )
            .await
                < i64::try_from(world.outcomes.len()).expect("few")
        {
            runner.step().await;
        }
    };
    tokio::time::timeout(PATIENCE, others_are_done).await.expect("the others go on");
    assert_eq!(
        count(&pool, "SELECT max(next_offset) FROM checkpoints WHERE projection = 'vouchers'")
            .await,
        0
    );

    holding.rollback().await.expect("released");
    world.to_the_end(&mut runner).await;
    assert!(halted(&runner).is_empty());
    let reference = tables("lock_reference").await;
    world.project(&reference, 5_000).await;
    assert_eq!(dump(&pool).await, dump(&reference).await);
    // They go together again: one transaction for both projections of a partition.
    world.live(8..9).await;
    world.to_the_end(&mut runner).await;
    world.project(&reference, 5_000).await;
    assert_eq!(dump(&pool).await, dump(&reference).await);
}

#[tokio::test]
async fn a_database_that_fell_back_is_projected_again() {
    let mut world = World::new().await;
    world.live(0..4).await;
    let pool = tables("fell_back").await;
    let limits = Limits { verify_every: Duration::from_millis(50), ..Limits::default() };
    let (mut runner, _changes) = world.runner(PostgresStore::new(pool.clone()), limits);
    world.to_the_end(&mut runner).await;
    let expected = dump(&pool).await;
    // As after a crash that lost what was not on the disk: rows and checkpoints together, and
    // nothing new is in the log.
    sqlx::query("TRUNCATE vouchers, holders, snapshots, outcomes, checkpoints")
        .execute(&pool)
        .await
        .expect("nothing is left");
    let projected_again = async {
        while dump(&pool).await != expected {
            if matches!(runner.step().await, Step::Waiting | Step::CaughtUp) {
                runner.wait().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, projected_again).await.expect("it is noticed");
}

#[tokio::test]
async fn connections_that_break_lose_nothing() {
    let mut world = World::new().await;
    world.live(0..24).await;
    let pool = tables("broken").await;
    let mut admin = pool.acquire().await.expect("a connection").detach();
    let limits = Limits { batch_events: 3, ..Limits::default() };
    let (mut runner, _changes) = world.runner(PostgresStore::new(pool.clone()), limits);
    for _ in 0..6 {
        for _ in 0..5 {
            runner.step().await;
        }
        let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = \
                   current_database() AND pid <> pg_backend_pid()";
        sqlx::query(end).execute(&mut admin).await.expect("ended");
    }
    world.to_the_end(&mut runner).await;
    assert!(halted(&runner).is_empty());
    let reference = tables("broken_reference").await;
    world.project(&reference, 5_000).await;
    assert_eq!(dump(&pool).await, dump(&reference).await);
}
