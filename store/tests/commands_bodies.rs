//! What a body of legal size may cost, however it is made.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "../../tests/support/documented.rs"]
mod documented;
#[path = "commands_bodies/shapes.rs"]
mod shapes;

use std::{fs, path::Path, time::Duration};

use documented::Row;
use highwater::http::{body::DEFAULT_BODY_LIMIT, json, schema::Validator};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

/// As often as a body is read; the fastest counts, in processor time, so that what else the machine
/// does does not.
const TIMES: usize = 5;
/// How much more than reading a plain body of the same size one may cost.
const MOST: u128 = 20;
/// And how long, in a release build.
const LONGEST: Duration = Duration::from_millis(5);

/// What is done with a body before its owner hears of it.
fn judge(body: &[u8], validator: &Validator) -> bool {
    let Ok(value) = json::parse(body) else { return false };
    if let Err(errors) = validator.validate(&value) {
        assert!(errors.len() <= 20);
        return false;
    }
    !json::canonical(&value).is_empty()
}

fn fastest(mut run: impl FnMut()) -> Duration {
    let took = (0..TIMES).map(|_| {
        let began = spent();
        run();
        spent() - began
    });
    took.min().unwrap_or_default()
}

/// Processor time of this thread.
fn spent() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.try_into().unwrap(), spent.tv_nsec.try_into().unwrap())
}

fn validator(command: &str) -> Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../schemas/commands/{command}.v1.json"));
    Validator::new(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn w1_no_body_costs_much_more_than_reading_it() {
    let plain = shapes::plain();
    let mut slowest = Vec::new();
    for command in ["order.place", "product.create", "product.describe"] {
        let validator = validator(command);
        for (name, body) in shapes::all() {
            assert!(
                body.len() <= DEFAULT_BODY_LIMIT && body.len() > DEFAULT_BODY_LIMIT / 2,
                "{name}: {}",
                body.len()
            );
            // Next to it, so that both have the same machine.
            let baseline = fastest(|| assert!(serde_json::from_slice::<Value>(&plain).is_ok()));
            let took = fastest(|| {
                std::hint::black_box(judge(&body, &validator));
            });
            slowest.push((took.as_nanos() * 10 / baseline.as_nanos().max(1), command, name, took));
        }
    }
    slowest.sort_unstable_by(|a, b| b.cmp(a));
    for (tenths, command, name, took) in slowest.iter().take(6) {
        println!("{command}: {name}: {took:?}, {}.{} plain bodies", tenths / 10, tenths % 10);
    }
    if !cfg!(debug_assertions) {
        assert!(slowest.iter().all(|(.., took)| *took <= LONGEST), "{slowest:?}");
    }
    let (tenths, command, name, took) = slowest[0];
    assert!(tenths <= MOST * 10, "{command}: {name}: {took:?}, {tenths} tenths of a plain body");
    Row {
        id: "W1",
        situation: "bodies of legal size (262 kB) made to be dear: 87,000 empty lines, 18,000 \
                    members, names and numbers of 250 kB, and others",
        answer: "refused: more than 10,000 values with 400 `json.too-many-values`, an array beyond \
                 its `maxItems` for that alone, else 20 \
                 errors at most; none costs more than 20 times what reading a plain body of that \
                 size does, nor 5 ms in a release build; from \
                 16 KiB on it is looked at beside the threads that answer all requests",
        test: (file!(), "w1_no_body_costs_much_more_than_reading_it"),
    }
    .check();
}

#[test]
fn every_array_and_text_of_a_command_has_a_bound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/commands");
    let mut looked_at = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let schema: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        looked_at += bounded(&schema, &path.display().to_string());
    }
    assert!(looked_at > 20, "{looked_at} arrays and texts");
}

/// How many arrays and texts were looked at.
fn bounded(schema: &Value, at: &str) -> usize {
    let is = |kind: &str| {
        schema["type"] == kind
            || schema["type"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(|given| given == kind))
    };
    let bounds =
        [("array", "maxItems"), ("string", "maxLength")].into_iter().filter(|(kind, _)| is(kind));
    let mut looked_at = 0;
    for (kind, bound) in bounds {
        // A pattern of a fixed length is a bound.
        let by_pattern = schema["pattern"]
            .as_str()
            .is_some_and(|pattern| !pattern.contains(['*', '+']) || pattern.contains("\\+"));
        assert!(
            schema[bound].is_u64() || (kind == "string" && by_pattern),
            "{at}: {kind} without {bound}"
        );
        looked_at += 1;
    }
    let members = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, member)| bounded(member, &format!("{at}/{name}")));
    looked_at
        + members.sum::<usize>()
        + schema.get("items").map_or(0, |items| bounded(items, &format!("{at}[]")))
}
