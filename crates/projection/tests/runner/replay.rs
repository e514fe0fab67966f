//! What the tables say is the fold of the log: after a replay, after crashes, and for every
//! aggregate and command.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use highwater_projection::runner::{Failure, Key, Limits, Move, PostgresStore, PostgresTx, Store};
use highwater_protocol::{
    domain::{Domain, Durable},
    position::Position,
    wire::{RecordedEvent, Wire},
};
use highwater_tables::{
    dedup_filter::Segment,
    parked,
    runs::{Attempt, Run},
};
use sqlx::{PgPool, Row, postgres::PgListener};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    domain::Said,
    tables::{dump, tables},
    world::{World, halted, pretty_eq},
};

#[tokio::test]
async fn replay_from_zero_gives_identical_tables() {
    let mut world = World::new().await;
    world.live(0..24).await;
    let first = tables("replay_a").await;
    world.project(&first, 5_000).await;
    let expected = dump(&first).await;
    assert!(expected.lines().count() > 100, "{expected}");

    let in_small_steps = tables("replay_b").await;
    world.project(&in_small_steps, 3).await;
    pretty_eq(&dump(&in_small_steps).await, &expected);

    // Over rows that are there already.
    sqlx::query("TRUNCATE checkpoints").execute(&first).await.expect("no checkpoints");
    world.project(&first, 7).await;
    pretty_eq(&dump(&first).await, &expected);
}

#[tokio::test]
async fn any_interleaving_of_partitions_gives_identical_tables() {
    let mut world = World::new().await;
    world.live(0..24).await;
    let together = tables("together").await;
    world.project(&together, 10).await;
    let (forwards, backwards) = (tables("forwards").await, tables("backwards").await);
    world.project_in_turn(&forwards, world.partitions()).await;
    world.project_in_turn(&backwards, world.partitions().into_iter().rev().collect()).await;
    pretty_eq(&dump(&forwards).await, &dump(&together).await);
    pretty_eq(&dump(&backwards).await, &dump(&together).await);
}

#[tokio::test]
async fn projecting_in_two_sittings_gives_the_same_tables() {
    let mut world = World::new().await;
    let pool = tables("sittings").await;
    world.live(0..6).await;
    world.project(&pool, 5_000).await;
    world.live(6..12).await;
    world.project(&pool, 5_000).await;
    let at_once = tables("at_once").await;
    world.project(&at_once, 5_000).await;
    pretty_eq(&dump(&pool).await, &dump(&at_once).await);
}

#[tokio::test]
async fn snapshots_and_outcomes_are_the_fold() {
    let mut world = World::new().await;
    world.live(0..24).await;
    let pool = tables("fold").await;
    world.project(&pool, 10).await;

    let rows = sqlx::query(
        "SELECT category, aggregate_id, partition, version, format, state FROM snapshots",
    )
    .fetch_all(&pool)
    .await
    .expect("rows");
    assert_eq!(rows.len(), world.events.len());
    for row in rows {
        let (category, id): (String, Uuid) = (row.get(0), row.get(1));
        let ((_, _), events) = world
            .events
            .iter()
            .find(|((c, i), _)| *c == category && *i == id)
            .expect("an aggregate of the log");
        assert_eq!(row.get::<i32, _>(2), i32::try_from(World::partition_of(id)).expect("small"));
        assert_eq!(row.get::<i64, _>(3), i64::try_from(events.len()).expect("few"));
        assert_eq!(row.get::<Option<Vec<u8>>, _>(5), Some(serialized(events)));
    }

    let rows = sqlx::query(
        "SELECT command_id, aggregate_id, verdict, version, next_offset, \
                            events, reason FROM outcomes",
    )
    .fetch_all(&pool)
    .await
    .expect("rows");
    assert_eq!(rows.len(), world.outcomes.len());
    for row in rows {
        let found = (
            row.get::<Uuid, _>(1),
            row.get::<String, _>(2),
            row.get::<i64, _>(3),
            row.get::<i64, _>(4),
        );
        let (id, verdict, version, end) = world.outcomes[&row.get::<Uuid, _>(0)];
        assert_eq!(found, (id, verdict.to_owned(), version, end));
        let (events, reason): (Option<serde_json::Value>, Option<serde_json::Value>) =
            (row.get(5), row.get(6));
        assert_eq!(
            (events.is_some(), reason.is_some()),
            (verdict == "accepted", verdict != "accepted")
        );
        if let Some(last) =
            events.as_ref().and_then(|events| events.as_array()).and_then(|events| events.last())
        {
            assert_eq!(last["version"], version);
        }
    }
}

