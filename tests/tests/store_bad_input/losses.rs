//! What is under a running server goes away, and comes back: Kafka, Postgres, the room on the disk.
//! What is answered meanwhile, and that a command which was not decided has exactly one effect when
//! it is sent again with its key.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use highwater_cli::postgres::PrivatePostgres;
use tokio::{runtime::Runtime, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Case,
    answer::Answer,
    bad,
    bodies::{NOBODY, ORDER},
    broker::Broker,
    build::program,
    disk::Disk,
    fine,
    request::Request,
    up::{Scratch, Up, bare, command},
};

/// What a row was made from.
pub struct Asked {
    pub case: Case,
    pub answer: Answer,
}

/// A heading, and its rows.
pub type Group = (&'static str, Vec<Asked>);

const DEADLINE_MS: u64 = 3_000;
/// What a request may take beyond the command's deadline on a machine that does much else.
const SLACK: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const MADE: &str = "018f3ca1-0000-7000-8000-00000000000a";

/// Sends, in this sequence, and what came back.
fn asked(up: &Up, cases: Vec<Case>) -> Vec<Asked> {
    let ask = |case: Case| {
        let began = Instant::now();
        let answer = case.request.send(&up.address);
        let (took, most) = (began.elapsed(), Duration::from_millis(DEADLINE_MS) + SLACK);
        assert!(took < most, "{}: answered after {took:?}, and {most:?} is the most", case.what);
        if answer.status() == 503 {
            let seconds =
                answer.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
            assert!(
                seconds.is_some_and(|seconds| (1..=4).contains(&seconds)),
                "{}: Retry-After: {:?}",
                case.what,
                answer.headers
            );
        }
        let key = answer.header("idempotency-key").map(|key| key.trim_matches('"').as_bytes());
        assert_eq!(key, case.request.key(), "{}: {:?}", case.what, answer.headers);
        Asked { case, answer }
    };
    cases.into_iter().map(ask).collect()
}

/// Waits until this is answered so; for what needs a while to be noticed.
fn until(up: &Up, request: &Request, status: u16) {
    until_it(up, request, |answer| answer.status() == status);
}

/// Waits until just these are what `/readyz` misses: on a busy machine a check may fail that has
/// nothing to do with the loss.
fn unready(up: &Up, missing: &[&str]) -> Asked {
    let holds = |answer: &Answer| {
        let answer = answer.json();
        answer["missing"].as_object().is_some_and(|found| found.keys().eq(missing))
    };
    let answer = until_it(up, &ready(), holds);
    Asked { case: bad("`GET /readyz`", ready(), 503, "not-ready"), answer }
}

fn until_it(up: &Up, request: &Request, holds: impl Fn(&Answer) -> bool) -> Answer {
    let until = Instant::now() + WITHIN;
    loop {
        let answer = request.send(&up.address);
        if holds(&answer) {
            return answer;
        }
        assert!(
            Instant::now() < until,
            "not as wanted within {WITHIN:?}: {} {:?} {}",
            answer.status_line,
            answer.headers,
            answer.body
        );
        thread::sleep(LOOK_EVERY);
    }
}

fn ready() -> Request {
    Request::get("/readyz")
}

fn adjust(stock: &str, delta: i32, key: &str) -> Request {
    keyed(
        Request::post(
            &format!("/v1/stock/{stock}/adjust"),
            format!(r#"{{"delta":{delta},"reason":"found"}}"#),
        ),
        key,
    )
}

fn receive(stock: &str, key: &str) -> Request {
    keyed(Request::post(&format!("/v1/stock/{stock}/receive"), r#"{"quantity":10}"#), key)
}

fn create(key: &str) -> Request {
    let body = format!(
        r#"{{"id":"{MADE}","name":"Cup","department":"K","unit_price_minor":1,"currency":"EUR"}}"#
    );
    keyed(Request::post("/v1/products", body), key)
}

fn keyed(request: Request, key: &str) -> Request {
    request.header("Idempotency-Key", key)
}

fn stock(id: &str) -> Request {
    Request::get(&format!("/v1/stock/{id}"))
}

/// Done to a stock, and to be read. Where that is.
fn done(up: &Up, request: &Request) -> String {
    let answer = request.send(&up.address);
    assert_eq!(answer.status(), 200, "{}", answer.body);
    let position = answer.header("highwater-position").unwrap().to_owned();
    on_hand(up, answer.json()["id"].as_str().unwrap(), &position);
    position
}

/// `on_hand`, read at this position. A 503 is asked again, as a client does; nothing else is.
fn on_hand(up: &Up, id: &str, position: &str) -> u64 {
    let read = stock(id).header("Highwater-Min-Position", position).header("Prefer", "wait=20");
    let read = until_it(up, &read, |answer| answer.status() != 503);
    assert_eq!(read.status(), 200, "{}", read.body);
    read.json()["on_hand"].as_u64().unwrap()
}

fn position_of(asked: &[Asked], at: usize) -> String {
    asked[at].answer.header("highwater-position").unwrap().to_owned()
}

fn server(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = command(scratch);
    command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    command
        .env("HIGHWATER__OWNER__DEADLINE_MS", DEADLINE_MS.to_string())
        .env("HIGHWATER__OWNER__OWNERLESS_WAIT_MS", "1000");
    command
}

fn audited(arguments: &[&str]) {
    let output = bare(&program("store"))
        .arg("audit")
        .args(arguments)
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

pub fn of_kafka() -> Vec<Group> {
    let scratch = Scratch::new("kafka-lost");
    let broker = Broker::start(&scratch.path().join("kafka"));
    let up = Up::of(&mut server(&scratch, &["--kafka", &broker.bootstrap, "--development"]));
    done(&up, &receive(ORDER, "warm"));

    broker.kill();
    let mut lost = asked(
        &up,
        vec![
            bad(
                "a command on a stock, with the key `a`",
                adjust(ORDER, 5, "a"),
                503,
                "command.undecided",
            ),
            bad("a create, with the key `b`", create("b"), 503, "command.undecided"),
            fine("the stock is read", stock(ORDER), 200, "etag"),
        ],
    );
    lost.push(unready(&up, &["log"]));

    broker.restart();
    until(&up, &ready(), 200);
    until(&up, &adjust(ORDER, 5, "a"), 200);
    until(&up, &create("b"), 201);
    let back = asked(
        &up,
        vec![
            fine("the command with the key `a` again", adjust(ORDER, 5, "a"), 200, "etag"),
            fine("the create with the key `b` again", create("b"), 201, "etag"),
        ],
    );
    assert_eq!(on_hand(&up, ORDER, &position_of(&back, 0)), 15, "it had one effect");
    let database = PrivatePostgres::url_of_running(&scratch.data().join("postgres")).unwrap();
    audited(&["--kafka", &broker.bootstrap, "--database-url", &database]);
    up.stop();
    vec![("While the broker is away", lost), ("When it is back", back)]
}

pub fn of_postgres() -> Vec<Group> {
    let runtime = Runtime::new().unwrap();
    let postgres = runtime.block_on(PrivatePostgres::temporary()).unwrap();
    let scratch = Scratch::new("postgres-lost");
    let start = || Up::of(&mut server(&scratch, &["--database-url", &postgres.url()]));
    let up = start();
    for (id, key) in [(ORDER, "warm"), (NOBODY, "cold")] {
        done(&up, &receive(id, key));
    }
    // What was in memory is in the tables alone.
    up.stop();
    let up = start();
    done(&up, &adjust(ORDER, 1, "before"));
    until_it(&up, &stock(ORDER), |answer| answer.header("cache-status") == Some("query-api; hit"));

    kill(&postgres);
    let mut lost = asked(
        &up,
        vec![
            fine(
                "a command on a stock that had one since the start",
                adjust(ORDER, 5, "a"),
                200,
                "etag",
            ),
            fine(
                "that command again, with its key",
                adjust(ORDER, 5, "a"),
                200,
                "idempotency-replayed",
            ),
            fine("a create", create("b"), 201, "etag"),
            bad(
                "a command on a stock that had none since the start, with the key `c`",
                adjust(NOBODY, 5, "c"),
                503,
                "snapshots.unreachable",
            ),
            bad(
                "a command of before the start again, with its key",
                receive(ORDER, "warm"),
                503,
                "snapshots.unreachable",
            ),
            fine("a stock that was read before is read", stock(ORDER), 200, "cache-status"),
            bad(
                "a stock that was not read before is read",
                stock(NOBODY),
                503,
                "database.unavailable",
            ),
            bad("a list is read", Request::get("/v1/stock"), 503, "database.unavailable"),
        ],
    );
    lost.push(unready(&up, &["projectors.database", "query.database"]));

    let stop = CancellationToken::new();
    let keeping = runtime.spawn(postgres.keeper().run(stop.clone()));
    until(&up, &ready(), 200);
    until(&up, &adjust(NOBODY, 5, "c"), 200);
    let back = asked(
        &up,
        vec![
            fine("the command with the key `c` again", adjust(NOBODY, 5, "c"), 200, "etag"),
            fine(
                "the command of before the start again, with its key",
                receive(ORDER, "warm"),
                200,
                "idempotency-replayed",
            ),
            fine("a list is read", Request::get("/v1/stock"), 200, "content-type"),
        ],
    );
    assert_eq!(on_hand(&up, NOBODY, &position_of(&back, 0)), 15, "it had one effect");
    assert_eq!(on_hand(&up, ORDER, &position_of(&lost, 0)), 16, "what was done meanwhile is there");
    let data = scratch.data().to_string_lossy().into_owned();
    audited(&["--data", &data, "--database-url", &postgres.url()]);
    up.stop();
    stop.cancel();
    runtime.block_on(keeping).unwrap();
    runtime.block_on(postgres.stop()).unwrap();
    vec![("While Postgres is away", lost), ("When it is back", back)]
}

/// At once, as by a crash. Nothing starts it again but a keeper.
fn kill(postgres: &PrivatePostgres) {
    let notes = postgres.dir().join("cluster/postmaster.pid");
    let pid = fs::read_to_string(&notes).unwrap().lines().next().unwrap().trim().to_owned();
    assert!(Command::new("kill").args(["-QUIT", &pid]).status().unwrap().success());
    let until = Instant::now() + WITHIN;
    while notes.exists() {
        assert!(Instant::now() < until, "Postgres does not end");
        thread::sleep(LOOK_EVERY);
    }
}

pub fn of_space() -> Vec<Group> {
    let runtime = Runtime::new().unwrap();
    let postgres = runtime.block_on(PrivatePostgres::temporary()).unwrap();
    let scratch = Scratch::new("space-lost");
    let (up, disk) = Disk::under(&server(&scratch, &["--database-url", &postgres.url()]), &scratch);
    done(&up, &receive(ORDER, "warm"));

    disk.fill();
    // The page that was begun may have room for a few.
    let refused = (0..100).find(|number| {
        adjust(ORDER, 1, &format!("filler-{number}")).send(&up.address).status() == 503
    });
    let fitted = refused.unwrap_or_else(|| panic!("the disk is not full"));
    let mut lost = asked(
        &up,
        vec![
            bad(
                "a command on a stock, with the key `a`",
                adjust(ORDER, 5, "a"),
                503,
                "command.undecided",
            ),
            bad("a create, with the key `b`", create("b"), 503, "command.undecided"),
            fine("the stock is read", stock(ORDER), 200, "content-type"),
        ],
    );
    lost.push(unready(&up, &["log"]));

    disk.free();
    until(&up, &ready(), 200);
    until(&up, &adjust(ORDER, 5, "a"), 200);
    until(&up, &create("b"), 201);
    until(&up, &adjust(ORDER, 1, &format!("filler-{fitted}")), 200);
    let back = asked(
        &up,
        vec![
            fine(
                "the command with the key `a` again",
                adjust(ORDER, 5, "a"),
                200,
                "idempotency-replayed",
            ),
            fine("the create with the key `b` again", create("b"), 201, "etag"),
        ],
    );
    let end = done(&up, &receive(ORDER, "last"));
    assert_eq!(on_hand(&up, ORDER, &end), 10 + fitted + 1 + 5 + 10, "each had one effect");
    audited(&["--data", &disk.data, "--database-url", &postgres.url()]);
    up.stop();
    runtime.block_on(postgres.stop()).unwrap();
    vec![("While there is no room", lost), ("When there is room again", back)]
}
