use serde_json::json;

use super::*;

fn thing() -> Result<Validator, Error> {
    Validator::new(
        r#"{
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "required": ["name"],
            "properties": {
                "name": {
                    "type": "string", "minLength": 1, "maxLength": 5, "pattern": "^[^\\u0000]*$" },
                "size": { "type": "integer", "minimum": 1, "maximum": 100 },
                "id": { "type": "string", "format": "uuid" },
                "kind": { "enum": ["round", "flat"] },
                "parts": { "type": "array", "maxItems": 30, "items": {
                    "type": "object", "additionalProperties": false, "required": ["n"],
                    "properties": { "n": { "type": "integer" } } } }
            }
        }"#,
    )
}

fn pointers(value: &Value) -> Vec<String> {
    let errors =
        thing().map(|thing| thing.validate(value)).unwrap_or(Ok(())).err().unwrap_or_default();
    errors.into_iter().filter_map(|error| error.pointer).collect()
}

#[test]
fn what_follows_the_schema_passes() -> Result<(), Error> {
    let value = json!({
        "name": "a", "size": 100, "id": "0190b0a0-0000-7000-8000-000000000000", "kind": "flat",
        "parts": [{ "n": 1 }],
    });
    assert_eq!(thing()?.validate(&value), Ok(()));
    Ok(())
}

#[test]
fn pointers_point_at_the_offending_member() {
    let cases = [
        (json!({}), vec!["/name"]),
        (json!({ "name": "a", "colour": 1 }), vec!["/colour"]),
        (json!({ "name": "a", "b/c~d": 1 }), vec!["/b~1c~0d"]),
        (json!({ "name": 1 }), vec!["/name"]),
        (json!({ "name": "toolong" }), vec!["/name"]),
        (json!({ "name": "a\u{0}" }), vec!["/name"]),
        (json!({ "name": "a", "size": 0 }), vec!["/size"]),
        (json!({ "name": "a", "size": 1e20 }), vec!["/size"]),
        (json!({ "name": "a", "size": u64::MAX }), vec!["/size"]),
        (json!({ "name": "a", "size": "1" }), vec!["/size"]),
        (json!({ "name": "a", "id": "no" }), vec!["/id"]),
        (json!({ "name": "a", "kind": "square" }), vec!["/kind"]),
        (
            json!({ "name": "a", "parts": [{ "n": 1 }, { "m": 1, "n": 2 }, {}, 5] }),
            vec!["/parts/1/m", "/parts/2/n", "/parts/3"],
        ),
        (json!([]), vec![""]),
        (json!(null), vec![""]),
    ];
    for (value, expected) in cases {
        let mut found = pointers(&value);
        found.sort();
        assert_eq!(found, expected, "{value}");
    }
}

#[test]
fn the_number_of_errors_is_bounded() {
    let many: serde_json::Map<String, Value> =
        (0..500).map(|n| (format!("x{n}"), json!(1))).collect();
    assert_eq!(pointers(&Value::Object(many)).len(), MAX_ERRORS);
    let parts: Vec<Value> = (0..200).map(|_| json!({})).collect();
    assert_eq!(pointers(&json!({ "name": "a", "parts": parts })), ["/parts"]);
    let parts: Vec<Value> = (0..30).map(|_| json!({})).collect();
    assert_eq!(pointers(&json!({ "name": "a", "parts": parts })).len(), MAX_ERRORS);
}