#[tokio::test]
async fn caches_are_told_of_every_change_with_its_commit() {
    let mut world = World::new().await;
    world.live(0..12).await;
    let pool = tables("told").await;
    let mut caches = PgListener::connect_with(&pool).await.expect("a listener");
    caches.listen("highwater_changes").await.expect("listening");
    world.project(&pool, 20).await;
    let mut told: BTreeSet<(String, String)> = BTreeSet::new();
    while let Some(notification) = caches.next_buffered() {
        told.extend(named(notification.payload()));
    }
    let rest = async {
        while told.len() < world.events.len() {
            told.extend(named(caches.recv().await.expect("a notification").payload()));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), rest).await.expect("all are named");
    let expected: BTreeSet<(String, String)> = world
        .events
        .keys()
        .map(|(category, id)| ((*category).to_owned(), id.simple().to_string()[20..].to_owned()))
        .collect();
    assert_eq!(told, expected);
}

/// Category and key of all that a notification names for a projection that has a row for each
/// aggregate.
fn named(payload: &str) -> Vec<(String, String)> {
    let of_rows = |item: &&str| {
        ["vouchers", "holders", "counters"].iter().any(|name| {
            item.split('=').next().is_some_and(|names| names.split(',').any(|n| n == *name))
        })
    };
    let keys = |item: &str| {
        let (topic_partition, keys) = item
            .split_once('=')
            .and_then(|(_, rest)| rest.split_once(':'))
            .expect("a topic-partition and its keys");
        let category = topic_partition.split('/').next().expect("a category").to_owned();
        keys.split('.').map(|key| (category.clone(), key.to_owned())).collect::<Vec<_>>()
    };
    payload.split(' ').filter(of_rows).flat_map(keys).collect()
}

/// Sums do not say which events are in them, so that one that came twice would show.
#[tokio::test]
async fn sums_are_what_was_issued_and_not_withdrawn() {
    let mut world = World::new().await;
    world.live(0..40).await;
    let pool = tables("sums").await;
    world.project(&pool, 7).await;

    // Vouchers and worth by day and kind.
    let mut expected: BTreeMap<(String, String), (i64, i64)> = BTreeMap::new();
    for ((category, _), events) in &world.events {
        let is_withdrawn = events.iter().any(|event| &*event.event_type == "voucher.withdrawn");
        if *category != "voucher" || is_withdrawn {
            continue;
        }
        let issued: serde_json::Value = serde_json::from_slice(&events[0].data).expect("JSON");
        let day = issued["day"].as_str().expect("a day").to_owned();
        let kind = issued["kind"].as_str().unwrap_or("plain").to_owned();
        let (vouchers, worth) = expected.entry((day, kind)).or_default();
        *vouchers += 1;
        *worth += issued["worth"].as_i64().expect("a number");
    }
    let rows = sqlx::query(
        "SELECT day, kind, sum(vouchers)::bigint, sum(worth)::bigint, count(*)
         FROM worth_daily GROUP BY day, kind HAVING sum(vouchers) <> 0",
    );
    let rows = rows.fetch_all(&pool).await.expect("rows");
    assert!(
        rows.iter().any(|row| row.get::<i64, _>(4) > 1),
        "some days have rows of several partitions"
    );
    let found: BTreeMap<(String, String), (i64, i64)> =
        rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect();
    assert_eq!(found, expected);
    // What was taken back leaves nothing.
    let left = "SELECT count(*) FROM (SELECT FROM worth_daily GROUP BY day, kind
                HAVING sum(vouchers) = 0 AND sum(worth) <> 0) AS left_over";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&pool).await.expect("a row"), 0);
}

#[tokio::test]
async fn snapshots_of_an_older_form_are_folded_again() {
    let mut world = World::new().await;
    world.live(0..12).await;
    let pool = tables("older_form").await;
    world.project(&pool, 5_000).await;
    let expected = dump(&pool).await;
    sqlx::query("UPDATE snapshots SET format = 0, state = 'old' WHERE category = 'voucher'")
        .execute(&pool)
        .await
        .expect("an old form");
    world.project(&pool, 5_000).await;
    pretty_eq(&dump(&pool).await, &expected);
}

