//! Tables are made anew beside the live ones while projectors go on, and take their place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use highwater_log::{LocalLog, MembershipEvent, RawReader};
use highwater_projection::{
    rebuild::{Error, Limits, Rebuild, repair::Repaired},
    runner::{self, PostgresStore, PostgresTx, Progress, Projection, Runner},
};
use highwater_runtime::clock::Clock;
use highwater_tables::generations::{self, Beside, Generations};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgConnectOptions};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    tables::{dump, projections, tables, tables_with},
    world::{World, event, pretty_eq},
};

const ALL: [&str; 4] = ["vouchers", "worth_daily", "holders", "counters"];
const PATIENCE: Duration = Duration::from_secs(120);

struct LogTime(Arc<AtomicI64>);

impl Clock for LogTime {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed) * 1_000
    }
}

fn projection(name: &str) -> Arc<dyn Projection<PostgresTx>> {
    let found = projections().all().into_iter().find(|projection| projection.name() == name);
    found.expect("its projection")
}

struct Shop {
    world: World,
    options: PgConnectOptions,
    pool: PgPool,
}

impl Shop {
    async fn new(test: &str) -> Self {
        let mut world = World::new().await;
        world.live(0..24).await;
        let options = crate::postgres::database(test).await;
        let pool = tables_with(options.clone()).await;
        Self { world, options, pool }
    }

    /// As a program of its own has it, with connections of its own.
    async fn rebuild(&self, name: &str, limits: Limits) -> Rebuild {
        let log: Arc<LocalLog> = self.world.log.clone();
        let log: Arc<dyn RawReader> = log;
        let pool = PgPool::connect_with(self.options.clone()).await.expect("connections");
        let clock = Arc::new(LogTime(self.world.now_ms.clone()));
        let rebuild = Rebuild::new(log, "test", projection(name), pool, clock, limits);
        rebuild.expect("it can be made anew")
    }

    fn runner(&self) -> (Runner<PostgresStore>, UnboundedSender<MembershipEvent>) {
        let limits =
            runner::Limits { verify_every: Duration::from_millis(50), ..runner::Limits::default() };
        self.world.runner(PostgresStore::new(self.pool.clone()), limits)
    }

    /// Until a runner that runs has everything.
    async fn projected(&self, progress: &Progress) {
        let projected = async {
            while !self.world.is_projected(progress).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, projected).await.expect("projected in time");
    }

    /// The tables of the log as it is, from zero.
    async fn expected(&self, test: &str) -> String {
        let reference = tables(test).await;
        self.world.project(&reference, 5_000).await;
        dump(&reference).await
    }

    async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&self.pool).await.expect("a statement");
    }
}

fn small() -> Limits {
    Limits { batch_events: 3, ..Limits::default() }
}

/// What was changed by hand in a live table, so that it shows which one is live.
const WRONG: [(&str, &str, u64); 4] = [
    ("vouchers", "UPDATE vouchers SET kind = 'wrong' WHERE worth = 300", 12),
    ("worth_daily", "DELETE FROM worth_daily WHERE kind = 'plain' AND partition = 1", 0),
    ("holders", "UPDATE holders SET has_left = NOT has_left", 24),
    ("counters", "DELETE FROM counters", 24),
];

#[tokio::test]
async fn a_generation_made_anew_is_compared_and_takes_the_place_of_the_live_one() {
    let mut shop = Shop::new("rebuild").await;
    let (mut live, _changes) = shop.runner();
    shop.world.to_the_end(&mut live).await;
    for (name, change, differ) in WRONG {
        shop.execute(change).await;
        let rebuild = shop.rebuild(name, small()).await;
        rebuild.fill().await.expect("it is filled");
        let compared = rebuild.compare(3).await.expect("compared");
        if differ > 0 {
            assert_eq!((compared.differ, compared.rows.len()), (differ, 3), "{name}");
        }
        assert!(compared.differ > 0, "{name}");
        assert_eq!(rebuild.switch(Beside::Next).await.expect("switched"), 2, "{name}");
        let again = rebuild.compare(3).await.expect("the one before is compared");
        assert_eq!(again.differ, compared.differ, "{name}");
    }
    // The runner of before goes on with the tables that are live now.
    shop.world.live(24..30).await;
    shop.world.to_the_end(&mut live).await;
    for name in ALL {
        let rebuild = shop.rebuild(name, small()).await;
        assert!(rebuild.drop().await.expect("dropped"));
        let after = rebuild.generations().await.expect("generations");
        assert_eq!(after, Generations { live: 2, beside: None });
    }
    pretty_eq(&dump(&shop.pool).await, &shop.expected("rebuild_expected").await);
}

