//! What was published once must be readable for ever, and what is written now must be what the
//! schemas promise.

#[path = "support/contracts.rs"]
mod contracts;

use std::{collections::BTreeSet, fs, path::PathBuf, sync::LazyLock};

use contracts::rewritten;
use events::order::OrderEvent;
use highwater::{
    Event as _,
    category::Contract,
    protocol::{domain::Unreadable, wire::RecordedEvent},
};
use jsonschema::Validator;
use serde_json::{Value, json};

type Test = Result<(), Box<dyn std::error::Error>>;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas").join(name)
}

fn names(path: &str) -> Result<BTreeSet<String>, std::io::Error> {
    fs::read_dir(folder(path))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

static EVENTS: LazyLock<Vec<Contract>> =
    LazyLock::new(|| highwater::contracts::events(&store::categories()));

fn events() -> &'static [Contract] {
    &EVENTS
}

fn commands() -> Vec<Contract> {
    highwater::contracts::commands(&store::categories())
}

fn validator(stem: &str) -> Result<Validator, Box<dyn std::error::Error>> {
    let all = [events(), &commands()].concat();
    let contract = all.iter().find(|contract| contract.stem == stem);
    let schema = contract.ok_or_else(|| format!("no schema {stem}"))?.schema.to_value();
    Ok(jsonschema::options().should_validate_formats(false).build(&schema)?)
}

fn samples(kind: &str, stem: &str) -> Result<Vec<(String, Value)>, Box<dyn std::error::Error>> {
    let mut samples = Vec::new();
    for name in names(&format!("samples/{kind}/{stem}"))? {
        let text = fs::read_to_string(folder(&format!("samples/{kind}/{stem}/{name}")))?;
        samples.push((format!("{stem}/{name}"), serde_json::from_str(&text)?));
    }
    Ok(samples)
}

fn event(stem: &str, data: &Value) -> RecordedEvent {
    contracts::stored(stem, data.to_string().into_bytes())
}

#[test]
fn the_files_are_what_the_types_say() -> Test {
    for (kind, list) in [("events", events().to_vec()), ("commands", commands())] {
        let stems: BTreeSet<String> =
            list.iter().map(|contract| format!("{}.json", contract.stem)).collect();
        assert_eq!(stems, names(kind)?);
        assert_eq!(stems.len(), list.len(), "stems are unique");
        for contract in list {
            let text = fs::read_to_string(folder(&format!("{kind}/{}.json", contract.stem)))?;
            let published: Value = serde_json::from_str(&text)?;
            assert_eq!(contract.schema.to_value(), published, "{}", contract.stem);
            assert_eq!(contract.schema.to_string(), text, "{}", contract.stem);
            assert_eq!(published["$id"], format!("urn:highwater:schema:{}", contract.stem));
            jsonschema::meta::validate(&published)
                .map_err(|error| format!("{}: {error}", contract.stem))?;
        }
    }
    Ok(())
}

