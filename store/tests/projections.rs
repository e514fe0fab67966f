//! The tables of the store's own projections are the fold of the log, however it is read; and what
//! they cannot read halts them, and none beside them.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "projections/lives.rs"]
mod lives;
#[path = "../../crates/tables/tests/support/postgres.rs"]
mod postgres;
#[path = "../../crates/projection/tests/support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use highwater::Rules;
use highwater::projection::runner::{Key, Limits, PostgresStore, TopicPartition};
use highwater::protocol::{domain::Durable, wire::RecordedEvent};
use highwater::tables::migrations::migrate;
use serde_json::json;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use highwater as library;
use lives::placed;
use world::{World, event, halted, pretty_eq};

async fn tables(test: &str) -> PgPool {
    let pool = PgPool::connect_with(postgres::database(test).await).await.expect("a connection");
    migrate(&pool, Some(&store::app().tables())).await.expect("the tables");
    pool
}

async fn dump(pool: &PgPool) -> String {
    world::dump(pool, &["orders", "catalog", "sales_daily", "stock_levels"]).await
}

#[tokio::test]
async fn however_the_log_is_read_the_tables_are_identical() {
    let mut world = World::new().await;
    let in_sittings = tables("sittings").await;
    world.live(0..12).await;
    world.project(&in_sittings, 5_000).await;
    world.live(12..24).await;
    world.project(&in_sittings, 5_000).await;
    let first = tables("at_once").await;
    world.project(&first, 5_000).await;
    let expected = dump(&first).await;
    assert!(expected.lines().count() > 100, "{expected}");
    pretty_eq(&dump(&in_sittings).await, &expected);

    let in_small_steps = tables("small_steps").await;
    world.project(&in_small_steps, 3).await;
    pretty_eq(&dump(&in_small_steps).await, &expected);

    let (forwards, backwards) = (tables("forwards").await, tables("backwards").await);
    world.project_in_turn(&forwards, world.partitions()).await;
    world.project_in_turn(&backwards, world.partitions().into_iter().rev().collect()).await;
    pretty_eq(&dump(&forwards).await, &expected);
    pretty_eq(&dump(&backwards).await, &expected);

    // Over rows that are there already.
    sqlx::query("TRUNCATE checkpoints").execute(&first).await.expect("no checkpoints");
    world.project(&first, 7).await;
    pretty_eq(&dump(&first).await, &expected);
}

#[tokio::test]
async fn states_are_the_fold_of_the_rules() {
    let mut world = World::new().await;
    world.live(0..24).await;
    let pool = tables("states").await;
    world.project(&pool, 10).await;
    let rows = sqlx::query("SELECT category, aggregate_id, version, state FROM snapshots");
    let rows = rows.fetch_all(&pool).await.expect("rows");
    assert_eq!(rows.len(), world.events.len());
    for row in rows {
        let (category, id): (String, Uuid) = (row.get(0), row.get(1));
        let ((_, _), events) = world
            .events
            .iter()
            .find(|((c, i), _)| *c == category && *i == id)
            .expect("an aggregate of the log");
        let folded = match category.as_str() {
            "order" => serialized(&Rules::<store::Order>::new(), events),
            "stock" => serialized(&Rules::<store::Stock>::new(), events),
            _ => serialized(&Rules::<store::Product>::new(), events),
        };
        assert_eq!(row.get::<i64, _>(2), i64::try_from(events.len()).expect("few"));
        assert_eq!(row.get::<Option<Vec<u8>>, _>(3), Some(folded));
    }
}

fn serialized<D: Durable>(domain: &D, events: &[RecordedEvent]) -> Vec<u8> {
    let mut state = None;
    for event in events {
        state = Some(domain.evolve(state.as_ref(), event).expect("an event that can be applied"));
    }
    domain.serialize(&state.expect("at least one event"))
}

