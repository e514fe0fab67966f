//! The projectors as a whole: started on a log and a database, until they are told to stop.

use std::time::Duration;

use highwater_log::{Log, Reply, Ticket, check_values};
use highwater_protocol::record::Record;
use highwater_runtime::{
    config::Config,
    context::Context,
    process::{Exit, Exits},
};
use highwater_tables::{identity::database_identity, migrations::migrate};
use serde_json::json;
use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    postgres,
    tables::{application, dump, projections, tables},
    world::{PARTITIONS, World, event},
};

const PATIENCE: Duration = Duration::from_secs(120);

fn context() -> Context {
    let environment = vec![
        ("HIGHWATER__LOG__PREFIX".to_owned(), "test".to_owned()),
        ("HIGHWATER__LOG__PARTITIONS".to_owned(), PARTITIONS.to_string()),
    ];
    Context {
        config: Config::load_with(None, Some(environment), Vec::new()).expect("settings"),
        ..Context::for_tests()
    }
}

/// Which database owners load from.
async fn say(log: &dyn Log, database: &str) {
    log.prepare(vec![check_values::topic("test")]).await.expect("a topic");
    let record = Record {
        key: Some(check_values::DATABASE.into()),
        value: Some(database.into()),
        headers: Vec::new(),
    };
    let (to, mut reports) = mpsc::unbounded_channel();
    let reply = Reply { ticket: Ticket { writer: Uuid::nil(), seq: None }, to };
    log.append(&check_values::partition("test"), record, reply).expect("accepted");
    reports.recv().await.expect("a report").result.expect("appended");
}

async fn until_equal(pool: &PgPool, expected: &str) {
    let mut commits = PgListener::connect_with(pool).await.expect("a listener");
    commits.listen("highwater_checkpoints").await.expect("listening");
    let equal = async {
        while dump(pool).await != expected {
            commits.recv().await.expect("a commit");
        }
    };
    tokio::time::timeout(PATIENCE, equal).await.expect("projected in time");
}

#[tokio::test]
async fn what_is_appended_is_projected_until_the_drain_and_then_by_the_next_one() {
    let mut world = World::new().await;
    let pool = PgPool::connect_with(postgres::database("start").await).await.expect("a connection");
    let reference = tables("start_reference").await;

    let first = context();
    let refused =
        highwater_projection::start(&first, world.log.clone(), pool.clone(), &projections())
            .await
            .expect_err("no tables");
    assert!(refused.to_string().contains("run the application's `migrate`"), "{refused}");
    migrate(&pool, Some(&application())).await.expect("the tables");
    let _operators =
        highwater_projection::start(&first, world.log.clone(), pool.clone(), &projections())
            .await
            .expect("it starts");
    assert!(first.health.report().await.ready());
    world.live(0..6).await;
    world.project(&reference, 5_000).await;
    until_equal(&pool, &dump(&reference).await).await;

    // A second one waits in the group until the first one leaves.
    let second = context();
    let _operators =
        highwater_projection::start(&second, world.log.clone(), pool.clone(), &projections())
            .await
            .expect("it starts");
    assert!(
        tokio::time::timeout(PATIENCE, first.shutdown.drain()).await.expect("it drains in time")
    );
    world.live(6..9).await;
    world.project(&reference, 5_000).await;
    until_equal(&pool, &dump(&reference).await).await;
    assert!(second.shutdown.drain().await);
}

#[tokio::test]
async fn a_database_that_the_owners_do_not_load_from_is_refused() {
    let world = World::new().await;
    let pool = tables("second").await;
    let identity = database_identity(&pool).await.expect("an identity");
    say(&*world.log, "6d1c2c2e-0000-4000-8000-000000000001").await;
    // The first one has the say.
    say(&*world.log, &identity.to_string()).await;
    let refused =
        highwater_projection::start(&context(), world.log.clone(), pool.clone(), &projections())
            .await
            .expect_err("another database");
    for said in ["6d1c2c2e-0000-4000-8000-000000000001", &identity.to_string(), "migrate --replace"]
    {
        assert!(refused.to_string().contains(said), "{refused}");
    }
    assert_eq!(refused.exit(), Exit::Failed);
    let taken: i64 = sqlx::query_scalar("SELECT count(*) FROM checkpoints")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(taken, 0);
    sqlx::query("UPDATE database_identity SET id = '6d1c2c2e-0000-4000-8000-000000000001'")
        .execute(&pool)
        .await
        .expect("replaced");
    let ctx = context();
    let _operators = highwater_projection::start(&ctx, world.log.clone(), pool, &projections())
        .await
        .expect("it starts");
    assert!(ctx.shutdown.drain().await);
}

#[tokio::test]
async fn a_halted_projection_shows_as_degraded() {
    let mut world = World::new().await;
    let pool = tables("degraded").await;
    world
        .commit("voucher", Uuid::from_u128(1), vec![event("voucher.issued", 9, json!({}))], 1)
        .await;
    let ctx = context();
    let _operators =
        highwater_projection::start(&ctx, world.log.clone(), pool.clone(), &projections())
            .await
            .expect("it starts");
    let (ready, halted) = degraded(&ctx, "projectors.halted").await;
    assert!(ready && halted.contains("vouchers on voucher/"), "{halted}");
    assert!(ctx.shutdown.drain().await);
}

#[tokio::test]
async fn what_is_parked_shows_as_degraded() {
    let mut world = World::new().await;
    let pool = tables("degraded_parked").await;
    // No code applies it.
    let issued = event("voucher.issued", 1, json!({"face_minor": "much"}));
    world.commit("voucher", Uuid::from_u128(1), vec![issued], 1).await;
    let ctx = context();
    let _operators =
        highwater_projection::start(&ctx, world.log.clone(), pool.clone(), &projections())
            .await
            .expect("it starts");
    let (ready, parked) = degraded(&ctx, "projectors.parked").await;
    assert!(ready && parked.contains("1 of vouchers on voucher/"), "{parked}");
    assert!(ctx.shutdown.drain().await);
}

/// Whether the process is ready, and what the check says as soon as it fails.
async fn degraded(ctx: &Context, check: &str) -> (bool, String) {
    let degraded = async {
        loop {
            let report = ctx.health.report().await;
            if let Some(why) = report.degraded.get(check) {
                return (report.ready(), why.clone());
            }
            // Results of checks are kept for a second.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, degraded).await.expect("it shows")
}
