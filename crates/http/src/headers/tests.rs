use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use proptest::prelude::*;

use super::*;

fn headers(name: &HeaderName, values: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name.clone(), value);
        }
    }
    headers
}

fn refused<T>(result: Result<T, Problem>, header: &str) -> bool {
    result.err().is_some_and(|problem| {
        let named = problem
            .errors()
            .iter()
            .any(|error| error.header.as_deref() == Some(header) && !error.detail.is_empty());
        problem.status().as_u16() == 400 && problem.detail().contains(header) && named
    })
}

#[test]
fn idempotency_keys_are_quoted_or_bare() {
    let longest = "k".repeat(255);
    let cases = [
        ("abc", "abc"),
        ("\"abc\"", "abc"),
        ("  abc ", "abc"),
        ("\" a b \"", " a b "),
        (r#""a\"b\\c""#, r#"a"b\c"#),
        ("\"abc\";from=cart;retry", "abc"),
        ("a,b;c=d", "a,b;c=d"),
        ("it's\"odd", "it's\"odd"),
        (&longest, &longest),
    ];
    for (given, expected) in cases {
        let key =
            IdempotencyKey::from_headers(&headers(&IdempotencyKey::NAME, &[given.as_bytes()]));
        let key = key.ok().flatten();
        assert_eq!(key.as_ref().map(IdempotencyKey::as_str), Some(expected), "{given}");
        // What we return, given back, is the same key.
        let returned = key.as_ref().map(IdempotencyKey::to_header);
        let again = returned
            .and_then(|value| IdempotencyKey::parse(value.to_str().unwrap_or_default()).ok());
        assert_eq!(again, key, "{given}");
    }
}

#[test]
fn bad_idempotency_keys_are_refused_by_name() {
    let long = "k".repeat(256);
    let cases: [&[u8]; 12] = [
        b"\"a\", \"b\"",
        b"\"a\";",
        b"\"a\" b",
        b"",
        b"\"\"",
        b"\"",
        b"\"a",
        b"\"a\"b\"",
        b"\"a\\n\"",
        b"a\tb",
        "é".as_bytes(),
        long.as_bytes(),
    ];
    for given in cases {
        let headers = headers(&IdempotencyKey::NAME, &[given]);
        assert!(refused(IdempotencyKey::from_headers(&headers), "Idempotency-Key"), "{given:?}");
    }
    let twice = headers(&IdempotencyKey::NAME, &[b"a", b"b"]);
    assert!(refused(IdempotencyKey::from_headers(&twice), "Idempotency-Key"));
    assert!(matches!(IdempotencyKey::from_headers(&HeaderMap::new()), Ok(None)));
}

#[test]
fn a_version_is_read_out_of_every_form_of_tag() {
    let cases: [(&[&str], &[u64]); 13] = [
        (&["\"v7\""], &[7]),
        (&["W/\"v7\""], &[7]),
        (&["\"v0\""], &[0]),
        (&["\"g3-v8\""], &[8]),
        (&["\"g3-v8-r41\""], &[8]),
        (&["W/\"g3-v8-r41-gzip\""], &[8]),
        (&["\"v8-zstd\""], &[8]),
        (&["\"g1-v1--gzip\""], &[1]),
        (&["\"v8--br\""], &[8]),
        (&["\"g3-v8-r41-f9a1c\""], &[8]),
        (&["\"v7\", W/\"g1-v9\" ,\"v11\""], &[7, 9, 11]),
        (&["\"v7\"", "\"v8\""], &[7, 8]),
        (&["\"v18446744073709551615\""], &[u64::MAX]),
    ];
    for (given, versions) in cases {
        let values: Vec<&[u8]> = given.iter().map(|value| value.as_bytes()).collect();
        let parsed = IfMatch::from_headers(&headers(&IF_MATCH, &values));
        assert_eq!(parsed.ok().flatten(), Some(IfMatch::Versions(versions.to_vec())), "{given:?}");
    }
    assert_eq!(IfMatch::parse(" * ").ok(), Some(IfMatch::Any));
    assert!(
        IfMatch::Any.accepts(3)
            && IfMatch::Versions(vec![1, 3]).accepts(3)
            && !IfMatch::Versions(vec![1]).accepts(3)
    );
    assert!(matches!(IfMatch::from_headers(&HeaderMap::new()), Ok(None)));
}

#[test]
fn nonsense_in_if_match_is_refused_by_name() {
    let many = vec!["\"v1\""; 65].join(",");
    let cases = [
        "",
        " ",
        ",",
        "v7",
        "7",
        "\"7\"",
        "\"vseven\"",
        "\"v\"",
        "\"v-1\"",
        "\"v+7\"",
        "\"v07\"",
        "\"v1.5\"",
        "\"v7",
        "\"v7\"x",
        "\"v7\" \"v8\"",
        "w/\"v7\"",
        "\"g-v7\"",
        "\"gx-v7\"",
        "\"g3\"",
        "\"g3-r4\"",
        "\"r4-v7\"",
        "\"v7-\"",
        "\"v18446744073709551616\"",
        "*, \"v7\"",
        "\"v7\", *",
        "\"v 7\"",
        "\"v7\"é",
        &many,
    ];
    for given in cases {
        let headers = headers(&IF_MATCH, &[given.as_bytes()]);
        assert!(refused(IfMatch::from_headers(&headers), "If-Match"), "{given}");
    }
}

#[test]
fn if_none_match_compares_weakly() {
    let etag = ETag::generation(3, 8);
    assert_eq!(etag.to_header(), "\"g3-v8\"");
    for (given, matches) in [
        ("\"g3-v8\"", true),
        ("W/\"g3-v8\"", true),
        ("\"x\", \"g3-v8\"", true),
        ("*", true),
        ("\"g3-v9\"", false),
        ("\"\"", false),
    ] {
        let parsed =
            IfNoneMatch::from_headers(&headers(&IF_NONE_MATCH, &[given.as_bytes()])).ok().flatten();
        assert_eq!(parsed.map(|tags| tags.matches(&etag)), Some(matches), "{given}");
    }
    for given in ["g3-v8", "\"a", "", "\"a\" b"] {
        assert!(refused(IfNoneMatch::parse(given), "If-None-Match"), "{given}");
    }
}

#[test]
fn tags_that_we_give_are_understood_by_if_match() {
    let tags = [
        ETag::version(8),
        ETag::generation(3, 8),
        ETag::revision(3, 8, 41),
        ETag::revision(3, 8, 41).with_suffix("gzip"),
        ETag::version(8).with_suffix("f\"x\n,é"),
    ];
    for tag in tags {
        assert_eq!(
            IfMatch::parse(&tag.to_string()).ok(),
            Some(IfMatch::Versions(vec![8])),
            "{tag}"
        );
    }
}

#[test]
fn a_command_that_must_not_find_anything_expects_version_zero() {
    let both = |only_if: Option<&str>, unless: Option<&str>| {
        let given = [(IF_MATCH, only_if), (IF_NONE_MATCH, unless)];
        let given = given.iter().filter_map(|(name, value)| {
            Some((name.clone(), HeaderValue::from_str((*value)?).unwrap()))
        });
        IfMatch::of_command(&HeaderMap::from_iter(given))
    };
    let none = Some(IfMatch::Versions(vec![0]));
    assert_eq!(both(None, Some("*")).unwrap(), none);
    assert_eq!(both(Some("\"v0\""), Some(" * ")).unwrap(), none);
    assert_eq!(both(Some("\"v0\", \"v3\""), Some("*")).unwrap(), none);
    assert_eq!(both(Some("\"v3\""), None).unwrap(), Some(IfMatch::Versions(vec![3])));
    assert_eq!(both(None, None).unwrap(), None);
    for (only_if, unless) in [
        (Some("*"), "*"),
        (Some("\"v3\""), "*"),
        (None, "\"v3\""),
        (Some("\"v3\""), "\"v4\""),
        (None, "v3"),
        (None, ""),
    ] {
        assert!(refused(both(only_if, Some(unless)), "If-None-Match"), "{only_if:?} {unless}");
    }
}

#[test]
fn conditions_of_queries_are_those_of_rfc_9110() {
    let etag = ETag::generation(1, 7);
    let page = ETag::content(&[0xab; 16]);
    let asked = |name: HeaderName, value: &str| {
        let value = HeaderValue::from_str(value).unwrap();
        Conditions::from_headers(&HeaderMap::from_iter([(name, value)])).unwrap()
    };
    for value in [
        "*",
        "\"g1-v7\"",
        "W/\"g1-v7\"",
        "\"g1-v7-gzip\"",
        "W/\"g1-v7--gzip\"",
        "\"g1-v7--br\"",
        "\"x\", \"g1-v7-zstd\"",
    ] {
        assert!(!asked(IF_MATCH, value).is_known(Some(&etag)).unwrap(), "{value}");
        assert!(asked(IF_NONE_MATCH, value).is_known(Some(&etag)).unwrap(), "{value}");
    }
    for value in [
        "\"g1-v8\"",
        "\"g2-v7\"",
        "\"g1-v7-id.version\"",
        "\"g1-v7-\"",
        "\"g1-v7---gzip\"",
        "\"g1-v7gzip\"",
        "\"g1-v70\"",
        "\"v8\"",
    ] {
        let problem = asked(IF_MATCH, value).is_known(Some(&etag)).unwrap_err();
        assert_eq!((problem.status().as_u16(), problem.code()), (412, "etag.mismatch"), "{value}");
        assert!(!asked(IF_NONE_MATCH, value).is_known(Some(&etag)).unwrap(), "{value}");
    }
    // What a command answered names a version of an aggregate; a page has none.
    assert!(!asked(IF_MATCH, "\"v7\"").is_known(Some(&etag)).unwrap());
    assert!(!asked(IF_NONE_MATCH, "\"v7\"").is_known(Some(&etag)).unwrap());
    assert!(asked(IF_MATCH, "\"v7\"").is_known(Some(&page)).is_err());
    assert!(!asked(IF_MATCH, &page.to_string()).is_known(Some(&page)).unwrap());
    // Of what has no tag, none is right.
    assert!(
        asked(IF_MATCH, "\"g1-v7\"").is_known(None).is_err()
            && !asked(IF_MATCH, "*").is_known(None).unwrap()
    );
    assert!(!asked(IF_NONE_MATCH, "*").is_known(None).unwrap());
    // If-Match is looked at first.
    let both = [(IF_MATCH, "\"g1-v6\""), (IF_NONE_MATCH, "\"g1-v7\"")]
        .map(|(name, value)| (name, HeaderValue::from_static(value)));
    assert!(
        Conditions::from_headers(&HeaderMap::from_iter(both))
            .unwrap()
            .is_known(Some(&etag))
            .is_err()
    );
    for given in ["", "v7", "\"v7", "w/\"v7\""] {
        assert!(
            refused(Conditions::from_headers(&headers(&IF_MATCH, &[given.as_bytes()])), "If-Match"),
            "{given}"
        );
    }
}

#[test]
fn preferences_are_read_and_unknown_ones_ignored() {
    let wait = |seconds| Some(Duration::from_secs(seconds));
    let cases = [
        ("respond-async", Prefer { respond_async: true, ..Prefer::default() }),
        ("Respond-Async, WAIT=5", Prefer { respond_async: true, wait: wait(5), stale: false }),
        ("wait = \"10\"; x=y", Prefer { wait: wait(10), ..Prefer::default() }),
        ("wait=1, wait=2, stale", Prefer { wait: wait(1), stale: true, respond_async: false }),
        ("handling=lenient, x=\"a,stale\", return=minimal", Prefer::default()),
        (
            "respond-async=\"\"; x=\"a,b;c\" , stale",
            Prefer { respond_async: true, stale: true, wait: None },
        ),
        ("wait=\"5;x\", wait=\"6", Prefer::default()),
        ("x=\"\\\", wait=7, \"; y, wait=8", Prefer { wait: wait(8), ..Prefer::default() }),
        ("", Prefer::default()),
        (",,", Prefer::default()),
    ];
    for (given, expected) in cases {
        assert_eq!(
            Prefer::from_headers(&headers(&Prefer::NAME, &[given.as_bytes()])),
            expected,
            "{given}"
        );
    }
    let both = Prefer::from_headers(&headers(&Prefer::NAME, &[b"stale", b"wait=3"]));
    assert_eq!(
        both.applied().as_ref().map(HeaderValue::as_bytes),
        Some(b"wait=3, stale".as_slice())
    );
    assert_eq!(Prefer::default().applied(), None);
    for given in [
        "wait",
        "wait=",
        "wait=-1",
        "wait=1.5",
        "wait=soon",
        "wait=99999999999",
        "respond-async=1",
        "stale=no",
    ] {
        let with_another = format!("{given}, stale");
        let understood = Prefer::from_headers(&headers(&Prefer::NAME, &[with_another.as_bytes()]));
        assert_eq!(understood, Prefer { stale: true, ..Prefer::default() }, "{given}");
    }
}

#[test]
fn positions_are_read_as_they_are_written() {
    let given = "alpha/3@1042, beta-2/0@0,alpha/3@7, alpha/3@2000";
    let parsed = MinPosition::from_headers(&headers(&MIN_POSITION, &[given.as_bytes()]))
        .ok()
        .flatten()
        .unwrap_or_default();
    assert_eq!(
        parsed.0,
        vec![PartitionPosition::new("alpha", 3, 2000), PartitionPosition::new("beta-2", 0, 0)]
    );
    let written = format_positions(&parsed.0);
    assert_eq!(
        written.as_ref().map(HeaderValue::as_bytes),
        Some(b"alpha/3@2000, beta-2/0@0".as_slice())
    );
    assert_eq!(parsed.0[0].to_header(), "alpha/3@2000");
    let long: Vec<_> =
        (0..300).map(|partition| PartitionPosition::new("alpha", partition, u64::MAX)).collect();
    assert_eq!(format_positions(&long), None);
}

#[test]
fn the_offsets_of_partitions_in_a_row_are_one_item() {
    let of = |partition, offset| PartitionPosition::new("thing", partition, offset);
    let written = format_compact("thing", &[7, 0, 18_446_744_073_709_551_615]).unwrap();
    assert_eq!(written, "thing/0@7:0:18446744073709551615");
    let read = MinPosition::parse(written.to_str().unwrap()).unwrap();
    assert_eq!(read.0, [of(0, 7), of(1, 0), of(2, u64::MAX)]);
    assert_eq!(MinPosition::parse("thing/5@1:2, thing/6@3").unwrap().0, [of(5, 1), of(6, 3)]);
    // 128 partitions of a long log fit; what would not be read is not written.
    assert!(format_compact("thing", &[123_456_789_012; 128]).is_some());
    assert_eq!(format_compact("thing", &[]), None);
    assert_eq!(format_compact("thing", &[0; 257]), None);
    assert_eq!(format_compact("thing", &[u64::MAX; 128]), None);
    assert!(
        MinPosition::parse(format_compact("thing", &[0; 256]).unwrap().to_str().unwrap()).is_ok()
    );
    for bad in [
        "thing/0@1:",
        "thing/0@:1",
        "thing/0@1::2",
        "thing/0@1:x",
        "thing/4294967295@1:2",
        "thing/0@",
        "thing@1:2",
    ] {
        assert!(MinPosition::parse(bad).is_err(), "{bad}");
    }
    let long = format!("thing/0@{}0", "0:".repeat(256));
    assert!(
        MinPosition::parse(&long).is_err_and(|problem| problem.detail().contains("more than 256")),
        "{long}"
    );
}

#[test]
fn bad_positions_are_refused_by_name() {
    let many = (0..257).map(|partition| format!("a/{partition}@1")).collect::<Vec<_>>().join(",");
    let cases = [
        "",
        ",",
        "alpha",
        "alpha/3",
        "alpha@3",
        "alpha/3@",
        "/3@1",
        "alpha/@1",
        "alpha/-1@1",
        "alpha/+1@1",
        "alpha/3@1.5",
        "alpha/3@x",
        "al pha/3@1",
        "alpha/4294967296@1",
        "alpha/3@18446744073709551616",
        "alpha/3@1,",
        "alpha/3@1@2",
        &many,
    ];
    for given in cases {
        let headers = headers(&MIN_POSITION, &[given.as_bytes()]);
        assert!(refused(MinPosition::from_headers(&headers), "Highwater-Min-Position"), "{given}");
    }
}

#[test]
fn a_refusal_shows_little_of_the_value() {
    let long = format!("\"{}\"", "x".repeat(5_000));
    let problem = IfMatch::parse(&long)
        .err()
        .map(|problem| problem.to_json(None, None).to_string())
        .unwrap_or_default();
    assert!(!problem.is_empty() && problem.len() < 700, "{problem}");
}

proptest! {
    #[test]
    fn no_value_makes_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let values: [&[u8]; 1] = [&bytes];
        let _ = IdempotencyKey::from_headers(&headers(&IdempotencyKey::NAME, &values));
        let _ = IfMatch::from_headers(&headers(&IF_MATCH, &values));
        let _ = IfNoneMatch::from_headers(&headers(&IF_NONE_MATCH, &values));
        let _ = Prefer::from_headers(&headers(&Prefer::NAME, &values));
        let _ = MinPosition::from_headers(&headers(&MIN_POSITION, &values));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "[\"\\\\W/,;=vgr0-9@ *a\u{e9}-]{0,40}") {
        let _ = IdempotencyKey::parse(&text);
        let _ = IfMatch::parse(&text);
        let _ = IfNoneMatch::parse(&text);
        let _ = Prefer::from_headers(&headers(&Prefer::NAME, &[text.as_bytes()]));
        let _ = MinPosition::parse(&text);
    }

    #[test]
    fn any_printable_key_survives_the_round_trip(key in "[ -~]{1,255}") {
        let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
        let parsed = IdempotencyKey::parse(&quoted).ok();
        prop_assert_eq!(parsed.as_ref().map(IdempotencyKey::as_str), Some(key.as_str()));
    }

    #[test]
    fn any_version_is_read_back(
        generation in any::<u64>(),
        version in any::<u64>(),
        revision in any::<u64>(),
    ) {
        let tag = ETag::revision(generation, version, revision).to_string();
        prop_assert_eq!(IfMatch::parse(&tag).ok(), Some(IfMatch::Versions(vec![version])));
    }
}
