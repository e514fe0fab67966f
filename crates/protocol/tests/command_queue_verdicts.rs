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
    command_queue::{DecodeError, decode},
    entry::CommandMetadata,
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
            Err(DecodeError::Newer { .. }) => 1,
            Err(DecodeError::Undecodable { metadata: Some(metadata), .. })
                if here(metadata.aggregate) =>
            {
                assert_eq!(kept(&metadata), vector["kept"], "{name}");
                3
            }
            Err(DecodeError::Undecodable { .. }) => 2,
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
fn kept(metadata: &CommandMetadata<Wire>) -> Value {
    let hmac: String = metadata.fingerprint.hmac.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(metadata.meta.causation, metadata.command);
    json!({
        "aggregate": metadata.aggregate, "command": metadata.command, "actor": metadata.meta.actor,
        "correlation": metadata.meta.correlation,
        "fingerprint": {"key_number": metadata.fingerprint.key_number, "hmac": hmac},
    })
}

fn vectors() -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/command-queue-verdicts.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}
