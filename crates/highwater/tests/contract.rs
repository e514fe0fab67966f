//! What stands in a contract: JSON as its schema says, every version, every finding.

#[path = "support/voucher.rs"]
mod voucher;

use highwater::{
    Category, Command as _, Event as _, FieldError, Recorded, Unreadable,
    protocol::{
        entry::{CommandMetadata, EventBody, Part},
        time::Micros,
        wire::{Fingerprint, Meta, RecordedEvent, Wire},
    },
    testing::NOW,
};
use serde_json::{Value, json};
use uuid::Uuid;
use voucher::{Kind, Voucher, VoucherCommand, VoucherEvent};

fn stored(stem: &str, data: &Value) -> RecordedEvent {
    let event_type = stem.rsplit_once(".v").map_or(stem, |(event_type, _)| event_type);
    RecordedEvent {
        event_type: event_type.to_owned().into(),
        schema: stem.to_owned().into(),
        data: data.to_string().into_bytes(),
    }
}

fn issued() -> Value {
    json!({
        "amount_minor": 5,
        "currency": "EUR",
        "parts": [{ "units": 1 }],
        "kind": "plain",
    })
}

fn read(data: &Value) -> Result<VoucherEvent, Unreadable> {
    VoucherEvent::decode(&stored("voucher.issued.v3", data))
}

#[test]
fn every_version_is_read_as_the_latest_and_written_as_it() {
    let latest = read(&issued()).expect("a version 3");
    let old = [json!({ "amount_minor": 5 }), json!({ "amount_minor": 5, "currency": "EUR" })];
    for (version, data) in (1..).zip(&old) {
        let stem = format!("voucher.issued.v{version}");
        assert_eq!(VoucherEvent::decode(&stored(&stem, data)).as_ref(), Ok(&latest), "{stem}");
    }
    let written = latest.encode();
    assert_eq!((&*written.event_type, &*written.schema), ("voucher.issued", "voucher.issued.v3"));
    let text = r#"{"amount_minor":5,"currency":"EUR","parts":[{"units":1}],"kind":"plain"}"#;
    assert_eq!(String::from_utf8(written.data).expect("JSON"), text);
}

#[test]
fn an_event_without_fields_is_an_empty_object() {
    let redeemed = stored("voucher.redeemed.v1", &json!({}));
    assert_eq!(VoucherEvent::decode(&redeemed), Ok(VoucherEvent::Redeemed));
    assert_eq!(VoucherEvent::Redeemed.encode().data, b"{}");
    let more = stored("voucher.redeemed.v1", &json!({ "by": 1 }));
    assert!(matches!(VoucherEvent::decode(&more), Err(Unreadable::Malformed { .. })));
}

#[test]
fn what_is_newer_says_so_and_all_else_is_malformed() {
    for stem in ["voucher.issued.v4", "voucher.lost.v1"] {
        let newer = Err(Unreadable::Newer { what: stem.to_owned() });
        assert_eq!(VoucherEvent::decode(&stored(stem, &json!({}))), newer);
    }
    let wrong = [
        stored("voucher.issued.v0", &issued()),
        stored("other.issued.v3", &issued()),
        stored("voucher.issued.v3", &json!([5, "EUR", null, [], "plain"])),
        stored("voucher.issued.v3", &json!({})),
    ];
    for stored in wrong {
        let read = VoucherEvent::decode(&stored);
        assert!(matches!(read, Err(Unreadable::Malformed { .. })), "{read:?}");
    }
}

#[test]
fn stored_data_is_read_strictly() {
    for (field, value) in [
        ("note", json!(null)),
        ("note", json!("longer than ten")),
        ("amount_minor", json!(-1)),
        ("parts", json!([])),
        ("parts", json!([{ "units": 51 }])),
        ("parts", json!([{ "units": 50 }, { "units": 50 }, { "units": 1 }])),
        ("parts", json!([[1]])),
        ("kind", json!("lost")),
        ("kind", json!({ "gift": "longer" })),
        ("kind", json!({ "season": { "until": "2026-11-22T21:34:24Z", "more": 1 } })),
        ("surprise", json!(1)),
    ] {
        let mut data = issued();
        data[field] = value;
        let read = read(&data);
        assert!(matches!(read, Err(Unreadable::Malformed { .. })), "{data}: {read:?}");
    }
    let twice = r#"{"amount_minor":5,"amount_minor":5,"currency":"EUR"}"#;
    let mut repeated = stored("voucher.issued.v2", &json!({}));
    repeated.data = twice.as_bytes().to_vec();
    let read = VoucherEvent::decode(&repeated);
    assert!(matches!(read, Err(Unreadable::Malformed { why, .. }) if why.contains("duplicate")));
}

#[test]
fn an_enum_is_a_name_or_an_object_with_one_name() {
    for kind in [
        json!("plain"),
        json!({ "gift": "Anna" }),
        json!({ "season": { "until": "2026-11-22T21:34:24.000000Z" } }),
    ] {
        let mut data = issued();
        data["kind"] = kind;
        let again = read(&data).expect("a kind").encode();
        assert_eq!(serde_json::from_slice::<Value>(&again.data).expect("JSON"), data);
    }
    let schema = <Kind as highwater::Data>::schema(highwater::data::Usage::Event).to_value();
    assert_eq!(schema["oneOf"][0], json!({ "type": "string", "enum": ["plain"] }));
    assert_eq!(schema["oneOf"][2]["required"], json!(["season"]));
}

