//! Holds the codec to the golden records (`vectors/README.md`), byte for byte in both directions.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a malformed vector must fail the test")]

#[path = "vectors/container.rs"]
mod container;
#[path = "vectors/expectation.rs"]
mod expectation;
#[path = "vectors/reading.rs"]
mod reading;

use std::path::{Path, PathBuf};

use highwater_protocol::{
    record::Record,
    wire::{decode, encode},
};
use serde_json::Value;

#[test]
fn every_expectation_encodes_to_its_record() {
    for path in reading::files("records", "json") {
        let (entry, source, event_id) = expectation::entry(&json(&path));
        let encoded = container::pack(&encode(&entry, &source, event_id));
        let golden = path.with_extension("bin");
        if std::env::var_os("HIGHWATER_BLESS").is_some() {
            bless(&golden, &encoded);
            continue;
        }
        assert_eq!(std::fs::read(&golden).unwrap(), encoded, "{}", golden.display());
    }
    assert!(
        std::env::var_os("HIGHWATER_BLESS").is_none(),
        "a run that writes golden records does not pass"
    );
}

#[test]
fn every_record_decodes_to_its_expectation() {
    for path in reading::files("records", "bin") {
        let record = golden(&path);
        let source =
            record.header("ce_source").map(|source| String::from_utf8(source.to_vec()).unwrap());
        let entry = decode(record).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(
            expectation::of(&entry, source.as_deref()),
            json(&path.with_extension("json")),
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_reader_accepts_headers_in_any_sequence() {
    for path in reading::files("records", "bin") {
        let record = golden(&path);
        let mut reversed = record.clone();
        reversed.headers.reverse();
        assert_eq!(decode(reversed), decode(record), "{}", path.display());
    }
}

#[test]
fn every_shape_has_its_record() {
    let stems = |extension: &str| {
        reading::files("records", extension)
            .into_iter()
            .map(|path| path.with_extension(""))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        stems("bin"),
        stems("json"),
        "each record has an expectation, and the other way round"
    );
    let all: Vec<Value> = reading::files("records", "json").iter().map(json).collect();
    for kind in ["event", "rejected", "unchanged", "fence", "barrier", "sealed"] {
        assert!(all.iter().any(|e| e["kind"] == kind), "no {kind}");
    }
    for optional in ["/drained", "/source", "/event/traceparent"] {
        let is_null = |e: &&Value| e["kind"] == "event" && e.pointer(optional).unwrap().is_null();
        assert!(all.iter().any(|e| is_null(&e)), "no event without {optional}");
        assert!(
            all.iter().any(|e| e["kind"] == "event" && !is_null(&e)),
            "no event with {optional}"
        );
    }
    assert!(
        all.iter().any(|e| e["commit"] == "1/1") && all.iter().any(|e| e["commit"] == "2/2"),
        "events alone and of a commit"
    );
}

/// Writes a golden record that is not there yet; one that exists and differs stays as it is.
fn bless(golden: &Path, encoded: &[u8]) {
    match std::fs::read(golden) {
        Ok(existing) => assert_eq!(
            existing,
            encoded,
            "{} exists and differs: published records do not change",
            golden.display()
        ),
        Err(_) => std::fs::write(golden, encoded).unwrap(),
    }
}

fn json(path: &PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap())
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn golden(path: &PathBuf) -> Record {
    container::unpack(&std::fs::read(path).unwrap())
        .unwrap_or_else(|| panic!("{}: not in the container's form", path.display()))
}
