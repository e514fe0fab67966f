//! The vectors of what an owner makes of a record in `commands`
//! (crates/protocol/vectors/README.md), by a running owner: what it records, passes and stops at.

use std::path::Path;

use futures_util::{StreamExt, stream};
use highwater_protocol::{
    record::{Header, Record},
    writer::Limits,
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    command_queue::{drained, put},
    documented::Row,
    harness::{Owner, TestSnapshots, accepted, add, history, world},
};

/// Each has a log and an owner of its own, which mostly wait.
const AT_ONCE: usize = 16;

#[tokio::test]
async fn an_owner_does_with_every_record_of_the_command_queue_what_its_vector_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../protocol/vectors/command-queue-verdicts.json");
    let vectors: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(vectors.len() >= 90, "only {} vectors", vectors.len());
    stream::iter(&vectors).for_each_concurrent(AT_ONCE, comes_to).await;
    Row {
        id: "S5a",
        situation: "records in `commands` that no command-api wrote: every defect, unknown kinds, \
                    names and versions, another partition's key, alone and together",
        answer: "the first rule of docs/log-format.md that applies: the command queue stops, the \
                 record is passed, or `rejected`, `command.malformed` is recorded",
        test: (
            file!(),
            "an_owner_does_with_every_record_of_the_command_queue_what_its_vector_says",
        ),
    }
    .check();
}

async fn comes_to(vector: &Value) {
    let (name, mut world) = (&vector["name"], world().await);
    assert_eq!(
        (&vector["partition"], &vector["knows"][0]),
        (&Value::from(0), &Value::from("counter.add.v1")),
        "{name}"
    );
    world.partitions = u32::try_from(vector["partitions"].as_u64().unwrap()).unwrap();
    put(&world, record(vector)).await;
    let owner = Owner::start(
        &world,
        world.log.clone(),
        TestSnapshots::default(),
        Limits { command_queue_silence_ms: 0, ..Limits::default() },
    );
    if vector["verdict"] == "stops" {
        // The owner has come past the command queue by the time it answers so many callers.
        for command in 1..=20 {
            assert!(accepted(&owner.ask(add(command, 1, 1)).await).is_some(), "{name}");
        }
        let history = history(&world).await;
        assert_eq!((history.drained, history.sources.len()), (0, 0), "{name}");
        return;
    }
    let history = drained(&world, 1).await;
    let decided: Vec<Uuid> = history.sources.keys().copied().collect();
    let malformed = history
        .rejected
        .values()
        .map(|reason| (reason["code"] == "command.malformed", reason["status"] == 422));
    match vector["verdict"].as_str().unwrap() {
        "passed" => assert!(decided.is_empty(), "{name}: {history:?}"),
        "rejected" => {
            assert_eq!(
                serde_json::json!(decided),
                serde_json::json!([vector["kept"]["command"]]),
                "{name}"
            );
            assert_eq!(malformed.collect::<Vec<_>>(), [(true, true)], "{name}: {history:?}");
        }
        "command" => {
            assert_eq!(decided.len(), 1, "{name}: {history:?}");
            assert!(malformed.into_iter().all(|(malformed, _)| !malformed), "{name}: {history:?}");
        }
        other => panic!("no such verdict: {other}"),
    }
}

fn record(json: &Value) -> Record {
    let headers = json["headers"].as_array().unwrap().iter();
    Record {
        key: json.get("key").map(bytes),
        value: json.get("value").map(bytes),
        headers: headers
            .map(|pair| Header::new(pair[0].as_str().unwrap().to_owned(), bytes(&pair[1])))
            .collect(),
    }
}

/// A string's UTF-8, or `{"hex": "..."}`.
fn bytes(json: &Value) -> Vec<u8> {
    let hex = |digits: &str| {
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect()
    };
    json.as_str()
        .map_or_else(|| hex(json["hex"].as_str().unwrap()), |text| text.as_bytes().to_vec())
}