fn found(name: &str, version: u32, body: &Value) -> Vec<String> {
    let read = VoucherCommand::parse(name, version, body, NOW);
    let findings = read.err().unwrap_or_default();
    findings.into_iter().map(|FieldError { pointer, .. }| pointer).collect()
}

#[test]
fn everything_that_is_wrong_with_a_body_is_said_at_once() {
    let body = json!({
        "id": "no id",
        "amount_minor": 0.5,
        "parts": [{ "units": 51 }, 7, { "units": 1, "more": 2 }],
        "note": null,
        "a/b~c": 1,
    });
    let pointers = [
        "/id",
        "/amount_minor",
        "/currency",
        "/note",
        "/parts/0/units",
        "/parts/1",
        "/parts/2/more",
        "/kind",
        "/a~1b~0c",
    ];
    assert_eq!(found("issue", 2, &body), pointers);
    assert_eq!(found("issue", 2, &json!([])), [""]);
    assert_eq!(
        found("redeem", 1, &json!({ "id": "5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a01" })),
        ["/id"]
    );
}

#[test]
fn the_type_says_what_its_schema_cannot_and_a_method_what_depends_on_the_time() {
    let mut body = issued();
    body["parts"] = json!([{ "units": 50 }, { "units": 50 }, { "units": 1 }]);
    assert_eq!(found("issue", 2, &body), ["/parts"]);
    let mut body = issued();
    body["kind"] = json!({ "season": { "until": "2026-11-22T21:34:23Z" } });
    assert_eq!(found("issue", 2, &body), ["/kind/season/until"]);
    body["kind"] = json!({ "season": { "until": "2026-11-22T21:34:24Z" } });
    assert_eq!(found("issue", 2, &body), [""; 0]);
}

#[test]
fn earlier_versions_of_a_command_are_served() {
    let body = json!({ "amount_minor": 5, "currency": "EUR" });
    let old = VoucherCommand::parse("issue", 1, &body, NOW);
    assert_eq!(old, VoucherCommand::parse("issue", 2, &issued(), NOW));
    for (name, version) in [("issue", 0), ("issue", 3), ("redeem", 2), ("look", 1)] {
        assert_eq!(found(name, version, &json!({})), [""], "{name} {version}");
    }
    assert!(VoucherCommand::parse("look-at", 1, &json!({}), NOW).is_ok());
}

#[test]
fn ids_are_in_either_case_in_a_command_and_in_lower_case_in_an_event() {
    let category = Category::of::<Voucher>("vouchers");
    let pattern = |contracts: Vec<highwater::category::Contract>, stem: &str| {
        let contract = contracts.into_iter().find(|contract| contract.stem == stem);
        let schema = contract.expect("a contract").schema.to_value();
        schema["properties"]["to"]["pattern"].as_str().unwrap_or_default().to_owned()
    };
    let command = pattern(category.command_contracts(), "voucher.give-away.v1");
    let event = pattern(category.event_contracts(), "voucher.given-away.v1");
    assert!(command.starts_with("^[0-9A-Fa-f]{8}-") && event.starts_with("^[0-9a-f]{8}-"));
}

#[test]
fn a_schema_says_how_its_command_is_called() {
    let contracts = Category::of::<Voucher>("vouchers").command_contracts();
    let says = |stem: &str| {
        let contract = contracts.iter().find(|contract| contract.stem == stem);
        contract.expect("a contract").schema.to_value()
    };
    let issue = says("voucher.issue.v2");
    let highwater = json!({
        "expectedVersion": "optional",
        "creates": true,
        "codes": ["voucher.already-exists"],
    });
    assert_eq!(issue["x-highwater"], highwater);
    let id = "The voucher's id; derived from the command's key when absent.";
    assert_eq!(issue["properties"]["id"]["description"], id);
    assert_eq!(issue["title"], "voucher.issue");
    assert_eq!(issue["description"], "A voucher was issued.");
    assert_eq!(issue["properties"]["amount_minor"]["description"], "Minor units.");
    assert_eq!(issue["required"], json!(["amount_minor", "currency", "parts", "kind"]));
    assert_eq!(issue["properties"]["parts"]["items"]["properties"]["units"]["maximum"], 50);
    let redeem = says("voucher.redeem.v1");
    assert_eq!(redeem["x-highwater"]["expectedVersion"], "required");
    assert_eq!(redeem["description"], "Uses it up.");
    assert_eq!((&redeem["properties"], &redeem["required"]), (&json!({}), &Value::Null));
    assert!(!contracts.iter().any(|contract| contract.schema.to_string().contains("$ref")));
}

#[test]
fn a_recorded_event_says_where_it_stands() {
    let body: EventBody<Wire> = EventBody {
        metadata: CommandMetadata {
            aggregate: Uuid::from_u128(7),
            command: Uuid::nil(),
            fingerprint: Fingerprint { key_number: 1, hmac: [0; 32] },
            meta: Meta::default(),
            source: None,
        },
        version: 4,
        part: Part::WHOLE,
        time: Micros(NOW.micros()),
        event: VoucherEvent::Redeemed.encode(),
    };
    let event = Recorded::<VoucherEvent>::read(&body).expect("an event").at(3, 40);
    assert_eq!(
        (&event.event, event.id, event.version),
        (&VoucherEvent::Redeemed, Uuid::from_u128(7), 4)
    );
    assert_eq!((event.time, event.partition, event.position), (Some(NOW), Some(3), Some(40)));
    let why = "cannot be event 4 of a voucher".to_owned();
    let what = "voucher.redeemed.v1".to_owned();
    assert_eq!(event.unexpected(), Unreadable::Malformed { what, why });
}
