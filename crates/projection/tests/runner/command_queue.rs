//! The projection of the command queue: what is accepted has its row, whatever else is
//! projected, and no longer than it must.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use highwater_projection::runner::{Key, Limits, PostgresStore, Step, TopicPartition};
use highwater_protocol::{
    command_queue,
    record::{Header, Record},
};
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::{
    forgetting::Forgetting,
    tables::{dump, tables},
    world::{World, halted},
};

const DAY_MS: i64 = 86_400_000;

/// Actor and offset by command.
async fn rows(pool: &PgPool) -> BTreeMap<Uuid, (Uuid, i64)> {
    let rows = sqlx::query("SELECT command_id, actor, next_offset FROM operations")
        .fetch_all(pool)
        .await
        .expect("rows");
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

async fn checkpoint(pool: &PgPool, topic_partition: &TopicPartition) -> i64 {
    let sql = "SELECT next_offset FROM checkpoints WHERE projection = 'operations' AND category = \
               $1 AND partition = $2";
    let partition = i32::try_from(topic_partition.partition).expect("small");
    sqlx::query_scalar(sql)
        .bind(&*topic_partition.category)
        .bind(partition)
        .fetch_one(pool)
        .await
        .expect("a checkpoint")
}

fn queue_of(id: Uuid) -> TopicPartition {
    TopicPartition::of_commands("voucher", World::partition_of(id))
}

#[tokio::test]
async fn everything_that_is_accepted_has_its_row_decided_or_not() {
    let mut world = World::new().await;
    world.live(0..24).await;
    let undecided = world.accept("voucher", Uuid::from_u128(0xface)).await;
    let pool = tables("accepted").await;
    world.project(&pool, 7).await;
    assert_eq!(rows(&pool).await, world.accepted);
    assert!(world.accepted.len() > 10);

    let row = "SELECT a.aggregate_id, a.category, a.partition, to_char(a.accepted_at AT TIME ZONE \
               'UTC', 'YYYY-MM-DD HH24:MI:SS.MS'),
                      a.deadline - a.accepted_at = interval '1 hour', o.command_id IS NULL
               FROM operations a LEFT JOIN outcomes o USING (command_id) WHERE a.command_id = $1";
    let row = sqlx::query(row).bind(undecided.command).fetch_one(&pool).await.expect("a row");
    assert_eq!((row.get::<Uuid, _>(0), row.get::<&str, _>(1)), (undecided.aggregate, "voucher"));
    assert_eq!(
        row.get::<i32, _>(2),
        i32::try_from(World::partition_of(undecided.aggregate)).expect("small")
    );
    assert_eq!(row.get::<&str, _>(3), "2026-11-22 21:34:24.123");
    assert!(row.get::<bool, _>(4) && row.get::<bool, _>(5), "it expires, and it is not decided");
    // Which callers may ask is known of the others by their outcomes, too.
    let of_both = "SELECT count(*) FROM operations a JOIN outcomes o USING (command_id) WHERE \
                   a.actor = o.actor";
    assert!(sqlx::query_scalar::<_, i64>(of_both).fetch_one(&pool).await.expect("a number") > 5);
}

#[tokio::test]
async fn a_row_goes_after_seven_days_however_the_command_queue_is_read() {
    let mut world = World::new().await;
    let id = Uuid::from_u128(0x2001);
    let mut commands = Vec::new();
    for _ in 0..20 {
        commands.push(world.accept("voucher", id).await);
        // The second one comes again every time: its first record counts for as long as that has
        // its row.
        world.accept_again("voucher", &commands[commands.len().min(2) - 1].clone()).await;
        world.now_ms.fetch_add(DAY_MS, Ordering::Relaxed);
    }
    let mut dumps = BTreeSet::new();
    for batch in [1, 2, 5, 5_000] {
        let pool = tables("seven_days").await;
        world.project(&pool, batch).await;
        let kept: BTreeSet<Uuid> = rows(&pool).await.into_keys().collect();
        // The last one was appended 19 days after the first, so 12 days after is the oldest that is
        // kept.
        let young = commands[12..].iter().map(|command| command.command);
        let known: BTreeSet<Uuid> = young.chain([commands[1].command]).collect();
        assert_eq!(kept, known, "{batch} a batch");
        dumps.insert(dump(&pool).await);
        // Over rows that are there already.
        sqlx::query("TRUNCATE checkpoints").execute(&pool).await.expect("no checkpoints");
        world.project(&pool, 3).await;
        dumps.insert(dump(&pool).await);
    }
    assert_eq!(dumps.len(), 1, "the same tables, however they came about");
}

#[tokio::test]
async fn what_cannot_be_read_is_passed_and_what_is_newer_pauses_its_partition_alone() {
    let mut world = World::new().await;
    world.live(0..6).await;
    let id = Uuid::from_u128(0xbad);
    let index = World::partition_of(id);
    // No command id can be read: no caller can ask for it.
    world.append_to_queue("voucher", index, Record::default()).await;
    // It can here, and the deadline cannot.
    let good = world.accept("voucher", id).await;
    let mut record = command_queue::encode(&command_queue::AcceptedCommand {
        command: Uuid::from_u128(0xbad1),
        ..good
    });
    record.headers.retain(|header| header.name != "hw-deadline");
    world.append_to_queue("voucher", index, record).await;
    let pool = tables("unread").await;
    world.project(&pool, 5_000).await;
    let without =
        "SELECT count(*) FROM operations WHERE command_id = $1 AND deadline IS NULL AND actor = $2";
    let without = sqlx::query_scalar::<_, i64>(without)
        .bind(Uuid::from_u128(0xbad1))
        .bind(Uuid::from_u128(0xac));
    assert_eq!(without.fetch_one(&pool).await.expect("a number"), 1);
    let before = rows(&pool).await.len();

    let newer = Record { headers: vec![Header::new("hw-kind", "invention")], ..Record::default() };
    world.append_to_queue("voucher", index, newer).await;
    world.accept("voucher", id).await;
    let (mut runner, _changes) = world.runner(PostgresStore::new(pool.clone()), Limits::default());
    world.to_the_end(&mut runner).await;
    assert_eq!(
        halted(&runner),
        BTreeSet::from([Key { projection: "operations", topic_partition: queue_of(id) }])
    );
    assert_eq!(rows(&pool).await.len(), before, "nothing behind it is passed");
}

#[tokio::test]
async fn what_the_log_has_forgotten_is_gone_on_over() {
    let mut world = World::new().await;
    let id = Uuid::from_u128(0x2001);
    let first = world.accept("voucher", id).await;
    let pool = tables("forgotten").await;
    world.project(&pool, 5_000).await;
    let missed = world.accept("voucher", id).await;
    let third = world.accept("voucher", id).await;

    // Meanwhile the log has dropped the first two.
    let log = Arc::new(Forgetting {
        inner: world.log.clone(),
        topic: "test.voucher.commands".into(),
        begin: 2,
    });
    let (mut runner, _changes) = world.runner_on(
        log,
        world.partitions(),
        PostgresStore::new(pool.clone()),
        Limits::default(),
    );
    world.to_the_end(&mut runner).await;
    assert!(halted(&runner).is_empty(), "{:?}", halted(&runner));
    assert_eq!(checkpoint(&pool, &queue_of(id)).await, 3);
    let known: BTreeSet<Uuid> = rows(&pool).await.into_keys().collect();
    assert_eq!(known, BTreeSet::from([first.command, third.command]));
    assert!(!known.contains(&missed.command));
}

#[tokio::test]
async fn another_command_queue_behind_the_same_checkpoint_halts() {
    let mut world = World::new().await;
    let id = Uuid::from_u128(0x2001);
    for _ in 0..3 {
        world.accept("voucher", id).await;
    }
    let pool = tables("another_command_queue").await;
    world.project(&pool, 5_000).await;
    let before = rows(&pool).await;
    // Longer, and shorter.
    for length in [5, 1] {
        let mut other = World::of_history(1).await;
        for _ in 0..length {
            other.accept("voucher", id).await;
        }
        let (mut runner, _changes) =
            other.runner(PostgresStore::new(pool.clone()), Limits::default());
        while !halted(&runner)
            .contains(&Key { projection: "operations", topic_partition: queue_of(id) })
        {
            assert_ne!(
                runner.step().await,
                Step::CaughtUp,
                "it went on with another command queue"
            );
        }
        assert_eq!(rows(&pool).await, before);
    }
}
