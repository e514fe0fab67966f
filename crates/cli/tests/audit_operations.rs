//! What lies in the command queues, as the projection wrote it, is clean; each fault that the audit
//! of it claims to find is planted and found.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "../../tables/tests/support/postgres.rs"]
mod postgres;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use highwater_audit::{self as audit, projected::Projected, report::Report};
use highwater_log::{
    Error, LocalLog, Log, Membership, MembershipEvent, Partition, RawReader, RawTopic, Reply,
    Ticket, local,
};
use highwater_projection::{
    builtin::operations::Operations,
    runner::{Assignment, Limits, PostgresStore, PostgresTx, Projection, Runner, Step, Topics},
};
use highwater_protocol::{
    command_queue,
    partition::partition_of,
    record::{Record, StoredRecord},
    time::Micros,
    wire::Fingerprint,
    writer::Expected,
};
use highwater_tables::migrations::migrate;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::mpsc;
use uuid::Uuid;

const PARTITIONS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(120);
const DAY_MS: i64 = 86_400_000;
static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A command queue of ten commands, one of them twice, one that says too little and one that says
/// nothing, over nine days.
struct World {
    log: Arc<LocalLog>,
    folder: PathBuf,
    now_ms: Arc<AtomicI64>,
    pool: PgPool,
    /// Where all of it lies.
    partition: Partition,
}

impl World {
    async fn new(test: &str) -> Self {
        let name = format!(
            "highwater-test-audit-{}-{}",
            std::process::id(),
            FOLDERS.fetch_add(1, Ordering::Relaxed)
        );
        let (folder, now_ms) =
            (std::env::temp_dir().join(name), Arc::new(AtomicI64::new(1_795_383_264_123)));
        let clock = now_ms.clone();
        let settings = local::Settings {
            clock: Arc::new(move || clock.load(Ordering::Relaxed)),
            ..local::Settings::default()
        };
        let log = Arc::new(LocalLog::open(&folder, settings).expect("a local log"));
        log.prepare(topics().wanted(PARTITIONS)).await.expect("topics");
        let pool =
            PgPool::connect_with(postgres::database(test).await).await.expect("a connection");
        migrate(&pool, None).await.expect("the tables");
        let index =
            partition_of(command(1).aggregate.hyphenated().to_string().as_bytes(), PARTITIONS);
        let world = Self {
            log,
            folder,
            now_ms,
            pool,
            partition: Partition { topic: "test.note.commands".into(), index },
        };
        for n in 1..=10 {
            world.append(command_queue::encode(&command(n))).await;
            if n == 4 {
                world.append(command_queue::encode(&command(1))).await;
                let mut undated = command_queue::encode(&command(100));
                undated.headers.retain(|header| header.name != "hw-deadline");
                world.append(undated).await;
                world.append(Record::default()).await;
            }
            world.now_ms.fetch_add(DAY_MS, Ordering::Relaxed);
        }
        world.project().await;
        world
    }

    async fn append(&self, record: Record) {
        let (to, mut reports) = mpsc::unbounded_channel();
        let reply = Reply { ticket: Ticket { writer: Uuid::nil(), seq: None }, to };
        self.log.append(&self.partition, record, reply).expect("accepted");
        let report = tokio::time::timeout(PATIENCE, reports.recv())
            .await
            .expect("in time")
            .expect("a report");
        report.result.expect("appended");
    }

