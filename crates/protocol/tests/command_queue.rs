//! The record of the command queue: golden bytes, each defect named, every command back as it
//! was, no bytes that panic.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a malformed vector must fail the test")]

#[path = "vectors/container.rs"]
mod container;
#[path = "vectors/reading.rs"]
mod reading;

use std::path::PathBuf;

use highwater_protocol::{
    command_queue::{AcceptedCommand, DecodeError, decode, encode},
    record::{Header, Record},
    time::Micros,
    wire::{Defect, Fingerprint},
    writer::Expected,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};
use uuid::Uuid;

#[test]
fn every_expectation_encodes_to_its_record() {
    let blessing = std::env::var_os("HIGHWATER_BLESS").is_some();
    for path in reading::files("command-queue", "json") {
        let encoded = container::pack(&encode(&accepted(&json(&path))));
        let golden = path.with_extension("bin");
        match std::fs::read(&golden) {
            Ok(existing) => assert_eq!(
                existing,
                encoded,
                "{}: published records do not change",
                golden.display()
            ),
            Err(_) if blessing => std::fs::write(&golden, encoded).unwrap(),
            Err(error) => panic!("{}: {error}", golden.display()),
        }
    }
    assert!(!blessing, "a run that writes golden records does not pass");
}

#[test]
fn every_record_decodes_to_its_expectation() {
    let files = reading::files("command-queue", "bin");
    assert!(files.len() >= 8, "only {} golden records of the command queue", files.len());
    for path in files {
        let record = golden(&path);
        let command = decode(record.clone()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(expectation(&command), json(&path.with_extension("json")), "{}", path.display());
        let mut reversed = record;
        reversed.headers.reverse();
        assert_eq!(decode(reversed), Ok(command), "headers in any sequence: {}", path.display());
    }
}

/// Demanded, with a value that is not in its encoding.
const DEMANDED: [(&str, &str); 8] = [
    ("hw-kind", "Command"),
    ("hw-command", "me"),
    ("hw-schema", "note.write.v0"),
    ("hw-fingerprint", "f"),
    ("hw-key", "mine"),
    ("hw-actor", "a"),
    ("hw-correlation", "c"),
    ("hw-deadline", "tomorrow"),
];

/// Optional, with values that are not in their encoding.
const OPTIONAL: [(&str, &str); 6] = [
    ("hw-expected", ""),
    ("hw-expected", "7, 9"),
    ("hw-expected", "07"),
    ("hw-scopes", ""),
    ("hw-scopes", "a  b"),
    ("hw-scopes", "a\"b"),
];

#[test]
fn a_defect_names_its_header() {
    for (name, wrong) in DEMANDED {
        let mut missing = plain();
        missing.headers.retain(|header| header.name != name);
        assert_eq!(defect(missing), Defect::Missing(name));
        let mut twice = plain();
        twice.headers.push(Header::new(name, plain().header(name).unwrap()));
        assert_eq!(defect(twice), Defect::Repeated(name));
        let mut malformed = plain();
        malformed.headers.iter_mut().find(|header| header.name == name).unwrap().value =
            wrong.into();
        assert_eq!(defect(malformed), Defect::Malformed(name));
    }
    for (name, wrong) in OPTIONAL {
        let mut malformed = plain();
        malformed.headers.push(Header::new(name, wrong));
        assert_eq!(defect(malformed), Defect::Malformed(name), "{wrong:?}");
    }
    for stem in ["note.write", ".v1", "note.write.v01", "note.write.v4294967296", "note.write.v"] {
        let mut malformed = plain();
        malformed.headers.iter_mut().find(|header| header.name == "hw-schema").unwrap().value =
            stem.into();
        assert_eq!(defect(malformed), Defect::Malformed("hw-schema"), "{stem}");
    }
    assert_eq!(defect(Record { key: None, ..plain() }), Defect::Key);
    assert_eq!(defect(Record { value: None, ..plain() }), Defect::Value);
}

#[test]
fn more_versions_than_the_format_takes_are_a_defect() {
    let mut record = plain();
    record.headers.push(Header::new("hw-expected", vec!["1"; 257].join(",")));
    assert_eq!(defect(record), Defect::Malformed("hw-expected"));
}

#[test]
fn a_kind_that_this_release_does_not_know_is_newer_and_no_defect() {
    let mut record = plain();
    record.headers[0].value = b"cancellation".into();
    assert_eq!(decode(record), Err(DecodeError::Newer { kind: "cancellation".to_owned() }));
}

#[test]
fn an_undecodable_record_keeps_what_an_outcome_needs() {
    let metadata = |record| match decode(record) {
        Err(DecodeError::Undecodable { metadata, .. }) => metadata,
        other => panic!("{other:?}"),
    };
    let without = |name: &str| {
        let mut record = plain();
        record.headers.retain(|header| header.name != name);
        record
    };
    let whole = decode(plain()).unwrap();
    let kept = metadata(without("hw-deadline")).unwrap();
    assert_eq!(
        (kept.aggregate, kept.command, &kept.fingerprint),
        (whole.aggregate, whole.command, &whole.fingerprint)
    );
    assert_eq!(
        (kept.meta.actor, kept.meta.correlation, kept.meta.causation),
        (whole.actor, whole.correlation, whole.command)
    );
    let zeros = Fingerprint { key_number: 0, hmac: [0; 32] };
    assert_eq!(metadata(without("hw-fingerprint")).unwrap().fingerprint, zeros);
    assert_eq!(metadata(without("hw-actor")).unwrap().meta.actor, Uuid::nil());
    assert_eq!(metadata(without("hw-command")), None);
    assert_eq!(metadata(Record { key: Some(b"somewhere".to_vec()), ..plain() }), None);
}

proptest! {
    #[test]
    fn every_command_comes_back_as_it_was(command in any_command()) {
        prop_assert_eq!(decode(encode(&command)), Ok(command));
    }

    #[test]
    fn arbitrary_records_never_panic(record in arbitrary_record()) {
        let _ = decode(record);
    }

    #[test]
    fn damaged_records_never_panic_and_what_still_decodes_has_one_encoding(
        command in any_command(),
        at in any::<Index>(),
        bytes in vec(any::<u8>(), 0..20),
        drop in any::<bool>(),
    ) {
        let mut record = encode(&command);
        let at = at.index(record.headers.len());
        if drop { record.headers.remove(at); } else { record.headers[at].value = bytes.into(); }
        if let Ok(read) = decode(record.clone()) {
            let again = encode(&read);
            prop_assert_eq!(decode(again.clone()), Ok(read));
            for (name, _) in DEMANDED {
                prop_assert_eq!(again.header(name), record.header(name), "{}", name);
            }
        }
    }
}

fn any_command() -> impl Strategy<Value = AcceptedCommand> {
    let id = || any::<u128>().prop_map(Uuid::from_u128);
    let largest = i64::MAX.unsigned_abs();
    let expected = prop_oneof![
        Just(Expected::Anything),
        Just(Expected::Exists),
        vec(prop_oneof![0..100_u64, Just(largest)], 1..=256).prop_map(Expected::OneOf)
    ];
    let fingerprint = (any::<u16>(), prop::array::uniform32(any::<u8>()))
        .prop_map(|(key_number, hmac)| Fingerprint { key_number, hmac });
    let deadline = (-62_167_219_200_000_000_i64..=253_402_300_799_999_999).prop_map(Micros);
    let trace = prop::option::of("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}");
    let named = ("[a-z.]{1,20}", 1..=u32::MAX, vec("[!-\\[]{1,8}", 0..4));
    let scopes_are_tokens = named.prop_map(|(name, version, scopes)| {
        let scopes = scopes.into_iter().map(|scope| scope.replace('"', "!")).collect::<Vec<_>>();
        (name, version, scopes)
    });
    (
        (id(), id(), id(), id()),
        scopes_are_tokens,
        fingerprint,
        any::<bool>(),
        expected,
        deadline,
        trace,
        vec(any::<u8>(), 0..50),
    )
        .prop_map(
            |(
                (aggregate, command, actor, correlation),
                (name, version, scopes),
                fingerprint,
                caller_key,
                expected,
                deadline,
                traceparent,
                body,
            )| {
                AcceptedCommand {
                    aggregate,
                    command,
                    name,
                    version,
                    fingerprint,
                    caller_key,
                    expected,
                    actor,
                    scopes,
                    deadline,
                    correlation,
                    traceparent,
                    body,
                }
            },
        )
}

fn arbitrary_record() -> impl Strategy<Value = Record> {
    let bytes = || vec(any::<u8>(), 0..40);
    let names: Vec<_> =
        DEMANDED.iter().chain(&OPTIONAL).map(|(name, _)| (*name).to_owned()).collect();
    let value = prop_oneof![
        bytes(),
        "[0-9/a-z.*,-]{0,40}".prop_map(String::into_bytes),
        Just(b"command".to_vec())
    ];
    let header =
        (prop::sample::select(names), value).prop_map(|(name, value)| Header::new(name, value));
    (prop::option::of(bytes()), prop::option::of(bytes()), vec(header, 0..24))
        .prop_map(|(key, value, headers)| Record { key, value, headers })
}

fn plain() -> Record {
    golden(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/command-queue/command.bin"))
}

fn defect(record: Record) -> Defect {
    match decode(record) {
        Err(DecodeError::Undecodable { defect, .. }) => defect,
        other => panic!("{other:?}"),
    }
}

fn golden(path: &PathBuf) -> Record {
    container::unpack(&std::fs::read(path).unwrap())
        .unwrap_or_else(|| panic!("{}: not in the container's form", path.display()))
}

fn json(path: &PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap())
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn accepted(e: &Value) -> AcceptedCommand {
    let text =
        |value: &Value| value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned();
    let id = |value: &Value| Uuid::parse_str(&text(value)).unwrap();
    let fingerprint = Fingerprint {
        key_number: u16::try_from(e["fingerprint"]["key_number"].as_u64().unwrap()).unwrap(),
        hmac: reading::hex(&text(&e["fingerprint"]["hmac"])).try_into().unwrap(),
    };
    let expected = match &e["expected"] {
        Value::Null => Expected::Anything,
        Value::Array(versions) => {
            Expected::OneOf(versions.iter().map(|version| version.as_u64().unwrap()).collect())
        }
        other => {
            assert_eq!(other, "*");
            Expected::Exists
        }
    };
    AcceptedCommand {
        aggregate: id(&e["aggregate"]),
        command: id(&e["command"]),
        name: text(&e["name"]),
        version: u32::try_from(e["version"].as_u64().unwrap()).unwrap(),
        fingerprint,
        caller_key: e["caller_key"].as_bool().unwrap(),
        expected,
        actor: id(&e["actor"]),
        scopes: e["scopes"].as_array().unwrap().iter().map(text).collect(),
        deadline: Micros::from_text(text(&e["deadline"]).as_bytes()).unwrap(),
        correlation: id(&e["correlation"]),
        traceparent: e["traceparent"].as_str().map(str::to_owned),
        body: text(&e["value"]).into_bytes(),
    }
}

fn expectation(command: &AcceptedCommand) -> Value {
    let hmac: String = command.fingerprint.hmac.iter().map(|b| format!("{b:02x}")).collect();
    let expected = match &command.expected {
        Expected::Anything => Value::Null,
        Expected::Exists => json!("*"),
        Expected::OneOf(versions) => json!(versions),
    };
    json!({
        "aggregate": command.aggregate, "command": command.command, "name": command.name,
        "version": command.version,
        "fingerprint": {"key_number": command.fingerprint.key_number, "hmac": hmac},
        "caller_key": command.caller_key, "expected": expected,
        "actor": command.actor, "scopes": command.scopes, "deadline": command.deadline.to_text(),
        "correlation": command.correlation, "traceparent": command.traceparent,
        "value": String::from_utf8(command.body.clone()).unwrap(),
    })
}
