//! The schemas of commands and the types behind them accept the same bodies, but for what a schema
//! cannot say.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets what it does not expect has failed"
)]

use std::{fs, path::PathBuf, sync::LazyLock};

use events::{order::OrderCommand, product::ProductCommand, stock::StockCommand};
use highwater::{Command, FieldError, category, contracts, protocol::time::Micros};
use jsonschema::Validator;
use proptest::{prelude::*, sample::Index};
use serde_json::{Map, Value, json};

/// 2026-11-22T21:34:24Z
const NOW: Micros = Micros(1_795_383_264_000_000);
/// Sums over lines, and times that do not exist or are too far ahead.
const BEYOND_SCHEMAS: [&str; 2] = ["/lines", "/placed_at"];

struct Contract {
    stem: String,
    schema: Value,
    validator: Validator,
    samples: Vec<Value>,
}

static CONTRACTS: LazyLock<Vec<Contract>> =
    LazyLock::new(|| contracts::commands(&store::categories()).iter().map(contract).collect());

fn contract(contract: &category::Contract) -> Contract {
    let text = contract.schema.to_value();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../schemas/samples/commands")
        .join(&contract.stem);
    let read = |entry: std::io::Result<fs::DirEntry>| {
        serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap()
    };
    let samples = fs::read_dir(folder).unwrap().map(read).collect();
    // Formats are asserted, as the server does.
    let validator = jsonschema::options().should_validate_formats(true).build(&text).unwrap();
    Contract { stem: contract.stem.clone(), validator, schema: text, samples }
}

fn parse(stem: &str, body: &Value) -> Result<(), Vec<FieldError>> {
    let mut parts = stem.split('.');
    let (category, name) = (parts.next().unwrap(), parts.next().unwrap());
    let version = parts.next().unwrap().trim_start_matches('v').parse().unwrap();
    let categories = store::categories();
    let category = categories.iter().find(|other| other.name == category).unwrap();
    category.check(name, version, body, NOW)
}

fn place() -> Value {
    let line = json!({
        "product_id": "5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a01", "department": "A", "quantity": 1,
        "unit_price_minor": 5,
    });
    json!({
        "customer_id": "0b8d2c3e-9a41-5f2b-8c77-3d1e5a9b7c10", "currency": "USD", "lines": [line],
    })
}

#[track_caller]
fn assert_refused(stem: &str, body: &Value, pointers: &[&str]) {
    let found = parse(stem, body).expect_err("it was accepted");
    let found: Vec<&str> = found.iter().map(|invalid| invalid.pointer.as_str()).collect();
    assert_eq!(found, pointers, "{stem} {body}");
}

#[test]
fn every_sample_parses() {
    for contract in CONTRACTS.iter() {
        for sample in &contract.samples {
            assert!(
                contract.validator.is_valid(sample) && parse(&contract.stem, sample).is_ok(),
                "{} {sample}",
                contract.stem
            );
        }
    }
}

#[test]
fn a_required_field_that_is_missing_and_an_unknown_one_are_refused_by_both() {
    for contract in CONTRACTS.iter() {
        let required = contract.schema["required"].as_array().cloned().unwrap_or_default();
        for sample in &contract.samples {
            for field in required.iter().filter_map(Value::as_str) {
                let mut without = sample.clone();
                without.as_object_mut().unwrap().remove(field);
                assert!(
                    !contract.validator.is_valid(&without),
                    "{} without {field}",
                    contract.stem
                );
                assert_refused(&contract.stem, &without, &[&format!("/{field}")]);
            }
            let mut with = sample.clone();
            with["a/b~c"] = json!(1);
            assert!(!contract.validator.is_valid(&with), "{} with an unknown field", contract.stem);
            assert_refused(&contract.stem, &with, &["/a~1b~0c"]);
        }
    }
}

#[test]
fn every_schema_says_how_its_command_is_called() {
    for contract in CONTRACTS.iter() {
        let says = contract.schema["x-highwater"].as_object().unwrap();
        assert!(
            ["required", "optional"].contains(&says["expectedVersion"].as_str().unwrap()),
            "{}",
            contract.stem
        );
        let creates = says["creates"].as_bool().unwrap();
        assert_eq!(
            contract.schema["properties"].get("id").is_some(),
            creates,
            "{}: a create takes an optional id",
            contract.stem
        );
        let (category, codes) =
            (contract.stem.split('.').next().unwrap(), says["codes"].as_array().unwrap());
        let own = |code: &Value| code.as_str().unwrap().starts_with(&format!("{category}."));
        assert!(codes.iter().all(own), "{}", contract.stem);
        assert_eq!(says.len(), 3, "{}", contract.stem);
        assert_eq!(contract.schema["additionalProperties"], false, "{}", contract.stem);
    }
}

#[test]
fn only_these_commands_require_an_expected_version() {
    let required = CONTRACTS
        .iter()
        .filter(|contract| contract.schema["x-highwater"]["expectedVersion"] == "required");
    assert_eq!(
        required.map(|contract| contract.stem.as_str()).collect::<Vec<_>>(),
        ["order.cancel.v1", "order.ship.v1", "order.return.v1"]
    );
}