#[tokio::test]
async fn what_differs_is_named_with_the_event_since_which_it_does() {
    let shop = Shop::new("rebuild_why").await;
    shop.world.project(&shop.pool, 5_000).await;
    let id = Uuid::from_u128(0x2001);
    shop.execute(
        "UPDATE vouchers SET holder = NULL WHERE id = '00000000-0000-0000-0000-000000002001'",
    )
    .await;
    let rebuild = shop.rebuild("vouchers", small()).await;
    rebuild.fill().await.expect("it is filled");
    let compared = rebuild.compare(20).await.expect("compared");
    assert_eq!((compared.live, compared.beside, compared.differ), (24, 24, 1));
    let row = &compared.rows[0];
    assert_eq!((row.table.as_str(), row.id), ("vouchers", Some(id)));
    let columns = row.columns.as_ref().expect("both have it");
    let [column] = columns.as_slice() else { panic!("{columns:?}") };
    assert_eq!((column.name.as_str(), &column.live), ("holder", &json!(null)));
    let since = row.since.as_ref().expect("an event");
    // Given away and redeemed in one commit.
    assert_eq!((since.event.as_str(), since.version), ("voucher.redeemed.v1", 3));
}

/// Numbers that look random: xorshift.
fn numbers() -> impl FnMut() -> u64 {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_time_it_neither_repeats_nor_skips_while_projectors_go_on() {
    let mut shop = Shop::new("rebuild_killed").await;
    let ((live, _changes), stop) = (shop.runner(), CancellationToken::new());
    let progress = live.progress();
    let running = tokio::spawn(live.run(stop.clone()));
    shop.projected(&progress).await;
    // So slow that it is killed on its way.
    let one = Limits { batch_events: 1, events_per_second: Some(300), ..Limits::default() };
    let (mut random, mut next) = (numbers(), 24);
    // Sums show what is applied twice, rows what is skipped.
    for name in ["worth_daily", "vouchers"] {
        let mut killed = 0;
        loop {
            let rebuild = shop.rebuild(name, one.clone()).await;
            let progress_of_it = rebuild.progress();
            let (few, micros) = (random() % 4, random() % 3_000);
            let enough = async {
                while progress_of_it.events.load(Ordering::Relaxed) < few {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(Duration::from_micros(micros)).await;
            };
            let filled = tokio::select! {
                filled = rebuild.fill() => Some(filled),
                () = enough => None,
            };
            match filled {
                None => killed += 1,
                Some(filled) => {
                    filled.expect("it is filled");
                    if killed >= 20 {
                        break;
                    }
                    shop.world.live(next..next + 8).await;
                    next += 8;
                    shop.projected(&progress).await;
                }
            }
            if killed < 20 {
                shop.world.live(next..next + 1).await;
                next += 1;
            }
        }
        let rebuild = shop.rebuild(name, small()).await;
        let switching = tokio::time::timeout(PATIENCE, rebuild.switch(Beside::Next));
        assert_eq!(switching.await.expect("in time").expect("switched"), 2);
        let compared = rebuild.compare(5).await.expect("compared");
        assert_eq!((compared.differ, &compared.rows), (0, &Vec::new()), "{name}");
        rebuild.drop().await.expect("dropped");
    }
    shop.projected(&progress).await;
    assert_eq!(progress.all_halted().len(), 0);
    stop.cancel();
    running.await.expect("it ends");
    pretty_eq(&dump(&shop.pool).await, &shop.expected("rebuild_killed_expected").await);
}

#[tokio::test]
async fn it_waits_while_the_live_projection_is_behind_and_goes_no_faster_than_it_may() {
    const RATE: u64 = 200;
    let mut shop = Shop::new("rebuild_pace").await;
    let (mut live, _changes) = shop.runner();
    shop.world.to_the_end(&mut live).await;
    shop.world.live(24..26).await;
    // What lies in the log is ten seconds old.
    shop.world.now_ms.fetch_add(10_000, Ordering::Relaxed);
    let limits = Limits { events_per_second: Some(RATE), ..small() };
    let rebuild = shop.rebuild("vouchers", limits).await;
    let progress = rebuild.progress();
    let (filling, catching_up) = (rebuild.fill(), async {
        while !progress.waits.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(progress.events.load(Ordering::Relaxed), 0);
        shop.world.to_the_end(&mut live).await;
        tokio::time::Instant::now()
    });
    let both = tokio::time::timeout(PATIENCE, async { tokio::join!(filling, catching_up) });
    let (filled, since) = both.await.expect("in time");
    filled.expect("it is filled");
    let events = progress.events.load(Ordering::Relaxed);
    assert!(events > 60 && !progress.waits.load(Ordering::Relaxed), "{events}");
    let least = Duration::from_micros(events * 1_000_000 / RATE);
    assert!(since.elapsed() >= least, "{events} events in {:?}", since.elapsed());
}

#[tokio::test]
async fn what_was_live_before_is_fed_and_put_back() {
    let mut shop = Shop::new("rebuild_back").await;
    let (mut live, _changes) = shop.runner();
    shop.world.to_the_end(&mut live).await;
    let rebuild = shop.rebuild("vouchers", small()).await;
    rebuild.fill().await.expect("it is filled");
    rebuild.switch(Beside::Next).await.expect("switched");
    let refused = rebuild.fill().await.expect_err("the one before is there");
    assert!(matches!(refused, Error::PreviousThere("vouchers")), "{refused}");
    shop.world.live(24..30).await;
    shop.world.to_the_end(&mut live).await;
    // What is wrong with the new one does not matter to the old one.
    shop.execute("UPDATE vouchers SET kind = 'wrong'").await;
    assert_eq!(rebuild.switch(Beside::Previous).await.expect("put back"), 3);
    let after = rebuild.generations().await.expect("generations");
    assert_eq!(after, Generations { live: 3, beside: Some(Beside::Next) });
    shop.world.live(30..33).await;
    shop.world.to_the_end(&mut live).await;
    let refused = rebuild.switch(Beside::Previous).await.expect_err("it is live");
    assert!(matches!(refused, Error::Generations(generations::Error::None(_))), "{refused}");
    rebuild.drop().await.expect("dropped");
    pretty_eq(&dump(&shop.pool).await, &shop.expected("rebuild_back_expected").await);
}

#[tokio::test]
async fn tables_made_anew_have_indexes_checks_and_rights_of_the_live_ones() {
    let shop = Shop::new("rebuild_form").await;
    shop.execute(
        "CREATE INDEX vouchers_by_kind ON vouchers (kind COLLATE \"C\", id) WHERE worth > 0;
         CREATE UNIQUE INDEX vouchers_once ON vouchers (lower(kind), id);
         ALTER TABLE vouchers ADD CONSTRAINT vouchers_worth UNIQUE (worth, id);
         ALTER TABLE vouchers SET (fillfactor = 70)",
    )
    .await;
    shop.world.project(&shop.pool, 5_000).await;
    let form = "SELECT jsonb_build_array(c.relacl::text, c.reloptions,
             (SELECT jsonb_agg(pg_get_indexdef(i.indexrelid) ORDER BY i.indexrelid::regclass::text)
              FROM pg_index i WHERE i.indrelid = c.oid),
             (SELECT jsonb_agg(concat(k.conname, pg_get_constraintdef(k.oid)) ORDER BY k.conname)
              FROM pg_constraint k WHERE k.conrelid = c.oid),
             (SELECT jsonb_agg(concat(a.attname, a.attnotnull, a.atttypid) ORDER BY a.attname)
              FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0))::text
         FROM pg_class c WHERE c.oid = 'public.vouchers'::regclass";
    let form = async || -> String {
        sqlx::query_scalar(form).fetch_one(&shop.pool).await.expect("its form")
    };
    let before = form().await;
    assert!(before.contains("vouchers_once") && before.contains("highwater_reader"), "{before}");
    let rebuild = shop.rebuild("vouchers", small()).await;
    rebuild.fill().await.expect("it is filled");
    rebuild.switch(Beside::Next).await.expect("switched");
    assert_eq!(form().await, before);
    rebuild.drop().await.expect("dropped");
    assert_eq!(form().await, before);
}

#[tokio::test]
async fn what_cannot_be_made_anew_is_refused_with_the_reason() {
    let shop = Shop::new("rebuild_refused").await;
    shop.world.project(&shop.pool, 5_000).await;
    for name in ["snapshots", "operations"] {
        let log: Arc<LocalLog> = shop.world.log.clone();
        let clock = Arc::new(LogTime(shop.world.now_ms.clone()));
        let pool = shop.pool.clone();
        let refused = Rebuild::new(log, "test", projection(name), pool, clock, small()).err();
        assert!(matches!(refused, Some(Error::Refused(..))), "{name}");
    }
    for (make, unmake, says) in [
        ("CREATE VIEW v AS SELECT id FROM vouchers", "DROP VIEW v", "a view"),
        ("CREATE TABLE t (id uuid REFERENCES vouchers)", "DROP TABLE t", "a foreign key"),
        (
            "CREATE TRIGGER t BEFORE UPDATE ON vouchers FOR EACH ROW EXECUTE FUNCTION \
             suppress_redundant_updates_trigger()",
            "DROP TRIGGER t ON vouchers",
            "a trigger",
        ),
        (
            "ALTER TABLE vouchers ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE vouchers DISABLE ROW LEVEL SECURITY",
            "row level security",
        ),
    ] {
        shop.execute(make).await;
        let refused = shop.rebuild("vouchers", small()).await.fill().await.err();
        let why = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(why.contains(says), "{why}");
        shop.execute(unmake).await;
    }
    let rebuild = shop.rebuild("vouchers", small()).await;
    let held = rebuild.hold().await.expect("held");
    let other = shop.rebuild("vouchers", small()).await.hold().await.err();
    assert!(matches!(other, Some(Error::Held("vouchers"))));
    drop(held);

    // Changed meanwhile: what lies beside would lack the column.
    rebuild.fill().await.expect("it is filled");
    shop.execute("ALTER TABLE vouchers ADD COLUMN more text").await;
    let refused = rebuild.switch(Beside::Next).await.expect_err("another form");
    assert!(
        matches!(&refused, Error::Generations(generations::Error::Changed(table)) if table == "vouchers"),
        "{refused}"
    );
}

/// Writes a table that it does not name.
struct Silent(Arc<dyn Projection<PostgresTx>>);

impl Projection<PostgresTx> for Silent {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn categories(&self) -> &[&'static str] {
        self.0.categories()
    }

    fn tables(&self) -> Vec<&'static str> {
        vec!["counters"]
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        slices: &'a [runner::Slice<'a>],
    ) -> futures_util::future::BoxFuture<'a, Result<(), runner::Failure>> {
        self.0.apply(tx, slices)
    }
}

