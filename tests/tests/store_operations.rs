//! The command queue from end to end: every 202 gets its outcome once, every caller that asks hears
//! of it, and the tables say what the log says, through a kill -9 in the middle.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "store_support/answer.rs"]
mod answer;
#[path = "store_support/build.rs"]
mod build;
#[expect(dead_code, reason = "other tests send more kinds of requests")]
#[path = "store_support/request.rs"]
mod request;
#[path = "store_support/up.rs"]
mod up;

use answer::Answer;
use request::Request;
use serde_json::{Value, json};
use up::{Scratch, Up, bare};

const COMMANDS: usize = 60;
const PRODUCT: &str =
    r#"{"name":"Espresso beans","department":"GROCERY","unit_price_minor":1250,"currency":"EUR"}"#;

fn create(number: usize) -> Request {
    Request::post("/v1/products", PRODUCT).header("Idempotency-Key", format!("product-{number}"))
}

fn accepted(answer: &Answer) -> String {
    assert_eq!(answer.status(), 202, "{} {}", answer.status_line, answer.body);
    answer.header("location").unwrap().to_owned()
}

/// Waits for the outcome.
fn outcome(location: &str, up: &Up) -> Value {
    let answer = Request::get(location).header("Prefer", "wait=25").send(&up.address);
    assert_eq!(answer.status(), 200, "{location}: {} {}", answer.status_line, answer.body);
    answer.json()
}

#[test]
fn every_202_gets_its_outcome_once_through_a_kill() {
    let scratch = Scratch::new("operations");
    let first = Up::start(&scratch);
    let send = |number: usize, up: &Up| {
        accepted(&create(number).header("Prefer", "respond-async").send(&up.address))
    };
    let mut locations: Vec<String> = (0..COMMANDS / 2).map(|number| send(number, &first)).collect();
    // A retry is the same operation, though it lies further on in the command queue.
    for (number, location) in locations.iter().enumerate() {
        assert_eq!(send(number, &first).split('?').next(), location.split('?').next());
    }
    drop(first);

    let second = Up::start(&scratch);
    locations.extend((COMMANDS / 2..COMMANDS).map(|number| send(number, &second)));
    for (number, location) in locations.iter().enumerate() {
        let done = outcome(location, &second);
        assert_eq!(done["state"], "succeeded", "{done}");
        let result = &done["result"];
        assert_eq!(
            (&result["version"], &result["events"]),
            (&json!(1), &json!([{"type": "product.created", "version": 1}]))
        );
        // The same command over the synchronous path was done already, and says the same.
        let replayed = create(number).send(&second.address);
        assert_eq!(
            (replayed.status(), replayed.header("idempotency-replayed")),
            (201, Some("true")),
            "{}",
            replayed.body
        );
        assert_eq!(&replayed.json(), result);
        let path = format!("/v1/products/{}", result["id"].as_str().unwrap());
        let read = Request::get(&path)
            .header("Highwater-Min-Position", result["position"].as_str().unwrap())
            .send(&second.address);
        assert_eq!((read.status(), &read.json()["version"]), (200, &json!(1)));
    }
    what_is_refused_is_said(&second, &locations[0]);
    second.stop();

    let mut audit = bare(&build::program("store"));
    let audit = audit
        .arg("audit")
        .arg("--json")
        .arg("--data")
        .arg(scratch.data())
        .stdout(std::process::Stdio::piped())
        .output();
    let audit = audit.unwrap();
    let report: Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert_eq!(audit.status.code(), Some(0), "{report:#}");
    let rows = |name: &str| {
        let tables = report["tables"].as_array().unwrap();
        tables.iter().find(|table| table["table"] == name).unwrap()["rows"].clone()
    };
    // Two more were refused, and one was done.
    assert_eq!((rows("operations"), rows("outcomes")), (json!(COMMANDS + 3), json!(COMMANDS + 3)));
}

/// Over the command queue, as over the synchronous path.
fn what_is_refused_is_said(up: &Up, known: &str) {
    let id = outcome(known, up)["result"]["id"].as_str().unwrap().to_owned();
    let discontinue = |id: &str| {
        Request::post(&format!("/v1/products/{id}/discontinue"), "{}")
            .header("Prefer", "respond-async")
    };
    let nobody = "018f3ca1-2f4d-7b21-8a4c-6d7e8f90ffff";
    for (request, status, code) in [
        (discontinue(nobody), 404, "product.not-found"),
        (discontinue(&id).header("If-Match", "\"v7\""), 412, "version.mismatch"),
    ] {
        let refused = outcome(&accepted(&request.send(&up.address)), up);
        let (problem, expected) =
            (&refused["problem"], (&json!("rejected"), &json!(status), &json!(code)));
        assert_eq!(
            (&refused["state"], &problem["status"], &problem["code"]),
            expected,
            "{refused}"
        );
    }
    let done = outcome(&accepted(&discontinue(&id).send(&up.address)), up);
    assert_eq!(
        (&done["state"], &done["result"]["version"]),
        (&json!("succeeded"), &json!(2)),
        "{done}"
    );
}
