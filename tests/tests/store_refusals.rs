//! Each dependency of `up` refuses in turn, while no client sends anything: what that costs in CPU
//! and in lines of the log. By default a short look at each; `bin/long` looks for as long as
//! HIGHWATER_LONG_MINUTES says. And a log that is not read holds up no request.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "store_support/answer.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod answer;
#[path = "store_bad_input/broker.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod broker;
#[path = "store_support/build.rs"]
mod build;
#[path = "store_bad_input/disk.rs"]
mod disk;
#[path = "../support/documented.rs"]
mod documented;
#[path = "store_refusals/orders.rs"]
mod orders;
#[path = "store_support/request.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod request;
#[path = "store_support/up.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod up;
#[path = "store_refusals/watch.rs"]
mod watch;

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use broker::Broker;
use disk::Disk;
use documented::Row;
use highwater_cli::postgres::PrivatePostgres;
use orders::{order, until, until_status};
use request::Request;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::runtime::Runtime;
use up::{Scratch, Up, bare, command};
use watch::Watched;

fn server(scratch: &Scratch, arguments: &[&str]) -> std::process::Command {
    let mut server = command(scratch);
    server.args(["--listen", "127.0.0.1:0"]).args(arguments);
    server
        .env("HIGHWATER__OWNER__DEADLINE_MS", "2000")
        .env("HIGHWATER__OWNER__OWNERLESS_WAIT_MS", "1000");
    server.env("HIGHWATER__PROJECTOR__DEGRADED_AFTER_MS", "2000");
    server
}

/// Of the topic that the orders go to.
fn set(broker: &Broker, setting: &str) {
    let topic = [
        "--entity-type",
        "topics",
        "--entity-name",
        "highwater.order.events",
        "--add-config",
        setting,
    ];
    broker.run(&["tool"], &[&["kafka.admin.ConfigCommand", "--alter"][..], &topic[..]].concat());
}

#[test]
fn a_full_disk_costs_next_to_nothing() {
    let runtime = Runtime::new().unwrap();
    let postgres = runtime.block_on(PrivatePostgres::temporary()).unwrap();
    let scratch = Scratch::new("refusals-disk");
    let (mut up, disk) =
        Disk::under(&server(&scratch, &["--database-url", &postgres.url()]), &scratch);
    until_status(&up, &order("before"), 201);
    let idle = Watched::idle(&mut up);
    disk.fill();
    assert!(
        (0..500).any(|n| order(&format!("filler-{n}")).send(&up.address).status() == 503),
        "the disk is not full"
    );
    idle.refusing(&mut up, "the disk is full");
    disk.free();
    until_status(&up, &order("after"), 201);
    up.stop();
    runtime.block_on(postgres.stop()).unwrap();
}

/// What is run in the database before and after, with an order between that cannot be projected.
fn database_refuses(name: &str, what: &str, refuse: &[&str], allow: &[&str]) {
    let runtime = Runtime::new().unwrap();
    let postgres = runtime.block_on(PrivatePostgres::temporary()).unwrap();
    let scratch = Scratch::new(name);
    let mut up = Up::of(&mut server(&scratch, &["--database-url", &postgres.url()]));
    until_status(&up, &order("before"), 201);
    let idle = Watched::idle(&mut up);
    let run = |statements: &[&str]| {
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
            for statement in statements {
                sqlx::query(AssertSqlSafe((*statement).to_owned()))
                    .execute(&mut connection)
                    .await
                    .unwrap();
            }
        });
    };
    run(refuse);
    until_status(&up, &order("meanwhile"), 201);
    idle.refusing(&mut up, what);
    until(&up, &Request::get("/readyz"), |answer| answer.body.contains("projectors.failing"));
    run(allow);
    let placed = order("after").send(&up.address);
    let position = placed.header("highwater-position").unwrap().to_owned();
    let read =
        Request::get(placed.header("location").unwrap()).header("Highwater-Min-Position", position);
    until_status(&up, &read, 200);
    until(&up, &Request::get("/readyz"), |answer| !answer.body.contains("projectors.failing"));
    up.stop();
    runtime.block_on(postgres.stop()).unwrap();
}

const OTHERS_GO: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = \
                         current_database() AND pid <> pg_backend_pid()";