#[test]
fn an_array_that_is_too_long_is_refused_for_that_alone() -> Result<(), Error> {
    let parts = |count: usize| json!({ "unknown": 1, "parts": vec![json!({}); count] });
    let found = thing()?.validate(&parts(31)).err().unwrap_or_default();
    assert_eq!(found, [FieldError::pointer("/parts", "the value has more than 30 items")]);
    assert_eq!(
        found[0].detail,
        by_the_library(r#"{"maxItems": 30}"#, &json!(vec![1; 31]))?,
        "the same words"
    );
    assert_eq!(pointers(&parts(1)).len(), 3);
    let nested = Validator::new(
        r#"{"items": {"items": {"maxItems": 1}}, "properties": {"a/b": {"maxItems": 0}}}"#,
    )?;
    let pointer = |value: &Value| {
        nested
            .validate(value)
            .err()
            .unwrap_or_default()
            .into_iter()
            .filter_map(|error| error.pointer)
            .collect::<Vec<_>>()
    };
    assert_eq!(pointer(&json!([[[1]], [[1], [1, 2]]])), ["/1/1"]);
    assert_eq!(pointer(&json!({ "a/b": [1] })), ["/a~1b"]);
    assert_eq!(pointer(&json!(vec![json!([[1, 2]]); 50])).len(), MAX_ERRORS);
    // Below `not` it means something else.
    assert_eq!(Validator::new(r#"{"not": {"maxItems": 1}}"#)?.validate(&json!([1, 2])), Ok(()));
    Ok(())
}

fn by_the_library(schema: &str, value: &Value) -> Result<String, Error> {
    let compiled = Validator::new(schema)?.compiled;
    Ok(compiled
        .iter_errors(value)
        .map(|error| error.masked_with("the value").to_string())
        .collect())
}

#[test]
fn an_error_never_shows_much_of_the_value() -> Result<(), Error> {
    let long = "secret".repeat(1_000);
    let values = [
        json!({ "name": long }),
        json!({ "name": "a", "size": long }),
        json!({ "name": "a", "kind": long }),
        json!({ "name": "a", "id": long }),
        json!({ "name": "a", (long.clone()): 1 }),
        json!({ "name": "a", "parts": [{ "n": 1, (long.clone()): 1 }] }),
    ];
    for value in values {
        let errors = thing()?.validate(&value).err().unwrap_or_default();
        assert!(!errors.is_empty());
        for error in errors {
            let shown = format!("{error:?}");
            assert!(shown.matches("secret").count() <= 17, "{shown}");
        }
    }
    Ok(())
}

#[test]
fn a_schema_that_is_none_is_refused() {
    assert!(matches!(Validator::new("{"), Err(Error::NotJson { .. })));
    assert!(matches!(Validator::new(r#"{"type": "nonsense"}"#), Err(Error::NotASchema { .. })));
}

#[test]
fn a_known_form_is_said_in_words_and_once() -> Result<(), Error> {
    let time = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|\\\\+00:00)$";
    let text = format!(
        r#"{{ "items": {{ "properties": {{
            "at": {{ "type": "string", "format": "date-time", "pattern": "{time}" }},
            "id": {{ "type": "string", "format": "uuid", "pattern": "^[0-9a-f-]{{36}}$" }},
            "currency": {{ "type": "string", "pattern": "^[A-Z]{{3}}$" }},
            "name": {{ "type": "string", "pattern": "^[^\\u0000]*$" }},
            "code": {{ "type": "string", "pattern": "^c[0-9]$" }} }} }} }}"#
    );
    let schema = Validator::new(&text)?;
    for (value, said) in [
        (json!({ "at": "2026-01-02T03:04:05+02:00" }), "must be a time in UTC, like 2026-01-02T"),
        (json!({ "at": "yesterday" }), "must be a time in UTC, like 2026-01-02T03:04:05Z"),
        (json!({ "at": "2026-02-30T03:04:05Z" }), "must be a time in UTC, like 2026-01-02T03:04"),
        (json!({ "id": "no" }), "must be a UUID, like 018f3c9e-5b5e-7c3a-9d0e-1f6a2b3c4d5e"),
        (json!({ "currency": "eur" }), "must be three letters from A to Z, like EUR"),
        (json!({ "name": "a\u{0}" }), "must be text without NUL"),
        (json!({ "code": "d1" }), "the value does not match \"^c[0-9]$\""),
    ] {
        let found = schema.validate(&json!([value])).err().unwrap_or_default();
        assert!(matches!(&found[..], [one] if one.detail.starts_with(said)), "{found:?}");
    }
    Ok(())
}
