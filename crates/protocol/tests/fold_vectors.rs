//! Runs the golden fold vectors (`vectors/README.md`) through codec and fold.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a malformed vector must fail the test")]

#[path = "vectors/reading.rs"]
mod reading;
#[path = "vectors/said.rs"]
mod said;

use std::collections::BTreeSet;

use highwater_protocol::{
    entry::Body,
    fold::{Effect, Fold, Void},
    position::Position,
    record::Record,
    wire::{Wire, decode},
};
use serde_json::{Value, json};

/// What one record did, in the words of the vectors.
#[derive(Debug, PartialEq)]
struct Seen {
    verdict: &'static str,
    commit: Option<(u64, u64)>,
    position: Value,
}

#[test]
fn every_vector_folds_as_it_says() {
    for (name, records, expected) in vectors() {
        let mut fold = Fold::new();
        for (offset, (record, expected)) in records.iter().zip(&expected).enumerate() {
            assert_eq!(
                &step(&mut fold, offset as u64, record),
                expected,
                "{name}, offset {offset}"
            );
        }
    }
}

#[test]
fn every_vector_resumes_at_every_position_that_it_states() {
    let mut resumed_inside_a_commit = 0;
    for (name, records, expected) in vectors() {
        let mut whole = Fold::new();
        for (offset, record) in records.iter().enumerate() {
            step(&mut whole, offset as u64, record);
            let from = whole.position().clone();
            resumed_inside_a_commit += u32::from(from.offset <= offset as u64);
            let mut fold = Fold::resume(from.clone());
            for at in usize::try_from(from.offset).unwrap()..records.len() {
                assert_eq!(
                    step(&mut fold, at as u64, &records[at]),
                    expected[at],
                    "{name}, from {}, offset {at}",
                    from.offset
                );
            }
        }
    }
    assert!(resumed_inside_a_commit > 0, "no vector stands inside a commit");
}

#[test]
fn the_vectors_cover_every_verdict() {
    let all = vectors();
    assert!(all.len() >= 40, "{} vectors", all.len());
    let seen: BTreeSet<&str> =
        all.iter().flat_map(|(_, _, expected)| expected.iter().map(|e| e.verdict)).collect();
    assert_eq!(seen, BTreeSet::from(VERDICTS));
    let names: BTreeSet<&String> = all.iter().map(|(name, _, _)| name).collect();
    assert_eq!(names.len(), all.len(), "a name is there twice");
}

const VERDICTS: [&str; 12] = [
    "void:undecodable",
    "void:sealed",
    "void:stale-fence",
    "void:unexpected",
    "fence",
    "barrier",
    "sealed",
    "unknown",
    "outcome",
    "opened",
    "ineffective",
    "commit",
];

fn step(fold: &mut Fold<Wire>, offset: u64, record: &Record) -> Seen {
    let entry = decode(record.clone());
    let outcome = entry.as_ref().is_ok_and(|entry| matches!(entry.body, Body::Outcome(_)));
    let effect = fold.apply(offset, entry).unwrap();
    assert!(outcome || !matches!(effect, Effect::Outcome(_)), "an outcome out of another record");
    let (verdict, commit) = match effect {
        Effect::Void(Void::Undecodable(_)) => ("void:undecodable", None),
        Effect::Void(Void::Sealed) => ("void:sealed", None),
        Effect::Void(Void::StaleFence) => ("void:stale-fence", None),
        Effect::Void(Void::Unexpected) => ("void:unexpected", None),
        Effect::Fence { .. } => ("fence", None),
        Effect::Barrier => ("barrier", None),
        Effect::Sealed => ("sealed", None),
        Effect::Unknown => ("unknown", None),
        Effect::Outcome(_) => ("outcome", None),
        Effect::Opened => ("opened", None),
        Effect::Ineffective => ("ineffective", None),
        Effect::Commit(commit) => {
            assert_eq!(commit.events.len(), commit.events[0].part.of as usize, "a commit is whole");
            ("commit", Some((commit.first, commit.end)))
        }
    };
    Seen { verdict, commit, position: position(fold.position()) }
}

fn position(at: &Position<Wire>) -> Value {
    let id = |id: uuid::Uuid| id.hyphenated().to_string();
    json!({
        "identity": at.identity.map(id),
        "offset": at.offset,
        "epoch": at.epoch,
        "writer": at.writer.map(id),
        "next_seq": at.next_seq,
        "drained": at.drained,
        "sealed": at.sealed,
        "last_time": at.last_time.map(highwater_protocol::time::Micros::to_text),
        "witness": at.witness.as_ref().map(|w| {
            json!({"offset": w.offset, "epoch": w.epoch, "writer": id(w.writer), "seq": w.seq})
        }),
    })
}

type Vector = (String, Vec<Record>, Vec<Seen>);

fn vectors() -> Vec<Vector> {
    let mut all = Vec::new();
    for file in reading::files("fold", "json") {
        let parsed: Vec<Value> = serde_json::from_slice(&std::fs::read(&file).unwrap())
            .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        all.extend(parsed.iter().map(vector));
    }
    all
}

fn vector(vector: &Value) -> Vector {
    let records = vector["records"].as_array().unwrap();
    let name = vector["name"].as_str().unwrap().to_owned();
    (name, records.iter().map(said::record).collect(), records.iter().map(expected).collect())
}

fn expected(record: &Value) -> Seen {
    let verdict = record["verdict"].as_str().unwrap();
    let verdict = VERDICTS
        .into_iter()
        .find(|known| *known == verdict)
        .unwrap_or_else(|| panic!("no such verdict: {verdict}"));
    let commit = record["first"].as_u64().zip(record["end"].as_u64());
    Seen { verdict, commit, position: record["position"].clone() }
}