#[test]
fn a_database_that_is_read_only_for_a_while_costs_next_to_nothing_and_is_written_to_again() {
    // As a failover leaves it: sessions that began meanwhile stay read-only when the database is
    // not any more.
    let set = |to: &str| {
        format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = \
             {to}', current_database()); END $$"
        )
    };
    database_refuses(
        "refusals-readonly",
        "the database is read-only",
        &[&set("on"), OTHERS_GO],
        &["SET default_transaction_read_only = off", &set("off")],
    );
    Row {
        id: "P2",
        situation: "`default_transaction_read_only` is on for a while, sessions begin meanwhile, \
                    and it is off again",
        answer: "a session that cannot write (25006) is closed before the next transaction; \
                 projectors try again with a wait that doubles \
                 from 50 ms to 5 s, and go on as soon as the database takes writes; a projection \
                 that has failed for \
                 `projector.degraded_after_ms` makes `/readyz` say `degraded` with partition and \
                 error",
        test: (
            file!(),
            "a_database_that_is_read_only_for_a_while_costs_next_to_nothing_and_is_written_to_\
             again",
        ),
    }
    .check();
}

#[test]
fn a_full_database_costs_next_to_nothing() {
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = \
                '53100'; END $$";
    let refuse = "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON checkpoints FOR EACH ROW \
                  EXECUTE FUNCTION full_disk()";
    database_refuses(
        "refusals-full",
        "the database is full",
        &[full, refuse],
        &["DROP TRIGGER full_disk ON checkpoints"],
    );
}

#[test]
fn a_broker_that_refuses_records_costs_next_to_nothing() {
    let scratch = Scratch::new("refusals-broker");
    let broker = Broker::start(&scratch.path().join("kafka"));
    let mut up = Up::of(&mut server(&scratch, &["--kafka", &broker.bootstrap, "--development"]));
    until_status(&up, &order("before"), 201);
    let idle = Watched::idle(&mut up);
    // Below every record, fences too.
    set(&broker, "max.message.bytes=80");
    assert_eq!(order("meanwhile").send(&up.address).status(), 503);
    idle.refusing(&mut up, "the broker refuses records");
    set(&broker, "max.message.bytes=1048588");
    until_status(&up, &order("after"), 201);
    up.stop();
}

/// However the test ends.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_log_that_is_not_read_holds_up_no_request() {
    let scratch = Scratch::new("refusals-stderr");
    let mut server = server(&scratch, &[]);
    server
        .env("HIGHWATER__TELEMETRY__FILTER", "info,highwater_http::server=debug")
        .env("HIGHWATER__TELEMETRY__QUEUE_BYTES", "65536");
    let mut child = Killed(server.stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut banner = String::new();
    while !banner.contains("Try:") {
        banner += &lines.next().unwrap();
    }
    let address = banner.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    // From here on nothing reads. A pipe holds 64 KiB; each of these is a line.
    let method: &'static str = "M".repeat(2_000).leak();
    for n in 0..2_000 {
        let answer = Request::new(method, &format!("/nothing/{n}")).send(address);
        assert!((400..500).contains(&answer.status()), "{}", answer.status());
    }
    assert_eq!(Request::get("/livez").send(address).status(), 200);
    let metrics = Request::get("/metrics").send(address).body;
    let dropped = metrics.lines().find_map(|line| {
        line.strip_prefix("highwater_log_lines_dropped_total ")?.parse::<u64>().ok()
    });
    assert!(dropped.is_some_and(|dropped| dropped > 1_000), "{dropped:?} lines were dropped");
    // It ends, too.
    assert!(
        bare("kill".as_ref())
            .args(["-TERM", &child.0.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert!(child.0.wait().unwrap().success());
    let longest = lines.map(|line| line.len()).max().unwrap_or(0);
    assert!(longest < 2_000, "a line of {longest} bytes");
    Row {
        id: "L4",
        situation: "stderr is a pipe that is not read, every request has a line, and methods are \
                    2,000 bytes long",
        answer: "requests are answered as ever, `/livez` too, and SIGTERM ends it; lines beyond \
                 `telemetry.queue_bytes` are dropped and \
                 counted in `highwater_log_lines_dropped_total`; what callers send is cut in a \
                 line, and a line ends at \
                 `telemetry.line_bytes`. At `info` a refusal (4xx) has a line once a minute for \
                 each code, a failure (5xx) once in ten seconds",
        test: (file!(), "a_log_that_is_not_read_holds_up_no_request"),
    }
    .check();
}