#[test]
fn an_order_is_confirmed_at_once_from_version_2_on() {
    let mut body = place();
    for (confirm, fits) in [
        (json!(true), true),
        (json!(false), true),
        (json!(null), false),
        (json!("true"), false),
        (json!(1), false),
    ] {
        body["confirm"] = confirm;
        assert_refused("order.place.v1", &body, &["/confirm"]);
        match fits {
            true => assert!(parse("order.place.v2", &body).is_ok(), "{body}"),
            false => assert_refused("order.place.v2", &body, &["/confirm"]),
        }
    }
}

#[test]
fn sums_beyond_the_bound_are_refused_at_the_lines() {
    let mut body = place();
    body["lines"][0]["unit_price_minor"] = json!(9_007_199_254_740_991_i64);
    assert!(parse("order.place.v1", &body).is_ok());
    body["lines"][0]["quantity"] = json!(2);
    assert_refused("order.place.v1", &body, &["/lines"]);
}

#[test]
fn an_order_may_be_placed_five_minutes_ahead_and_no_further() {
    let mut body = place();
    for (placed_at, fits) in [
        ("2026-11-22T21:39:24Z", true),
        ("2026-11-22T21:39:24.000000999Z", true),
        ("2026-11-22T21:39:24.000001Z", false),
        ("9999-12-31T23:59:59Z", false),
        ("0001-01-01T00:00:00Z", true),
        ("2026-02-30T00:00:00Z", false),
    ] {
        body["placed_at"] = json!(placed_at);
        match fits {
            true => assert!(parse("order.place.v1", &body).is_ok(), "{placed_at}"),
            false => assert_refused("order.place.v1", &body, &["/placed_at"]),
        }
    }
}

#[test]
fn the_schema_itself_refuses_other_zones_than_utc() {
    let contract = CONTRACTS.iter().find(|contract| contract.stem == "order.place.v1").unwrap();
    let mut body = place();
    for (placed_at, fits) in [
        ("2017-01-01T11:53:26Z", true),
        ("2017-01-01T11:53:26+00:00", true),
        ("2017-01-01T11:53:26+01:00", false),
    ] {
        body["placed_at"] = json!(placed_at);
        assert_eq!(contract.validator.is_valid(&body), fits, "{placed_at}");
    }
}

#[test]
fn findings_are_collected_and_point_into_the_body() {
    let body = json!({
        "id": "not-an-id",
        "currency": "usd",
        "lines": [
            { "product_id": "{}", "department": "", "quantity": 0, "unit_price_minor": 1.5 },
            7,
            {},
        ],
        "placed_at": "yesterday",
        "coupon": "X",
    });
    let line = |i: usize, fields: [&str; 4]| fields.map(|field| format!("/lines/{i}/{field}"));
    let fields = ["product_id", "department", "quantity", "unit_price_minor"];
    let mut pointers: Vec<String> = ["/id", "/customer_id", "/currency"].map(str::to_owned).into();
    pointers.extend(line(0, fields));
    pointers.push("/lines/1".to_owned());
    pointers.extend(line(2, fields));
    pointers.extend(["/placed_at", "/coupon"].map(str::to_owned));
    assert_refused(
        "order.place.v1",
        &body,
        &pointers.iter().map(String::as_str).collect::<Vec<_>>(),
    );
}

#[test]
fn a_finding_is_short_however_long_the_value_is() {
    let mut body = place();
    body["lines"][0]["quantity"] = json!("ü".repeat(10_000));
    let found = parse("order.place.v1", &body).expect_err("it was accepted");
    assert!(found[0].detail.chars().count() <= 200);
}

#[test]
fn more_than_500_lines_are_refused() {
    let mut body = place();
    let line = body["lines"][0].clone();
    body["lines"] = json!(vec![line.clone(); 500]);
    assert!(parse("order.place.v1", &body).is_ok());
    body["lines"] = json!(vec![line; 501]);
    assert_refused("order.place.v1", &body, &["/lines"]);
}

#[test]
fn null_clears_only_what_is_optional_in_a_description() {
    assert!(parse("product.describe.v1", &json!({ "brand": null, "description": null })).is_ok());
    assert_refused("product.describe.v1", &json!({ "name": null }), &["/name"]);
    assert_refused("order.ship.v1", &json!({ "carrier": null }), &["/carrier"]);
}

#[test]
fn unknown_commands_and_versions_are_refused() {
    for stem in [
        "order.teleport.v1",
        "order.place.v0",
        "order.place.v3",
        "order.confirm.v2",
        "product.create.v2",
        "product.confirm.v1",
        "stock.receive.v2",
        "stock.create.v1",
    ] {
        assert_refused(stem, &json!({ "quantity": 1 }), &[""]);
    }
    let now = NOW.into();
    assert!(OrderCommand::parse("teleport", 1, &json!({}), now).is_err());
    assert!(ProductCommand::parse("create", 2, &json!({}), now).is_err());
    assert!(StockCommand::parse("receive", 0, &json!({ "quantity": 1 }), now).is_err());
}

