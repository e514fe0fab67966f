//! A command that makes two events, from end to end: one commit in the log, both events or none for
//! every reader.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "store_support/answer.rs"]
mod answer;
#[path = "store_support/build.rs"]
mod build;
#[path = "../support/documented.rs"]
mod documented;
#[expect(dead_code, reason = "other tests send more kinds of requests")]
#[path = "store_support/request.rs"]
mod request;
#[path = "store_support/up.rs"]
mod up;

use std::{path::Path, process::Stdio};

use answer::Answer;
use documented::Row;
use highwater_log::{LocalLog, Log, Partition, local};
use highwater_protocol::record::Record;
use request::Request;
use serde_json::{Value, json};
use up::{Scratch, Up, bare};

const TYPE: &str = "application/vnd.highwater.order.place.v2+json";
const PARTITIONS: u32 = 8;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Of 2 units at 1,250.
fn place(confirm: bool, key: &str) -> Request {
    let line = concat!(
        r#"{"product_id":"018f3c9e-5b5e-7c3a-9d0e-1f6a2b3c4d5e","department":"KITCHEN","#,
        r#""quantity":2,"unit_price_minor":1250}"#
    );
    let body = format!(
        r#"{{"customer_id":"018f3c00-0000-7000-8000-00000000c001","currency":"EUR",
            "lines":[{line}],"placed_at":"2017-01-01T10:00:00Z","confirm":{confirm}}}"#
    );
    Request::post("/v1/orders", body).header("Content-Type", TYPE).header("Idempotency-Key", key)
}

#[test]
fn an_order_that_is_placed_and_confirmed_at_once_is_two_events_of_one_commit() {
    let scratch = Scratch::new("two-events");
    let up = Up::start(&scratch);
    let both =
        json!([{"type": "order.placed", "version": 1}, {"type": "order.confirmed", "version": 2}]);

    let answer = place(true, "at-once")
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .send(&up.address);
    assert_eq!((answer.status(), answer.header("etag")), (201, Some("\"v2\"")), "{}", answer.body);
    let at_once = answer.json();
    assert_eq!((&at_once["version"], &at_once["events"]), (&json!(2), &both));
    let again = place(true, "at-once").send(&up.address);
    assert_eq!(
        (again.header("idempotency-replayed"), again.json()),
        (Some("true"), at_once.clone()),
        "{}",
        again.body
    );
    is_confirmed(&up, &at_once);

    let waiting = place(true, "by-the-queue").header("Prefer", "respond-async").send(&up.address);
    assert_eq!(waiting.status(), 202, "{}", waiting.body);
    let done = Request::get(waiting.header("location").unwrap())
        .header("Prefer", "wait=25")
        .send(&up.address)
        .json();
    assert_eq!(
        (&done["state"], &done["result"]["version"], &done["result"]["events"]),
        (&json!("succeeded"), &json!(2), &both),
        "{done}"
    );
    is_confirmed(&up, &done["result"]);

    let single = place(false, "alone").send(&up.address);
    assert_eq!((single.status(), single.header("etag")), (201, Some("\"v1\"")), "{}", single.body);
    let sales = Request::get("/v1/sales?group=day")
        .header("Highwater-Min-Position", position(&single))
        .send(&up.address)
        .json();
    assert_eq!(
        sales["items"],
        json!([{"day": "2017-01-01", "orders": 3, "lines": 3, "units": 6, "total_minor": 7500}]),
        "{sales}"
    );
    up.stop();

    replay_shows_both(&scratch, at_once["id"].as_str().unwrap());
    the_audit_finds_nothing(&scratch);
    the_log_holds_them_as_the_format_says(
        &scratch.data().join("log"),
        done["result"]["id"].as_str().unwrap(),
    );
    Row {
        id: "S5b",
        situation: "`order.place` v2 with `confirm`, synchronous and through the command queue: a \
                    command of the store that makes two events",
        answer: "one commit, 1/2 and 2/2, version 2; tables, replay and audit have both, and each \
                 names its source in the command queue",
        test: (
            file!(),
            "an_order_that_is_placed_and_confirmed_at_once_is_two_events_of_one_commit",
        ),
    }
    .check();
}