#[tokio::test]
async fn a_kill_between_apply_and_commit_loses_nothing_and_doubles_nothing() {
    let mut world = World::new().await;
    world.live(0..36).await;
    let reference = tables("kill_reference").await;
    world.project(&reference, 5_000).await;
    let expected = dump(&reference).await;

    for when in [When::BeforeCommit, When::AfterCommit] {
        let pool = tables("kill").await;
        // Three runners in a row die at a commit, the fourth lives.
        for _ in 0..3 {
            let dying = Arc::new(Notify::new());
            let store = Mortal {
                inner: PostgresStore::new(pool.clone()),
                when,
                dying: dying.clone(),
                spared: AtomicU32::new(17),
            };
            let (mut runner, _changes) =
                world.runner(store, Limits { batch_events: 5, ..Limits::default() });
            tokio::select! {
                _ = world.to_the_end(&mut runner) => panic!("it should have died"),
                () = dying.notified() => {}
            }
            drop(runner);
        }
        world.project(&pool, 5).await;
        pretty_eq(&dump(&pool).await, &expected);
    }
}

#[tokio::test]
async fn commits_whose_answer_is_lost_are_neither_lost_nor_doubled() {
    let mut world = World::new().await;
    world.live(0..12).await;
    let reference = tables("lost_reference").await;
    world.project(&reference, 5_000).await;
    for committed in [true, false] {
        let pool = tables("lost").await;
        let store = ForgetfulStore {
            inner: PostgresStore::new(pool.clone()),
            commits: AtomicU32::new(0),
            committed,
        };
        let (mut runner, _changes) =
            world.runner(store, Limits { batch_events: 5, ..Limits::default() });
        let failed = world.to_the_end(&mut runner).await;
        assert!(failed > 0);
        assert!(halted(&runner).is_empty());
        let failing = runner.progress().failing(Duration::ZERO);
        assert!(failing.is_empty(), "what was done after all: {failing:?}");
        pretty_eq(&dump(&pool).await, &dump(&reference).await);
    }
}

fn serialized(events: &[RecordedEvent]) -> Vec<u8> {
    let mut state = None;
    for event in events {
        state = Some(Said.evolve(state.as_ref(), event).expect("an event that can be applied"));
    }
    Said.serialize(&state.expect("at least one event"))
}

#[derive(Clone, Copy)]
enum When {
    BeforeCommit,
    AfterCommit,
}

/// Hangs for ever at its commit after the spared ones, so that the runner can be dropped there.
struct Mortal {
    inner: PostgresStore,
    when: When,
    dying: Arc<Notify>,
    spared: AtomicU32,
}

/// Every fifth commit reports an error: after it happened, or instead of it.
struct ForgetfulStore {
    inner: PostgresStore,
    commits: AtomicU32,
    committed: bool,
}

macro_rules! delegate {
    () => {
        type Tx = PostgresTx;

        fn begin(&self) -> BoxFuture<'_, Result<PostgresTx, Failure>> {
            self.inner.begin()
        }

        fn load<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            keys: &'a [Key],
        ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>> {
            self.inner.load(tx, keys)
        }

        fn lock<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            keys: &'a [Key],
        ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>> {
            self.inner.lock(tx, keys)
        }

        fn reset<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            key: &'a Key,
        ) -> BoxFuture<'a, Result<(), Failure>> {
            self.inner.reset(tx, key)
        }

        fn parked<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            keys: &'a [Key],
        ) -> BoxFuture<'a, Result<Vec<parked::Count>, Failure>> {
            self.inner.parked(tx, keys)
        }

        fn parked_among<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            key: &'a Key,
            aggregates: &'a [Uuid],
        ) -> BoxFuture<'a, Result<BTreeMap<Uuid, bool>, Failure>> {
            self.inner.parked_among(tx, key, aggregates)
        }

        fn park<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            key: &'a Key,
            commit: &'a parked::Commit,
            cause: &'a parked::Cause,
        ) -> BoxFuture<'a, Result<(), Failure>> {
            self.inner.park(tx, key, commit, cause)
        }

        fn wait<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            key: &'a Key,
            commits: &'a [parked::Commit],
        ) -> BoxFuture<'a, Result<(), Failure>> {
            self.inner.wait(tx, key, commits)
        }

        fn runs<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            keys: &'a [Key],
        ) -> BoxFuture<'a, Result<Vec<Option<Run>>, Failure>> {
            self.inner.runs(tx, keys)
        }

        fn begin_runs<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            runner: Uuid,
            begun: &'a [(Key, Option<Attempt>)],
        ) -> BoxFuture<'a, Result<(), Failure>> {
            self.inner.begin_runs(tx, runner, begun)
        }

        fn note<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            runner: Uuid,
            key: &'a Key,
            offsets: &'a Range<u64>,
        ) -> BoxFuture<'a, Result<(), Failure>> {
            self.inner.note(tx, runner, key, offsets)
        }

        fn live_on<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            runner: Uuid,
            key: &'a Key,
        ) -> BoxFuture<'a, Result<(), Failure>> {
            self.inner.live_on(tx, runner, key)
        }

        fn end_runs<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            runner: Uuid,
            keys: &'a [Key],
        ) -> BoxFuture<'a, Result<(), Failure>> {
            self.inner.end_runs(tx, runner, keys)
        }

        fn advance<'a>(
            &'a self,
            tx: &'a mut PostgresTx,
            moves: &'a [Move],
        ) -> BoxFuture<'a, Result<(), Failure>> {
            self.inner.advance(tx, moves)
        }
    };
}