#[test]
fn every_schema_has_samples_and_every_sample_is_valid() -> Test {
    for (kind, list) in [("events", events().to_vec()), ("commands", commands())] {
        for schema in list {
            let (validator, samples) = (validator(&schema.stem)?, samples(kind, &schema.stem)?);
            assert!(!samples.is_empty(), "{} has no sample", &schema.stem);
            for (name, sample) in samples {
                validator.validate(&sample).map_err(|error| format!("{name}: {error}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn every_published_event_decodes_and_is_written_in_the_latest_version() -> Test {
    for schema in events() {
        for (name, sample) in samples("events", &schema.stem)? {
            let again = rewritten(&event(&schema.stem, &sample))
                .map_err(|error| format!("{name}: {error}"))?;
            let data: Value = serde_json::from_slice(&again.data)?;
            validator(&again.schema)?
                .validate(&data)
                .map_err(|error| format!("{name} as {}: {error}", again.schema))?;
            if again.schema == schema.stem {
                assert_eq!(data, sample, "{name}");
            }
            let mut latest = events()
                .iter()
                .filter(|other| other.stem.starts_with(&format!("{}.v", again.event_type)));
            assert_eq!(
                latest.next_back().map(|schema| schema.stem.as_str()),
                Some(again.schema.as_ref()),
                "{name} is not written in the latest version"
            );
        }
    }
    Ok(())
}

#[test]
fn placed_v1_says_the_same_as_v2() -> Test {
    let (v1, v2) = (samples("events", "order.placed.v1")?, samples("events", "order.placed.v2")?);
    assert_eq!(v1.len(), v2.len());
    for ((name, v1), (_, v2)) in v1.iter().zip(&v2) {
        assert!(v1.get("units").is_none() && v2.get("units").is_some(), "{name}");
        assert_eq!(
            OrderEvent::decode(&event("order.placed.v1", v1))?,
            OrderEvent::decode(&event("order.placed.v2", v2))?,
            "{name}"
        );
    }
    Ok(())
}

#[test]
fn a_required_field_that_is_missing_and_an_unknown_one_are_refused() -> Test {
    for schema in events() {
        let (text, validator): (Value, _) = (schema.schema.to_value(), validator(&schema.stem)?);
        for (name, sample) in samples("events", &schema.stem)? {
            let required = text["required"].as_array().cloned().unwrap_or_default();
            for field in required.iter().filter_map(Value::as_str) {
                let mut without = sample.clone();
                without.as_object_mut().ok_or("an object")?.remove(field);
                assert!(!validator.is_valid(&without), "{name} without {field}");
                assert_malformed(&event(&schema.stem, &without));
            }
            let mut with = sample.clone();
            with["surprise"] = json!(1);
            assert!(!validator.is_valid(&with), "{name} with an unknown field");
            assert_malformed(&event(&schema.stem, &with));
        }
    }
    Ok(())
}

/// The types may read more than the schemas promise, never less.
#[test]
fn whatever_keeps_its_schema_decodes() -> Test {
    let numbers = [
        json!(-1),
        json!(0),
        json!(1),
        json!(1.0),
        json!(500),
        json!(501),
        json!(9_007_199_254_740_991_i64),
        json!(9_007_199_254_740_992_i64),
    ];
    let texts = [
        "",
        "A",
        "USD",
        "a\0b",
        "0b8d2c3e-9a41-5f2b-8c77-3d1e5a9b7c10",
        "2026-11-22T21:34:24.123456Z",
        "2026-11-22T21:34:24Z",
    ];
    let lengths = [100, 101, 200, 201, 500, 501, 4000, 4001].map(|n| json!("ü".repeat(n)));
    let values = numbers.into_iter().chain(texts.map(Value::from)).chain(lengths).chain([
        json!(null),
        json!([]),
        json!({}),
    ]);
    for (new, schema) in
        values.flat_map(|new| events().iter().map(move |schema| (new.clone(), schema)))
    {
        let (text, validator): (Value, _) = (schema.schema.to_value(), validator(&schema.stem)?);
        for (name, sample) in samples("events", &schema.stem)? {
            for field in text["properties"].as_object().ok_or("properties")?.keys() {
                let mut data = sample.clone();
                data[field.as_str()] = new.clone();
                let decoded = rewritten(&event(&schema.stem, &data));
                assert!(
                    decoded.is_ok() || !validator.is_valid(&data),
                    "{name} with {field} = {new}: {decoded:?}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn null_is_not_an_absent_field() {
    let shipped = json!({ "carrier": null, "shipped_at": "2026-11-22T21:34:24.123456Z" });
    assert_malformed(&event("order.shipped.v1", &shipped));
}

#[test]
fn what_a_newer_release_published_says_so() {
    for stem in [
        "order.placed.v3",
        "order.placed.v4294967295",
        "order.gift-wrapped.v1",
        "product.created.v2",
        "product.renamed.v1",
        "stock.counted.v1",
    ] {
        let event = event(stem, &json!({}));
        assert_eq!(rewritten(&event), Err(Unreadable::Newer { what: stem.to_owned() }));
    }
}

#[test]
fn what_no_release_publishes_is_malformed() {
    let stems = [
        "order.placed.v0",
        "order.placed.v02",
        "order.placed.v+1",
        "order.placed.v",
        "order.placed.v1x",
        "order.shipped.v1",
    ];
    for stem in stems {
        let event = RecordedEvent {
            event_type: "order.placed".into(),
            schema: stem.into(),
            data: b"{}".to_vec(),
        };
        assert_malformed(&event);
    }
    assert_malformed(&event("voucher.issued.v1", &json!({})));
    assert_malformed(&RecordedEvent {
        event_type: "orders".into(),
        schema: "orders.v1".into(),
        data: Vec::new(),
    });
    for data in [
        &b"not json"[..],
        b"",
        b"[]",
        b"null",
        b"\xff",
        br#"{"confirmed_at":"2026-11-22"}"#,
        br#"["2026-11-22T21:34:24.123456Z"]"#,
    ] {
        assert_malformed(&RecordedEvent {
            event_type: "order.confirmed".into(),
            schema: "order.confirmed.v1".into(),
            data: data.to_vec(),
        });
    }
}

#[track_caller]
fn assert_malformed(event: &RecordedEvent) {
    let read = rewritten(event);
    assert!(matches!(read, Err(Unreadable::Malformed { .. })), "{event:?} was read as {read:?}");
}
