//! Two readers of `commands`, and two of times, written apart from the same text: they agree on
//! records that are made from pieces of the golden vectors, and on dates on both sides of every
//! bound.
#![expect(clippy::unwrap_used, reason = "a malformed vector must fail the test")]

use std::{path::Path, sync::LazyLock};

use data_encoding::HEXLOWER;
use highwater_audit::record::{Entry, command::CommandRecord};
use highwater_protocol::{
    command_queue::{DecodeError, decode},
    record::{Header, Record},
    wire,
};
use proptest::{prelude::*, sample::Index};
use serde_json::Value;

/// What is done to a record that is one of the vectors'.
#[derive(Clone, Debug)]
enum Change {
    Drop(Index),
    Double(Index),
    /// The value that a header of this name has in another vector.
    Swap(Index, Index),
    Key(Index),
    Value(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        1 => at().prop_map(Change::Drop),
        1 => at().prop_map(Change::Double),
        6 => (at(), at()).prop_map(|(at, from)| Change::Swap(at, from)),
        1 => at().prop_map(Change::Key),
        1 => at().prop_map(Change::Value),
    ]
}

fn changed(mut record: Record, change: &Change, all: &[Record]) -> Record {
    match change {
        Change::Key(from) => record.key.clone_from(&from.get(all).key),
        Change::Value(from) => record.value.clone_from(&from.get(all).value),
        _ if record.headers.is_empty() => {}
        Change::Drop(at) => {
            record.headers.remove(at.index(record.headers.len()));
        }
        Change::Double(at) => record.headers.push(at.get(&record.headers).clone()),
        Change::Swap(at, from) => {
            let header = at.index(record.headers.len());
            let name = record.headers[header].name.clone();
            let values: Vec<&Header> = all
                .iter()
                .flat_map(|record| &record.headers)
                .filter(|header| header.name == name)
                .collect();
            record.headers[header].value = from.get(&values).value.clone();
        }
    }
    record
}

/// What both can tell: newer, of nothing, to be rejected as it is, a command.
fn by_the_services(record: &Record) -> &'static str {
    match decode(record.clone()) {
        Err(DecodeError::Newer { .. }) => "newer",
        Err(DecodeError::Undecodable { metadata: None, .. }) => "nothing",
        Err(DecodeError::Undecodable { metadata: Some(_), .. }) => "rejected",
        Ok(_) => "command",
    }
}

fn by_the_audit(record: &Record) -> &'static str {
    match CommandRecord::of(record) {
        CommandRecord::Newer => "newer",
        CommandRecord::Nothing => "nothing",
        CommandRecord::Command(command) if command.deadline.is_none() => "rejected",
        CommandRecord::Command(_) => "command",
    }
}

fn vectors(file: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors").join(file);
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn record(json: &Value) -> Record {
    let headers = json["headers"].as_array().unwrap().iter();
    Record {
        key: json.get("key").map(bytes),
        value: json.get("value").map(bytes),
        headers: headers
            .map(|pair| Header::new(pair[0].as_str().unwrap().to_owned(), bytes(&pair[1])))
            .collect(),
    }
}

/// A string's UTF-8, or `{"hex": "..."}`.
fn bytes(json: &Value) -> Vec<u8> {
    let hex = |digits: &str| HEXLOWER.decode(digits.as_bytes()).unwrap();
    json.as_str()
        .map_or_else(|| hex(json["hex"].as_str().unwrap()), |text| text.as_bytes().to_vec())
}

/// Dates and times on both sides of every bound; sometimes with a byte of another kind in them.
fn time() -> impl Strategy<Value = Vec<u8>> {
    let year = prop_oneof![
        4 => 0..=9_999_u32,
        1 => prop::sample::select(vec![
            0, 1, 4, 100, 400, 1_582, 1_600, 1_900, 2_000, 2_100, 2_400, 9_996, 9_999,
        ]),
    ];
    let day = prop_oneof![1 => 0..=32_u32, 1 => 28..=31_u32];
    let month = prop_oneof![1 => 0..=13_u32, 1 => Just(2_u32)];
    let spoiled = prop::option::weighted(0.2, (any::<Index>(), any::<u8>()));
    ((year, month, day), (0..=24_u32, 0..=60_u32, 0..=61_u32, 0..1_000_000_u32), spoiled).prop_map(
        |((year, month, day), (hour, minute, second, micros), spoiled)| {
            let mut text = format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
            )
            .into_bytes();
            if let Some((at, byte)) = spoiled {
                let at = at.index(text.len());
                text[at] = byte;
            }
            text
        },
    )
}

static QUEUED: LazyLock<Vec<Record>> = LazyLock::new(|| {
    vectors("command-queue-verdicts.json").as_array().unwrap().iter().map(record).collect()
});
static EVENT: LazyLock<Record> =
    LazyLock::new(|| record(&vectors("fold/rule-3-commit.json")[0]["records"][1]));

/// The event of a golden vector, at this time.
fn event_at(time: &[u8]) -> Record {
    let mut event = EVENT.clone();
    event.headers.iter_mut().find(|header| header.name == "ce_time").unwrap().value = time.into();
    event
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_readers_of_the_command_queue_agree(
        of in any::<Index>(),
        changes in prop::collection::vec(change(), 0..4),
    ) {
        let spoiled = changes
            .iter()
            .fold(of.get(&QUEUED).clone(), |record, change| changed(record, change, &QUEUED));
        prop_assert_eq!(by_the_services(&spoiled), by_the_audit(&spoiled), "{:?}", spoiled);
    }

    #[test]
    fn both_readers_of_times_agree(time in time()) {
        let event = event_at(&time);
        prop_assert_eq!(
            wire::decode(event.clone()).is_ok(),
            Entry::read(&event).is_ok(),
            "{}",
            String::from_utf8_lossy(&time)
        );
    }
}