impl Store for Mortal {
    delegate!();

    fn commit<'a>(
        &'a self,
        tx: PostgresTx,
        changed: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let lives = self
                .spared
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |spared| spared.checked_sub(1))
                .is_ok();
            if lives {
                return self.inner.commit(tx, changed).await;
            }
            let _held = match self.when {
                When::BeforeCommit => Some(tx),
                When::AfterCommit => {
                    self.inner.commit(tx, changed).await?;
                    None
                }
            };
            self.dying.notify_one();
            std::future::pending().await
        })
    }
}

impl Store for ForgetfulStore {
    delegate!();

    fn commit<'a>(
        &'a self,
        tx: PostgresTx,
        changed: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            if self.commits.fetch_add(1, Ordering::SeqCst) % 5 != 4 {
                return self.inner.commit(tx, changed).await;
            }
            if self.committed {
                self.inner.commit(tx, changed).await?;
            }
            Err(Failure::Transient("the connection was lost".to_owned()))
        })
    }
}

/// Fewer ids than there are would make an owner do a command twice.
#[tokio::test]
async fn the_filter_holds_every_id_that_it_covers() {
    let mut world = World::new().await;
    let pool = tables("filters").await;
    world.live(0..24).await;
    world.project(&pool, 5_000).await;
    assert!(
        ids_covered(&pool).await > 20,
        "a partition that is new to a projector has its filter written at once"
    );

    // A long history without a filter, as an upgrade finds it: three segments in one go.
    sqlx::query("DELETE FROM seen_filters").execute(&pool).await.expect("no filters");
    sqlx::query(
        "INSERT INTO outcomes (command_id, category, partition, aggregate_id, fingerprint_key, \
         fingerprint, verdict, version, next_offset)
         SELECT gen_random_uuid(), o.category, o.partition, gen_random_uuid(), 1, '\\x00', \
         'accepted', 1, 1
         FROM (SELECT category, partition FROM outcomes LIMIT 1) o, generate_series(1, 30000)",
    )
    .execute(&pool)
    .await
    .expect("a history");
    world.live(24..72).await;
    world.project(&pool, 5_000).await;
    assert!(ids_covered(&pool).await > 60_000);
    let segments: i32 = sqlx::query_scalar("SELECT max(segment) + 1 FROM seen_filters")
        .fetch_one(&pool)
        .await
        .expect("segments");
    assert!(segments >= 3, "{segments} segments");
}

/// Looks for every id of every outcome that a filter says it covers; how many there were.
async fn ids_covered(pool: &PgPool) -> usize {
    let rows = sqlx::query("SELECT category, partition, segment, ids, bits FROM seen_filters")
        .fetch_all(pool)
        .await
        .expect("filters");
    let mut filters: BTreeMap<(String, i32), Vec<Segment>> = BTreeMap::new();
    for row in rows {
        let (number, ids): (i32, i64) = (row.get("segment"), row.get("ids"));
        let (number, ids) =
            (u32::try_from(number).expect("a number"), u64::try_from(ids).expect("a number"));
        let segment = Segment::from_bytes(number, ids, row.get("bits")).expect("a segment");
        filters.entry((row.get("category"), row.get("partition"))).or_default().push(segment);
    }
    let covered = sqlx::query(
        "SELECT o.category, o.partition, o.command_id, o.aggregate_id FROM outcomes o
         JOIN (SELECT category, partition, max(next_offset) AS covers FROM seen_filters GROUP BY \
         1, 2) f USING (category, partition)
         WHERE o.next_offset <= f.covers",
    );
    let covered = covered.fetch_all(pool).await.expect("outcomes");
    for row in &covered {
        let segments = &filters[&(row.get("category"), row.get("partition"))];
        for id in [row.get::<Uuid, _>("command_id"), row.get("aggregate_id")] {
            assert!(segments.iter().any(|segment| segment.may_contain(id)), "{id} is missing");
        }
    }
    covered.len() * 2
}
