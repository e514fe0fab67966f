//! The codec: each defect is named, every entry comes back as it was, and no bytes make it panic.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "arbitrary/entries.rs"]
mod entries;

use highwater_protocol::{
    entry::{Body, Entry},
    fold::Fold,
    record::{Header, Record},
    vocabulary::Vocabulary,
    wire::{Defect, Wire, decode, encode},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use uuid::Uuid;

const SOURCE: &str = "/demo/note";

/// Demanded on every event, with a value that is not in its encoding.
const DEMANDED_ON_EVENT: [(&str, &str); 18] = [
    ("content-type", "text/plain"),
    ("ce_specversion", "2.0"),
    ("ce_id", "1"),
    ("ce_source", ""),
    ("ce_type", ""),
    ("ce_subject", "other"),
    ("ce_time", "now"),
    ("ce_dataschema", "urn:highwater:schema:"),
    ("hw-kind", "Event"),
    ("hw-epoch", "01"),
    ("hw-writer", "me"),
    ("hw-seq", "-1"),
    ("hw-version", "0"),
    ("hw-command", ""),
    ("hw-fingerprint", "f"),
    ("hw-actor", "a"),
    ("hw-correlation", "c"),
    ("hw-causation", "c"),
];

#[test]
fn a_defect_names_its_header() {
    for (name, wrong) in DEMANDED_ON_EVENT {
        let whole = plain_event();
        assert!(decode(whole.clone()).is_ok());

        let mut missing = whole.clone();
        missing.headers.retain(|header| header.name != name);
        assert_eq!(decode(missing), Err(Defect::Missing(name)));

        let mut twice = whole.clone();
        twice.headers.push(Header::new(name, whole.header(name).unwrap()));
        assert_eq!(decode(twice), Err(Defect::Repeated(name)));

        let mut malformed = whole;
        malformed.headers.iter_mut().find(|header| header.name == name).unwrap().value =
            wrong.into();
        assert_eq!(decode(malformed), Err(Defect::Malformed(name)));
    }
}

#[test]
fn key_and_value_have_their_own_defects() {
    let mut record = plain_event();
    record.key = None;
    assert_eq!(decode(record), Err(Defect::Key));
    let mut record = plain_event();
    record.value = None;
    assert_eq!(decode(record), Err(Defect::Value));
}

#[test]
fn only_a_trace_of_the_standards_form_is_read() {
    let whole = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (value, read) in [
        (whole.to_owned(), true),
        (whole.to_uppercase(), false),
        (whole.replace('-', "_"), false),
        (whole.replacen("00", "01", 1), false),
        (format!("{whole}-"), false),
        (whole[..54].to_owned(), false),
        (String::new(), false),
    ] {
        let mut record = plain_event();
        record.headers.push(Header::new("traceparent", value.as_bytes()));
        let Body::Event(event) = decode(record).unwrap().body else {
            unreachable!("an event was encoded")
        };
        assert_eq!(event.metadata.meta.traceparent, read.then_some(value));
    }
}

proptest! {
    #[test]
    fn every_entry_comes_back_as_it_was(entry in entries::any()) {
        let record = encode(&entry, SOURCE, entries::event_id(&entry));
        prop_assert_eq!(decode(record), Ok(entry));
    }

    #[test]
    fn the_size_is_never_stated_too_low(entry in entries::any()) {
        // As long as a Kafka topic's name lets prefix and category be.
        let source = "x".repeat(249);
        let record = encode(&entry, &source, entries::event_id(&entry));
        prop_assert!(
            record.size_bytes() <= Wire::size_bytes(&entry.body),
            "{} bytes",
            record.size_bytes()
        );
    }

    #[test]
    fn arbitrary_records_never_panic(records in vec(arbitrary_record(), 1..8)) {
        fold(records);
    }

    #[test]
    fn damaged_records_never_panic_and_what_still_decodes_has_one_encoding(
        entry in entries::any(),
        damage in vec(damage(), 1..4),
    ) {
        let mut record = encode(&entry, SOURCE, entries::event_id(&entry));
        damage.iter().for_each(|damage| damage.apply(&mut record));
        fold(vec![record.clone()]);
        if let Ok(read) = decode(record.clone()) {
            let again = encode(&read, SOURCE, entries::event_id(&read));
            for name in DEMANDED_ON_EVENT
                .iter()
                .map(|(name, _)| *name)
                .chain(["hw-commit", "hw-drained", "hw-source"])
            {
                let constant = matches!(name, "ce_source") || read.body == Body::Unknown;
                if again.header(name).is_some() && !constant {
                    prop_assert_eq!(again.header(name), record.header(name), "{}", name);
                }
            }
            prop_assert!(read.body == Body::Unknown || decode(again) == Ok(read));
        }
    }
}

fn plain_event() -> Record {
    let entry = entries::plain_event();
    encode(&entry, SOURCE, Uuid::from_u128(9))
}

fn fold(records: Vec<Record>) {
    let mut fold = Fold::<Wire>::new();
    for (offset, record) in (0..).zip(records) {
        fold.apply(offset, decode(record)).unwrap();
    }
}

fn arbitrary_record() -> impl Strategy<Value = Record> {
    let bytes = || vec(any::<u8>(), 0..40);
    let name = prop_oneof![
        prop::sample::select(DEMANDED_ON_EVENT.map(|(name, _)| name.to_owned()).to_vec()),
        "[a-z-]{0,12}"
    ];
    let header = (name, prop_oneof![bytes(), "[0-9/a-z-]{0,40}".prop_map(String::into_bytes)])
        .prop_map(|(name, value)| Header::new(name, value));
    (prop::option::of(bytes()), prop::option::of(bytes()), vec(header, 0..24))
        .prop_map(|(key, value, headers)| Record { key, value, headers })
}

/// What can happen to a record on its way.
#[derive(Clone, Debug)]
enum Damage {
    Drop(Index),
    Repeat(Index),
    Flip(Index, Index, u8),
    Cut(Index, Index),
    Replace(Index, Vec<u8>),
    Key(Option<Vec<u8>>),
    NoValue,
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Damage::Drop),
        at().prop_map(Damage::Repeat),
        (at(), at(), 1..=255_u8).prop_map(|(header, byte, bits)| Damage::Flip(header, byte, bits)),
        (at(), at()).prop_map(|(header, byte)| Damage::Cut(header, byte)),
        (at(), vec(any::<u8>(), 0..20)).prop_map(|(header, value)| Damage::Replace(header, value)),
        prop::option::of(vec(any::<u8>(), 0..40)).prop_map(Damage::Key),
        Just(Damage::NoValue),
    ]
}