/// What says nothing that can be understood, and what a newer release says.
#[tokio::test]
async fn what_orders_and_sales_cannot_read_halts_them_and_the_newer_also_snapshots() {
    for (version, body, halts, unreadable) in [
        (2, json!({"nonsense": true}), vec!["orders", "sales_daily"], 1_i64),
        (9, json!({}), vec!["orders", "sales_daily", "snapshots"], 0),
    ] {
        let mut world = World::new().await;
        let id = Uuid::from_u128(0xfeed);
        world.commit("order", id, vec![placed(1)], 1).await;
        world.commit("order", id, vec![event("order.placed", version, body)], 1).await;
        world.live(0..8).await;
        let pool = tables("halts").await;
        let (mut runner, _changes) =
            world.runner(PostgresStore::new(pool.clone()), Limits::default());
        world.to_the_end(&mut runner).await;
        let topic_partition = TopicPartition::of_events("order", World::partition_of(id));
        let expected: BTreeSet<Key> = halts
            .into_iter()
            .map(|projection| Key { projection, topic_partition: topic_partition.clone() })
            .collect();
        assert_eq!(halted(&runner), expected);
        for (sql, rows) in [
            ("SELECT count(*) FROM snapshots WHERE unreadable IS NOT NULL", unreadable),
            ("SELECT version FROM orders WHERE id = '00000000-0000-0000-0000-00000000feed'", 1),
            ("SELECT count(*) FROM catalog", 8),
            ("SELECT count(*) FROM stock_levels", 8),
        ] {
            let found: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.expect("a number");
            assert_eq!(found, rows, "{sql}");
        }
    }
}

#[tokio::test]
async fn sales_are_what_was_placed_and_not_cancelled() {
    let mut world = World::new().await;
    world.live(0..40).await;
    let pool = tables("sales").await;
    world.project(&pool, 7).await;

    // Day and department ('' for the day as a whole) with orders, lines, units and total.
    let mut expected: BTreeMap<(String, String), [i64; 4]> = BTreeMap::new();
    for ((category, _), events) in &world.events {
        let is_cancelled = events.iter().any(|event| &*event.event_type == "order.cancelled");
        if *category != "order" || is_cancelled {
            continue;
        }
        let placed: serde_json::Value = serde_json::from_slice(&events[0].data).expect("JSON");
        let day = placed["placed_at"].as_str().expect("a time")[..10].to_owned();
        let mut seen = BTreeSet::new();
        for line in placed["lines"].as_array().expect("lines") {
            let department = line["department"].as_str().expect("a name").to_owned();
            let units = line["quantity"].as_i64().expect("a number");
            for (row, is_new) in [
                (department.clone(), seen.insert(department)),
                (String::new(), seen.insert(String::new())),
            ] {
                let sum = expected.entry((day.clone(), row)).or_default();
                let added = [
                    i64::from(is_new),
                    1,
                    units,
                    units * line["unit_price_minor"].as_i64().expect("a number"),
                ];
                sum.iter_mut().zip(added).for_each(|(sum, added)| *sum += added);
            }
        }
    }
    let rows = sqlx::query(
        "SELECT CASE WHEN day < '0001-01-01' THEN '0000' || to_char(day, '-MM-DD') ELSE \
         to_char(day, 'YYYY-MM-DD') END, department,
                sum(orders)::bigint, sum(lines)::bigint, sum(units)::bigint, \
                sum(total_minor)::bigint, count(*)
         FROM sales_daily GROUP BY day, department HAVING sum(orders) <> 0",
    );
    let rows = rows.fetch_all(&pool).await.expect("rows");
    assert!(
        rows.iter().any(|row| row.get::<i64, _>(6) > 1),
        "some days have rows of several partitions"
    );
    let found: BTreeMap<(String, String), [i64; 4]> = rows
        .iter()
        .map(|row| ((row.get(0), row.get(1)), [row.get(2), row.get(3), row.get(4), row.get(5)]))
        .collect();
    assert_eq!(found, expected);
    // What was taken back leaves nothing.
    let left = "SELECT count(*) FROM (SELECT FROM sales_daily GROUP BY day, department
                HAVING sum(orders) = 0 AND (sum(lines), sum(units), sum(total_minor)) <> (0, 0, \
                0)) AS left_over";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&pool).await.expect("a row"), 0);
}
