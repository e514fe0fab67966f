//! What becomes visible in the log at once: the events of a commit, or an outcome. Reads records on
//! which the fold has decided.

use highwater_protocol::record::{Record, StoredRecord};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{fold::Verdict, record::Entry};

/// One event, as far as tables need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub aggregate: Uuid,
    pub version: u64,
    /// Where it lies.
    pub partition: u32,
    /// `<aggregate>.<event>`
    pub name: String,
    /// `<aggregate>.<event>.v<version>`
    pub schema: String,
    /// As the record has it.
    pub time: String,
    /// An object; null if it is no JSON.
    pub data: Value,
}

/// What one command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The offset after its last record.
    pub end: u64,
    pub aggregate: Uuid,
    pub command: Uuid,
    pub actor: Uuid,
    pub version: u64,
    pub fingerprint: Vec<u8>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Accepted(Vec<Event>),
    /// With the reason as it was recorded.
    Rejected(Value),
    Unchanged(Value),
}

/// Holds the records of the open commit, 256 at most.
#[derive(Debug, Default)]
pub struct Assembly {
    partition: u32,
    open: Vec<StoredRecord>,
}

impl Assembly {
    /// For one partition.
    pub fn of(partition: u32) -> Self {
        Self { partition, open: Vec::new() }
    }

    /// What this record, on which the fold has decided so, makes visible.
    pub fn next(&mut self, stored: &StoredRecord, verdict: &Verdict) -> Option<Item> {
        match verdict {
            Verdict::Void(_) => return None,
            Verdict::Opened => {
                if stored.record.header("hw-commit").is_some_and(|part| part.starts_with(b"1/")) {
                    self.open.clear();
                }
                self.open.push(stored.clone());
                return None;
            }
            Verdict::Commit(commit) => {
                let mut parts: Vec<StoredRecord> = std::mem::take(&mut self.open);
                parts.retain(|part| part.offset >= commit.first);
                let records = parts.iter().chain([stored]).map(|part| &part.record);
                let events: Vec<Event> =
                    records.filter_map(|record| event(self.partition, record)).collect();
                return item(stored, What::Accepted(events));
            }
            _ => self.open.clear(),
        }
        let reason = || reason(stored.record.value.as_deref().unwrap_or_default());
        match stored.record.header("hw-kind") {
            Some(b"rejected") if *verdict == Verdict::Outcome => {
                item(stored, What::Rejected(reason()))
            }
            Some(b"unchanged") if *verdict == Verdict::Outcome => {
                item(stored, What::Unchanged(reason()))
            }
            _ => None,
        }
    }
}

impl Item {
    pub fn events(&self) -> &[Event] {
        match &self.what {
            What::Accepted(events) => events,
            What::Rejected(_) | What::Unchanged(_) => &[],
        }
    }
}

fn item(last: &StoredRecord, what: What) -> Option<Item> {
    let entry = Entry::read(&last.record).ok()?;
    let about = entry.about()?;
    Some(Item {
        end: last.offset + 1,
        aggregate: Uuid::from_bytes(about.aggregate),
        command: Uuid::from_bytes(about.command),
        actor: Uuid::from_slice(last.record.header("hw-actor").unwrap_or_default())
            .unwrap_or_default(),
        version: about.version,
        fingerprint: last.record.header("hw-fingerprint").unwrap_or_default().to_vec(),
        what,
    })
}

fn event(partition: u32, record: &Record) -> Option<Event> {
    let entry = Entry::read(record).ok()?;
    let about = entry.about()?;
    let text = |name| String::from_utf8_lossy(record.header(name).unwrap_or_default()).into_owned();
    Some(Event {
        aggregate: Uuid::from_bytes(about.aggregate),
        version: about.version,
        partition,
        name: text("ce_type"),
        schema: text("ce_dataschema").trim_start_matches("urn:highwater:schema:").to_owned(),
        time: text("ce_time"),
        data: serde_json::from_slice(record.value.as_deref().unwrap_or_default())
            .unwrap_or(Value::Null),
    })
}

/// As Postgres can hold it: no NUL, and what is no JSON as text.
fn reason(value: &[u8]) -> Value {
    match serde_json::from_slice(value) {
        Ok(value) => storable(value),
        Err(_) => {
            json!({"code": "unreadable", "detail": without_nul(&String::from_utf8_lossy(value))})
        }
    }
}

fn storable(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(storable).collect()),
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(k, v)| (without_nul(&k), storable(v))).collect::<Map<_, _>>(),
        ),
        other => other,
    }
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use highwater_protocol::{
        entry::{self, Body, CommandMetadata, EventBody, Part},
        time::Micros,
        wire::{Fingerprint, Meta, RecordedEvent, Wire, encode},
    };

    use super::*;
    use crate::fold::Fold;

    const WRITER: Uuid = Uuid::from_u128(0x11);

    fn record(epoch: u64, seq: Option<u64>, body: Body<Wire>) -> Record {
        encode(
            &entry::Entry { epoch, writer: WRITER, seq, drained: None, body },
            "/test/note",
            Uuid::from_u128(1),
        )
    }

    fn part(seq: u64, version: u64, part: Part) -> Record {
        let metadata = CommandMetadata {
            aggregate: Uuid::from_u128(0xa),
            command: Uuid::from_u128(0xc),
            fingerprint: Fingerprint { key_number: 1, hmac: [7; 32] },
            meta: Meta::default(),
            source: None,
        };
        let event = RecordedEvent {
            event_type: Cow::Borrowed("note.written"),
            schema: Cow::Borrowed("note.written.v1"),
            data: b"{\"n\":1}".to_vec(),
        };
        record(
            1,
            Some(seq),
            Body::Event(EventBody { metadata, version, part, time: Micros(0), event }),
        )
    }

    /// End and versions of what each record made visible.
    fn visible(records: Vec<Record>) -> Vec<(u64, Vec<u64>)> {
        let (mut fold, mut assembly) = (Fold::default(), Assembly::default());
        let items = records.into_iter().zip(0..).filter_map(|(record, offset)| {
            let stored = StoredRecord { offset, appended_at_ms: 0, record };
            let entry = Entry::read(&stored.record);
            let (verdict, _) = fold.apply(entry.as_ref().map_err(Clone::clone));
            assembly.next(&stored, &verdict)
        });
        items
            .map(|item| (item.end, item.events().iter().map(|event| event.version).collect()))
            .collect()
    }

    #[test]
    fn a_commit_is_one_item_whatever_void_lies_in_it() {
        let (first, second) = (Part { index: 1, of: 2 }, Part { index: 2, of: 2 });
        let fence = |epoch| record(epoch, None, Body::Fence);
        let records = vec![
            fence(1),
            part(0, 1, first),
            part(9, 9, Part::WHOLE),
            part(1, 2, second),
            part(2, 3, Part::WHOLE),
        ];
        assert_eq!(visible(records), [(4, vec![1, 2]), (5, vec![3])]);
        assert_eq!(visible(vec![fence(1), part(0, 1, first), fence(2), part(1, 2, second)]), []);
        let again = vec![fence(1), part(0, 1, first), part(1, 1, first), part(2, 2, second)];
        assert_eq!(visible(again), [(4, vec![1, 2])]);
    }
}