    async fn project(&self) {
        let (changes, events) = mpsc::unbounded_channel();
        changes.send(MembershipEvent::Assigned(vec![self.partition.clone()])).expect("a runner");
        let membership = Membership {
            events,
            leave: Box::new(|_| Box::pin(std::future::ready(()))),
            commit: Arc::new(|_| {}),
        };
        let projection: Arc<dyn Projection<PostgresTx>> = Arc::new(Operations::of(vec!["note"]));
        let (store, assignment) =
            (PostgresStore::new(self.pool.clone()), Assignment::new(membership, topics()));
        let mut runner = Runner::new(
            store,
            self.log.clone(),
            vec![projection],
            assignment,
            Limits { batch_events: 3, ..Limits::default() },
            Uuid::from_u128(1),
        );
        let end = Log::end(&*self.log, &self.partition).await.expect("an end");
        let projecting = async {
            while !runner.progress().all().values().any(|offset| *offset >= end) {
                if matches!(runner.step().await, Step::Waiting | Step::CaughtUp) {
                    runner.wait().await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, projecting).await.expect("projected in time");
    }

    async fn audit(&self, log: &dyn RawReader) -> Report {
        let mut connection = self.pool.acquire().await.expect("a connection");
        let database = Projected::begin(&mut connection, Vec::new()).await.expect("the tables");
        audit::run_with_tables(log, database).await.expect("a report")
    }

    /// Differences as `at: what` of a change to the tables, which is taken back.
    async fn planted(&self, sql: &str) -> Vec<String> {
        let keep = "DROP TABLE IF EXISTS kept_rows, kept_checkpoints; CREATE TABLE kept_rows AS \
                    TABLE operations;
                    CREATE TABLE kept_checkpoints AS TABLE checkpoints";
        let back =
            "TRUNCATE operations, checkpoints; INSERT INTO operations SELECT * FROM kept_rows;
                    INSERT INTO checkpoints SELECT * FROM kept_checkpoints";
        for sql in [keep, sql] {
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .execute(&self.pool)
                .await
                .expect("planted");
        }
        let report = self.audit(&*self.log).await;
        sqlx::raw_sql(back).execute(&self.pool).await.expect("taken back");
        report
            .differences
            .iter()
            .map(|difference| format!("{}: {}", difference.at, difference.what))
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Best effort: the folder lies under the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn topics() -> Topics {
    Topics::of("test", &["note"])
}

fn command(n: u128) -> command_queue::AcceptedCommand {
    command_queue::AcceptedCommand {
        aggregate: Uuid::from_u128(0xa),
        command: Uuid::from_u128(n),
        name: "note.write".to_owned(),
        version: 1,
        fingerprint: Fingerprint { key_number: 1, hmac: [7; 32] },
        caller_key: true,
        expected: Expected::OneOf(vec![3, 4]),
        actor: Uuid::from_u128(0xac),
        scopes: vec!["notes:write".to_owned()],
        deadline: Micros(1_795_386_864_000_000),
        correlation: Uuid::from_u128(n),
        traceparent: None,
        body: b"{}".to_vec(),
    }
}

#[tokio::test]
async fn what_the_projection_wrote_is_clean_and_counted() {
    let world = World::new("audit_clean").await;
    let report = world.audit(&*world.log).await;
    assert!(report.is_clean(), "{report}");
    let rows =
        |name: &str| report.tables.iter().find(|table| table.table == name).map(|table| table.rows);
    // The first two went after seven days, also the one that came twice.
    assert_eq!((rows("operations"), rows("checkpoints")), (Some(9), Some(1)), "{report}");
}

#[tokio::test]
async fn every_planted_fault_is_named() {
    let world = World::new("audit_planted").await;
    let five = Uuid::from_u128(5);
    let checkpoint = format!("checkpoints/operations.1/note/{}", world.partition.index);
    let of_five =
        |change: &str| format!("UPDATE operations SET {change} WHERE command_id = '{five}'");
    let copied = "SELECT gen_random_uuid(), category, partition, aggregate_id, actor, next_offset, \
                  accepted_at, deadline";
    for (sql, at, what) in [
        (
            format!("DELETE FROM operations WHERE command_id = '{five}'"),
            format!("operations/{five}"),
            "the row is missing",
        ),
        (of_five("actor = gen_random_uuid()"), format!("operations/{five}"), "actor is \""),
        (
            of_five("aggregate_id = gen_random_uuid()"),
            format!("operations/{five}"),
            "aggregate_id is \"",
        ),
        (of_five("next_offset = next_offset - 1"), format!("operations/{five}"), "next_offset is "),
        (
            of_five("accepted_at = accepted_at + interval '1 microsecond'"),
            format!("operations/{five}"),
            "accepted_us is ",
        ),
        (
            of_five("deadline = NULL"),
            format!("operations/{five}"),
            "deadline_us is null, the log makes it 1795386864000000",
        ),
        (
            of_five("partition = 99"),
            "operations/note/99".to_owned(),
            "the log has no such partition",
        ),
        (
            of_five("category = 'other'"),
            "operations/other/".to_owned(),
            "the log has no such partition",
        ),
        (
            format!("INSERT INTO operations {copied} FROM operations LIMIT 1"),
            "operations/".to_owned(),
            "nothing in the log makes this row",
        ),
        (
            format!(
                "INSERT INTO operations {} FROM operations LIMIT 1",
                copied.replace("next_offset", "1000000")
            ),
            "operations/".to_owned(),
            "the row is of the future",
        ),
        (
            "UPDATE checkpoints SET next_offset = 6".to_owned(),
            "operations/".to_owned(),
            "the row is of the future",
        ),
        (
            "UPDATE checkpoints SET next_offset = 99".to_owned(),
            checkpoint.clone(),
            "the checkpoint is ahead of the log",
        ),
        (
            "UPDATE checkpoints SET witness_writer = gen_random_uuid()".to_owned(),
            checkpoint.clone(),
            "witness_writer is ",
        ),
        (
            "UPDATE checkpoints SET witness_epoch = witness_epoch + 1".to_owned(),
            checkpoint.clone(),
            "witness_epoch is ",
        ),
        ("UPDATE checkpoints SET epoch = 1".to_owned(), checkpoint.clone(), "epoch is 1"),
        (
            "UPDATE checkpoints SET partition = 99".to_owned(),
            "checkpoints/operations.1/note/99".to_owned(),
            "the log has no such partition",
        ),
    ] {
        let found = world.planted(&sql).await;
        assert!(
            found.iter().any(|one| one.starts_with(&at) && one.contains(what)),
            "{sql}: no `{at}: {what}`: {found:#?}"
        );
    }
    assert!(world.audit(&*world.log).await.is_clean(), "every fault was taken back");
}

#[tokio::test]
async fn what_the_log_has_forgotten_is_not_judged() {
    let world = World::new("audit_forgotten").await;
    let forgetful =
        Forgetful { inner: world.log.clone(), topic: world.partition.topic.clone(), begin: 8 };
    let report = world.audit(&forgetful).await;
    assert!(report.is_clean(), "{report}");
    let row = "DELETE FROM operations WHERE next_offset = 9";
    sqlx::query(row).execute(&world.pool).await.expect("deleted");
    let report = world.audit(&forgetful).await;
    assert_eq!(report.differences_found, 1, "what is still there is judged: {report}");
}

/// Has dropped the beginning of one topic.
struct Forgetful {
    inner: Arc<LocalLog>,
    topic: Arc<str>,
    begin: u64,
}

impl RawReader for Forgetful {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, Error>> {
        self.inner.topics()
    }

    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let of = of.clone();
        Box::pin(async move {
            let end = RawReader::end(&*self.inner, &of).await?;
            Ok(if of.topic == self.topic { self.begin.min(end) } else { 0 })
        })
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        RawReader::end(&*self.inner, of)
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        let of = of.clone();
        Box::pin(async move {
            if offset < self.begin(&of).await? {
                return Err(of.error("it is not there any more"));
            }
            RawReader::fetch(&*self.inner, &of, offset, limit).await
        })
    }
}
