//! What the log says, by the audit's fold: every event and outcome with its command, its place and
//! its raw CloudEvent. Shares no decoder and no fold with the services.

use std::collections::{BTreeMap, HashMap};

use highwater_audit::{
    fold::{Fold, Verdict},
    record::{About, Body, Entry},
};
use highwater_log::{Partition, RawReader};
use highwater_protocol::record::{Record, StoredRecord};
use serde_json::Value;
use uuid::Uuid;

use super::client::Place;

pub const CATEGORIES: [&str; 2] = ["order", "product"];
const PARTITIONS: u32 = 8;
/// Partitions of all categories.
pub const PLACES: usize = CATEGORIES.len() * PARTITIONS as usize;

/// What one command came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub place: Place,
    /// The offset after its last record.
    pub end: u64,
    pub command: Uuid,
    pub aggregate: Uuid,
    pub version: u64,
    pub fingerprint: Vec<u8>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Accepted(Vec<Event>),
    Rejected(Value),
    Unchanged(Value),
}

/// The parts of a CloudEvent that readers use.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: String,
    pub version: u64,
    pub data: Value,
}

#[derive(Default)]
pub struct LogRead {
    /// In the log's sequence within a partition.
    pub outcomes: Vec<Outcome>,
    pub by_command: HashMap<Uuid, Vec<usize>>,
    pub ends: BTreeMap<Place, u64>,
    pub fences: u64,
    pub voids: u64,
}

/// Where every partition ends now.
pub async fn ends(reader: &dyn RawReader) -> BTreeMap<Place, u64> {
    let mut ends = BTreeMap::new();
    for place in places() {
        ends.insert(place, reader.end(&partition(place)).await.unwrap());
    }
    ends
}

/// Reads every partition to its end.
pub async fn read(reader: &dyn RawReader) -> LogRead {
    let mut log = LogRead { ends: ends(reader).await, ..LogRead::default() };
    for (place, end) in log.ends.clone() {
        let (mut fold, mut open, mut next) = (Fold::default(), Vec::new(), 0);
        while next < end {
            let records = reader.fetch(&partition(place), next, 2_000).await.unwrap();
            assert!(!records.is_empty(), "{place:?} cannot be read at {next}, and ends at {end}");
            for stored in records.into_iter().take_while(|stored| stored.offset < end) {
                assert_eq!(stored.offset, next, "offsets of {place:?} have a gap");
                next += 1;
                log.take(place, &mut fold, &mut open, stored);
            }
        }
    }
    log.index();
    log
}

impl LogRead {
    /// Finds every outcome by its command.
    pub fn index(&mut self) {
        self.by_command.clear();
        for (number, outcome) in self.outcomes.iter().enumerate() {
            self.by_command.entry(outcome.command).or_default().push(number);
        }
    }

    fn take(
        &mut self,
        place: Place,
        fold: &mut Fold,
        open: &mut Vec<(u64, About, Record)>,
        stored: StoredRecord,
    ) {
        let StoredRecord { offset, record, .. } = stored;
        let entry = Entry::read(&record);
        let (verdict, _) = fold.apply(entry.as_ref().map_err(Clone::clone));
        match (verdict, entry.map(|entry| entry.body)) {
            (Verdict::Void(_), _) => self.voids += 1,
            (Verdict::Fence, _) => self.fences += 1,
            (Verdict::Opened, Ok(Body::Event(about, _))) => open.push((offset, about, record)),
            (Verdict::Commit(commit), Ok(Body::Event(about, _))) => {
                open.push((offset, about, record));
                let fingerprint =
                    open.last().map(|(.., record)| fingerprint(record)).unwrap_or_default();
                let events = open.drain(..).filter(|(at, ..)| *at >= commit.first);
                let events = events.map(|(_, about, record)| event(&about, &record)).collect();
                self.add(place, offset, &about, fingerprint, What::Accepted(events));
            }
            (Verdict::Outcome, Ok(Body::Rejected(about))) => {
                self.add(
                    place,
                    offset,
                    &about,
                    fingerprint(&record),
                    What::Rejected(value(&record)),
                );
            }
            (Verdict::Outcome, Ok(Body::Unchanged(about))) => {
                self.add(
                    place,
                    offset,
                    &about,
                    fingerprint(&record),
                    What::Unchanged(value(&record)),
                );
            }
            _ => {}
        }
    }

    fn add(&mut self, place: Place, offset: u64, about: &About, fingerprint: Vec<u8>, what: What) {
        let [command, aggregate] = [about.command, about.aggregate].map(Uuid::from_bytes);
        self.outcomes.push(Outcome {
            place,
            end: offset + 1,
            command,
            aggregate,
            version: about.version,
            fingerprint,
            what,
        });
    }
}

fn event(about: &About, record: &Record) -> Event {
    let kind = String::from_utf8(record.header("ce_type").unwrap().to_vec()).unwrap();
    Event { kind, version: about.version, data: value(record) }
}

fn value(record: &Record) -> Value {
    serde_json::from_slice(record.value.as_deref().unwrap()).unwrap()
}

fn fingerprint(record: &Record) -> Vec<u8> {
    record.header("hw-fingerprint").unwrap().to_vec()
}

pub fn places() -> impl Iterator<Item = Place> {
    CATEGORIES
        .into_iter()
        .flat_map(|category| (0..PARTITIONS).map(move |partition| (category, partition)))
}

fn partition((category, index): Place) -> Partition {
    Partition { topic: format!("highwater.{category}.events").into(), index }
}