fn position(answer: &Answer) -> String {
    answer.header("highwater-position").unwrap().to_owned()
}

/// For a reader of what the command answered; confirming it again changes nothing.
fn is_confirmed(up: &Up, result: &Value) {
    let path = format!("/v1/orders/{}", result["id"].as_str().unwrap());
    let read = Request::get(&path)
        .header("Highwater-Min-Position", result["position"].as_str().unwrap())
        .send(&up.address);
    assert_eq!((read.status(), read.header("etag")), (200, Some("\"g1-v2\"")), "{}", read.body);
    assert_eq!((&read.json()["status"], &read.json()["version"]), (&json!("confirmed"), &json!(2)));
    let nothing = Request::post(&format!("{path}/confirm"), "{}").send(&up.address);
    assert_eq!(
        (nothing.status(), &nothing.json()["version"], &nothing.json()["events"]),
        (200, &json!(2), &json!([])),
        "{}",
        nothing.body
    );
}

fn replay_shows_both(scratch: &Scratch, id: &str) {
    let output = bare(&build::program("store"))
        .args(["replay", "--id", id, "--data"])
        .arg(scratch.data())
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let events: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |name: &str| events.iter().map(|event| event[name].clone()).collect::<Vec<_>>();
    assert_eq!(said("type"), [json!("order.placed"), json!("order.confirmed")], "{lines}");
    assert_eq!(
        (said("hwversion"), said("hwcommit")),
        (vec![json!(1), json!(2)], vec![json!("1/2"), json!("2/2")])
    );
    assert_eq!(
        (said("hwcommand")[0] == said("hwcommand")[1], said("id")[0] == said("id")[1]),
        (true, false)
    );
    assert_eq!(said("hwcausation"), said("hwcommand"), "a command over HTTP caused them");
    let of_the_request = json!("4bf92f35-77b3-4da6-a3ce-929d0e0e4736");
    assert_eq!(
        said("hwcorrelation"),
        [of_the_request.clone(), of_the_request],
        "the trace of the request"
    );
}

fn the_audit_finds_nothing(scratch: &Scratch) {
    let output = bare(&build::program("store"))
        .args(["audit", "--json", "--data"])
        .arg(scratch.data())
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report:#}");
}

#[tokio::main(flavor = "current_thread")]
async fn the_log_holds_them_as_the_format_says(folder: &Path, queued: &str) {
    let log = LocalLog::open(folder, local::Settings::default()).unwrap();
    let mut records = Vec::new();
    for index in 0..PARTITIONS {
        let partition = Partition { topic: "highwater.order.events".into(), index };
        records.extend(
            log.fetch(&partition, 0, 1_000).await.unwrap().into_iter().map(|stored| stored.record),
        );
    }
    let of_two: Vec<&Record> =
        records.iter().filter(|record| record.header("hw-commit").is_some()).collect();
    assert_eq!(of_two.len(), 4, "two commits of two");
    let by_queue: Vec<&&Record> =
        of_two.iter().filter(|record| record.key.as_deref() == Some(queued.as_bytes())).collect();
    let said = |name: &str| {
        by_queue.iter().map(|record| record.header(name).map(<[u8]>::to_vec)).collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(said("hw-commit"), [some("1/2"), some("2/2")]);
    assert_eq!(
        (said("hw-source")[0].is_some(), said("hw-source")[0] == said("hw-source")[1]),
        (true, true),
        "each names its source"
    );
    assert_eq!(
        (said("hw-drained")[0].is_none(), said("hw-drained")[1].is_some()),
        (true, true),
        "the last says what is drained"
    );
    log.close(std::time::Duration::from_secs(10)).await;
}