#[tokio::test]
async fn a_table_that_the_projection_does_not_name_is_not_written() {
    let shop = Shop::new("rebuild_unnamed").await;
    shop.world.project(&shop.pool, 5_000).await;
    shop.execute("UPDATE vouchers SET version = 1, kind = 'kept'").await;
    let before = dump(&shop.pool).await;
    let log: Arc<LocalLog> = shop.world.log.clone();
    let pool = PgPool::connect_with(shop.options.clone()).await.expect("connections");
    let clock = Arc::new(LogTime(shop.world.now_ms.clone()));
    let silent = Arc::new(Silent(projection("vouchers")));
    let rebuild = Rebuild::new(log, "test", silent, pool, clock, small()).expect("it begins");
    let refused = rebuild.fill().await.expect_err("refused");
    assert!(matches!(&refused, Error::Unnamed { table, .. } if table == "vouchers"), "{refused}");
    rebuild.drop().await.expect("dropped");
    pretty_eq(&dump(&shop.pool).await, &before);
}

#[tokio::test]
async fn an_aggregate_and_a_partition_are_mended_where_they_are() {
    let mut shop = Shop::new("rebuild_repair").await;
    let (mut live, _changes) = shop.runner();
    shop.world.to_the_end(&mut live).await;
    let id = Uuid::from_u128(0x2001);
    let vouchers = shop.rebuild("vouchers", small()).await;
    assert_eq!(vouchers.repair_aggregate(id).await.expect("read"), Repaired::Unchanged);
    shop.execute("UPDATE vouchers SET kind = 'wrong'").await;
    assert_eq!(vouchers.repair_aggregate(id).await.expect("mended"), Repaired::Rows(1));
    assert_eq!(vouchers.generations().await.expect("generations").live, 2);
    let right = "SELECT count(*) FROM vouchers WHERE kind <> 'wrong'";
    let right: i64 = sqlx::query_scalar(right).fetch_one(&shop.pool).await.expect("a count");
    assert_eq!(right, 1);
    let mut mended = 1;
    for partition in 0..crate::world::PARTITIONS {
        match vouchers.repair_partition(partition).await.expect("mended") {
            Repaired::Rows(rows) => mended += rows,
            Repaired::Unchanged => {}
        }
    }
    assert_eq!(mended, 24);
    // Another number for every change, and for nothing else.
    let after = vouchers.generations().await.expect("generations");
    assert!(after.live > 2 && after.live <= 6 && after.beside.is_none(), "{after:?}");

    let sums = shop.rebuild("worth_daily", small()).await;
    shop.execute("UPDATE worth_daily SET worth = 0; DELETE FROM worth_daily WHERE vouchers = 1")
        .await;
    let refused = sums.repair_aggregate(id).await.expect_err("no rows of aggregates");
    assert!(matches!(refused, Error::Repair(_)), "{refused}");
    for partition in 0..crate::world::PARTITIONS {
        sums.repair_partition(partition).await.expect("mended");
    }
    shop.world.live(24..30).await;
    shop.world.to_the_end(&mut live).await;
    pretty_eq(&dump(&shop.pool).await, &shop.expected("rebuild_repair_expected").await);
}