impl Damage {
    fn apply(&self, record: &mut Record) {
        let headers = &mut record.headers;
        if headers.is_empty() {
            return;
        }
        let count = headers.len();
        match self {
            Damage::Drop(at) => drop(headers.remove(at.index(count))),
            Damage::Repeat(at) => headers.push(headers[at.index(count)].clone()),
            Damage::Flip(at, byte, bits) => {
                let mut value = headers[at.index(count)].value.to_vec();
                if !value.is_empty() {
                    let length = value.len();
                    value[byte.index(length)] ^= bits;
                }
                headers[at.index(count)].value = value.into();
            }
            Damage::Cut(at, byte) => {
                let value = &mut headers[at.index(count)].value;
                *value = value[..byte.index(value.len() + 1)].into();
            }
            Damage::Replace(at, value) => headers[at.index(count)].value = value.as_slice().into(),
            Damage::Key(key) => record.key.clone_from(key),
            Damage::NoValue => record.value = None,
        }
    }
}

#[test]
fn a_control_record_has_no_key_and_no_value() {
    for body in [Body::Fence, Body::Barrier, Body::Sealed] {
        let seq = (body != Body::Fence).then_some(0);
        let record = encode(
            &Entry { epoch: 1, writer: Uuid::from_u128(1), seq, drained: None, body },
            SOURCE,
            Uuid::nil(),
        );
        assert_eq!((&record.key, &record.value), (&None, &None));
        assert!(
            record.headers.iter().all(|header| header.name.starts_with("hw-")),
            "a control record is no CloudEvent"
        );
    }
}