/// Values on both sides of every bound.
fn bounds() -> Vec<Value> {
    let numbers = [
        "0",
        "1",
        "-1",
        "1.0",
        "2e3",
        "0.5",
        "-0.0",
        "1e300",
        "9007199254740991",
        "9007199254740992",
        "18446744073709551615",
    ];
    let negative =
        ["-2.0", "-9007199254740991", "-9007199254740992", "-9223372036854775808", "-1e300"];
    let ids = [
        "5C1A6F0E-4b7e-5a55-9d3f-0f6f6a1f2a01",
        "5c1a6f0e4b7e5a559d3f0f6f6a1f2a01",
        "{5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a01}",
    ];
    let times = [
        "2026-11-22T21:34:24Z",
        "2026-11-22T21:34:24+01:00",
        "2016-12-31T23:59:60Z",
        "2026-02-29T00:00:00Z",
    ];
    let more_times = [
        "0000-02-29T00:00:00.123456789+00:00",
        "2026-11-22t21:34:24z",
        "2026-11-22T21:34:24.1234567890Z",
    ];
    let texts = ["", "A", "USD", "usd", "US", "USDX", "a\0b", "\0", "é", "line\nline"];
    let lengths = [99, 100, 101, 199, 200, 201, 499, 500, 501, 3999, 4000, 4001];
    let mut values: Vec<Value> =
        numbers.iter().chain(&negative).map(|text| serde_json::from_str(text).unwrap()).collect();
    values
        .extend(ids.iter().chain(&times).chain(&more_times).chain(&texts).map(|text| json!(text)));
    values.extend(lengths.map(|n| json!("ü".repeat(n))));
    values.extend([json!(null), json!(true), json!([]), json!({}), json!([{}])]);
    values
}

fn value() -> impl Strategy<Value = Value> {
    let any = (
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    );
    prop_oneof![3 => prop::sample::select(bounds()), 1 => any.0, 1 => any.1, 1 => any.2]
}

/// Any JSON, with the names of the contracts among its names.
fn anything() -> impl Strategy<Value = Value> {
    let names = vec![
        "id",
        "customer_id",
        "currency",
        "lines",
        "placed_at",
        "confirm",
        "product_id",
        "quantity",
        "name",
        "brand",
        "reason",
        "order_id",
        "delta",
    ];
    let name = prop_oneof![prop::sample::select(names).prop_map(str::to_owned), ".{0,4}"];
    value().prop_recursive(4, 64, 6, move |inner| {
        let object = prop::collection::vec((name.clone(), inner.clone()), 0..6);
        let object =
            object.prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()));
        prop_oneof![prop::collection::vec(inner, 0..6).prop_map(Value::from), object]
    })
}

/// The pointers of all values inside.
fn places(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| places(value, format!("{at}/{name}"), into))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, value)| places(value, format!("{at}/{i}"), into))
        }
        _ => {}
    }
    into.push(at);
}

fn agree(contract: &Contract, body: &Value) -> Result<(), TestCaseError> {
    let parsed = parse(&contract.stem, body);
    if !contract.validator.is_valid(body) {
        prop_assert!(parsed.is_err(), "{} parsed {body}, which its schema refuses", contract.stem);
    } else if let Err(found) = parsed {
        let beyond = found.iter().all(|invalid| BEYOND_SCHEMAS.contains(&invalid.pointer.as_str()));
        prop_assert!(
            beyond,
            "{} refused {body}, which its schema accepts: {found:?}",
            contract.stem
        );
    }
    Ok(())
}

#[test]
fn schema_and_types_agree_on_both_sides_of_every_bound() -> Result<(), TestCaseError> {
    for contract in CONTRACTS.iter() {
        let fields: Vec<&String> =
            contract.schema["properties"].as_object().unwrap().keys().collect();
        for (sample, new) in contract
            .samples
            .iter()
            .flat_map(|sample| bounds().into_iter().map(move |new| (sample, new)))
        {
            let mut pointers = Vec::new();
            places(sample, String::new(), &mut pointers);
            for pointer in &pointers {
                let mut body = sample.clone();
                *body.pointer_mut(pointer).unwrap() = new.clone();
                agree(contract, &body)?;
            }
            for field in &fields {
                let mut body = sample.clone();
                body[field.as_str()] = new.clone();
                agree(contract, &body)?;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn schema_and_types_agree_on_a_sample_with_one_value_changed(
        command in any::<Index>(),
        sample in any::<Index>(),
        place in any::<Index>(),
        new in value(),
    ) {
        let contract = command.get(&CONTRACTS);
        let mut body = sample.get(&contract.samples).clone();
        let mut pointers = Vec::new();
        places(&body, String::new(), &mut pointers);
        *body.pointer_mut(place.get::<String>(&pointers)).unwrap() = new;
        agree(contract, &body)?;
    }

    #[test]
    fn no_json_makes_parsing_panic(command in any::<Index>(), body in anything()) {
        agree(command.get(&CONTRACTS), &body)?;
    }
}