#[tokio::test]
async fn what_cannot_be_applied_waits_beside_and_is_not_switched_to() {
    let mut shop = Shop::new("rebuild_parked").await;
    let nonsense = event("voucher.given-away", 1, json!({"to": 7}));
    let id = Uuid::from_u128(0x2001);
    shop.world.commit("voucher", id, vec![nonsense], 1).await;
    let later = event("voucher.redeemed", 1, json!({}));
    shop.world.commit("voucher", id, vec![later], 1).await;
    let limits = runner::Limits { parked_most: 10, ..runner::Limits::default() };
    let (mut live, _changes) = shop.world.runner(PostgresStore::new(shop.pool.clone()), limits);
    shop.world.to_the_end(&mut live).await;
    let rebuild = shop.rebuild("vouchers", small()).await;
    rebuild.fill().await.expect("it is filled");
    assert_eq!(rebuild.parked().await.expect("counts"), (1, 1));
    let compared = rebuild.compare(5).await.expect("compared");
    assert_eq!((compared.live, compared.beside, compared.differ), (24, 24, 0));
    let refused = rebuild.switch(Beside::Next).await.expect_err("parked");
    assert!(matches!(refused, Error::Generations(generations::Error::Parked(1))), "{refused}");
    let few = Limits { parked_most: 0, ..small() };
    let rebuild = shop.rebuild("vouchers", few).await;
    rebuild.drop().await.expect("dropped");
    let refused = rebuild.fill().await.expect_err("too many");
    assert!(matches!(refused, Error::TooManyParked { most: 0, .. }), "{refused}");
}
