//! Runs the vectors of what an owner makes of a record in `commands` (`vectors/README.md`) through
//! the codec: everything that can be said without a schema.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a malformed vector must fail the test")]

#[expect(dead_code, reason = "these vectors are one file")]
#[path = "vectors/reading.rs"]
mod reading;
#[path = "vectors/said.rs"]
mod said;

use std::{collections::BTreeSet, path::Path};

use highwater_protocol::{
    command_queue::{Unread, decode},
    entry::Origin,
    partition::partition_of,
    wire::Wire,
};
use serde_json::{Value, json};

#[test]
fn every_record_of_the_command_queue_is_read_as_its_vector_says() {
    for vector in vectors() {
        let name = vector["name"].as_str().unwrap();
        let here = |aggregate: uuid::Uuid| {
            let partitions = u32::try_from(vector["partitions"].as_u64().unwrap()).unwrap();
            u64::from(partition_of(aggregate.to_string().as_bytes(), partitions))
                == vector["partition"].as_u64().unwrap()
        };
        let rule = match decode(said::record(&vector)) {
            Err(Unread::Newer { .. }) => 1,
            Err(Unread::Undecodable { origin: Some(origin), .. }) if here(origin.aggregate) => {
                assert_eq!(kept(&origin), vector["kept"], "{name}");
                3
            }
            Err(Unread::Undecodable { .. }) => 2,
            Ok(command) if !here(command.aggregate) => 2,
            Ok(command) => {
                let schema = json!(format!("{}.v{}", command.name, command.version));
                if vector["knows"].as_array().unwrap().contains(&schema) { 5 } else { 4 }
            }
        };
        // What the body is worth says its schema, which the codec does not know.
        assert_eq!(rule, vector["rule"].as_u64().unwrap_or(5), "{name}: {}", vector["why"]);
    }
}

#[test]
fn the_vectors_cover_every_rule_and_each_verdict_follows_from_its_rule() {
    let (mut rules, mut names) = (BTreeSet::new(), BTreeSet::new());
    for vector in vectors() {
        let rule = vector["rule"].as_u64();
        let verdict = match rule {
            Some(1 | 4) => "stops",
            Some(2) => "passed",
            Some(3 | 5) => "rejected",
            None => "command",
            Some(other) => panic!("no such rule: {other}"),
        };
        assert_eq!(vector["verdict"], verdict, "{}", vector["name"]);
        assert!(names.insert(vector["name"].to_string()), "{} is there twice", vector["name"]);
        rules.insert(rule);
    }
    assert_eq!(rules, BTreeSet::from([None, Some(1), Some(2), Some(3), Some(4), Some(5)]));
}

/// What an outcome says of a record that cannot be decoded.
fn kept(origin: &Origin<Wire>) -> Value {
    let hmac: String = origin.fingerprint.hmac.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(origin.meta.causation, origin.command);
    json!({
        "aggregate": origin.aggregate, "command": origin.command, "actor": origin.meta.actor,
        "correlation": origin.meta.correlation,
        "fingerprint": {"key_number": origin.fingerprint.key_number, "hmac": hmac},
    })
}

fn vectors() -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/command-queue-verdicts.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}
