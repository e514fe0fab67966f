use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn what_is_json_is_read() {
    let text = concat!(
        r#" {"a": [1, -2, 1.5, 18446744073709551615, true, null, "x\u0000\ud83d\ude00"], "#,
        r#""b": {}, "": []} "#
    );
    let expected = json!({"a": [1, -2, 1.5, u64::MAX, true, null, "x\u{0}😀"], "b": {}, "": []});
    assert_eq!(parse(text.as_bytes()), Ok(expected));
}

#[test]
fn malformed_text_is_refused_with_its_place() {
    let cases: [(&str, usize, usize); 11] = [
        ("", 1, 0),
        ("{", 1, 1),
        ("{\"a\":\n  tru}", 2, 6),
        ("{} {}", 1, 4),
        ("[1,]", 1, 4),
        ("{'a':1}", 1, 2),
        ("[01]", 1, 3),
        ("[NaN]", 1, 2),
        ("[1e999]", 1, 6),
        ("\"\n\"", 2, 0),
        ("\u{feff}{}", 1, 1),
    ];
    for (text, line, column) in cases {
        match parse(text.as_bytes()) {
            Err(JsonError::Malformed { line: l, column: c, detail }) => {
                assert_eq!((l, c), (line, column), "{text:?}: {detail}");
                assert!(!detail.is_empty());
            }
            other => assert!(
                matches!(other, Err(JsonError::Malformed { .. })),
                "{text:?} gave {other:?}"
            ),
        }
    }
}

#[test]
fn lone_surrogates_are_refused() {
    for text in
        [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\udc00\ud800""#, r#"{"\ud800": 1}"#]
    {
        assert!(matches!(parse(text.as_bytes()), Err(JsonError::Malformed { .. })), "{text}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_place() {
    assert_eq!(parse(b"{\"a\":\"\xff\"}"), Err(JsonError::NotUtf8 { offset: 6 }));
    assert_eq!(parse(b"\xed\xa0\x80"), Err(JsonError::NotUtf8 { offset: 0 }));
}

#[test]
fn duplicate_names_are_refused_at_any_depth_by_pointer() {
    let cases = [
        (r#"{"a":1,"a":1}"#, "/a"),
        (r#"{"a":1,"\u0061":2}"#, "/a"),
        (r#"{"a":[0,{"b/c":1,"b/c":2}]}"#, "/a/1/b~1c"),
        (r#"[{},[{"~":{"x":1,"y":2,"x":3}}]]"#, "/1/0/~0/x"),
        (r#"{"":1,"":1}"#, "/"),
    ];
    for (text, pointer) in cases {
        assert_eq!(
            parse(text.as_bytes()),
            Err(JsonError::DuplicateName { pointer: pointer.to_owned() }),
            "{text}"
        );
    }
}

#[test]
fn the_same_name_in_different_objects_is_fine() {
    assert!(parse(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#).is_ok());
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert!(matches!(parse(nested(MAX_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep { .. })));
    assert!(parse(nested(100_000).as_bytes()).is_err());
    let objects = format!("{}1{}", "{\"a\":".repeat(MAX_DEPTH + 1), "}".repeat(MAX_DEPTH + 1));
    assert!(matches!(parse(objects.as_bytes()), Err(JsonError::TooDeep { .. })));
}

#[test]
fn the_number_of_values_is_bounded() {
    // The array itself is one.
    let zeros = |count: usize| format!("[{}]", vec!["0"; count].join(","));
    assert!(parse(zeros(MAX_VALUES - 1).as_bytes()).is_ok());
    let refused = |text: String, pointer: &str| {
        assert_eq!(
            parse(text.as_bytes()),
            Err(JsonError::TooManyValues { pointer: pointer.to_owned() })
        )
    };
    refused(format!("{{\"a\":[{},[]]}}", vec!["0"; MAX_VALUES].join(",")), "/a/10000");
    refused(format!("{{\"a\":[{}]}}", vec!["{\"b\":[]}"; 80_000].join(",")), "/a/5000/b");
}

#[test]
fn an_error_shows_little_of_a_long_name() {
    let name = "x".repeat(10_000);
    let text = format!("{{\"{name}\":1,\"{name}\":2}}");
    let problem = parse(text.as_bytes()).err().map(Problem::from);
    let shown = problem.map(|problem| problem.to_json(None, None).to_string()).unwrap_or_default();
    assert!(shown.contains("json.duplicate-name") && shown.len() < 700, "{shown}");
}

#[test]
fn the_canonical_form_is_that_of_rfc_8785() {
    let cases = [
        (r#"{"b":1,"a":[ 1.0, 1e2, 0.1, -0.0 ]}"#, r#"{"a":[1,100,0.1,0],"b":1}"#),
        (
            r#"{"\u20ac":1,"\r":2,"1":3,"\ud83d\ude00":4,"\ufb33":5}"#,
            "{\"\\r\":2,\"1\":3,\"€\":1,\"😀\":4,\"\u{fb33}\":5}",
        ),
        (r#"{"s":"\u000f\u000a\"\\\/é"}"#, r#"{"s":"\u000f\n\"\\/é"}"#),
    ];
    for (text, expected) in cases {
        let value = parse(text.as_bytes()).unwrap_or(Value::Null);
        assert_eq!(String::from_utf8_lossy(&canonical(&value)), expected);
    }
}

#[test]
fn large_integers_have_a_canonical_form() {
    for text in ["18446744073709551615", "-9223372036854775808", "9007199254740993", "1e300"] {
        let value = parse(text.as_bytes()).unwrap_or(Value::Null);
        assert!(!canonical(&value).is_empty(), "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn json_like_text_never_panics_and_agrees_with_a_lenient_reader(
        text in "[\\[\\]{}:,\"a0-9.eE+\\\\u\u{e9} -]{0,60}",
    ) {
        let lenient: Result<Value, _> = serde_json::from_str(&text);
        match parse(text.as_bytes()) {
            Ok(value) => prop_assert_eq!(value, lenient.unwrap_or(json!("refused"))),
            Err(JsonError::Malformed { .. }) => prop_assert!(lenient.is_err()),
            Err(_) => {}
        }
    }

    #[test]
    fn the_short_way_to_the_canonical_form_gives_the_same(
        members in prop::collection::btree_map(
            "[ -~\u{0}-\u{1f}\u{7f}\u{e9}\u{ffff}\u{1f600}]{0,4}",
            any::<i64>(),
            0..6,
        ),
        text in "(\\PC|[\u{0}-\u{1f}\u{7f}\u{2028}\"\\\\/]){0,20}",
        float in any::<f64>(),
    ) {
        for value in [
            json!({ "members": members, "text": text, "all": [null, true, text] }),
            json!(members),
            json!([float, text]),
        ] {
            prop_assert_eq!(
                canonical(&value),
                serde_json_canonicalizer::to_vec(&value).unwrap_or_default()
            );
        }
    }

    #[test]
    fn the_canonical_form_reads_back_and_is_stable(
        numbers in prop::collection::btree_map("\\PC{0,8}", any::<i32>(), 0..8),
        text in "\\PC{0,40}",
    ) {
        let value = json!({ "numbers": numbers, "text": text });
        let bytes = canonical(&value);
        let again = parse(&bytes);
        prop_assert_eq!(again.as_ref(), Ok(&value));
        prop_assert_eq!(canonical(&value), bytes);
    }
}
