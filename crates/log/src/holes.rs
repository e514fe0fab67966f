//! Offsets at which nothing lies, as an operator has found out: the marker of a stray transaction
//! uses one up, and no reader can tell it from a lost record. Where such an offset is named, every
//! reader sees a record without anything in it there, which the fold skips. A record that does lie
//! at a named offset is read as ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use highwater_protocol::record::{Record, StoredRecord};
use tokio::sync::mpsc;

use crate::{
    log::{Delivery, Error, Group, Log, Membership, Pace, Partition, Reply, Subscription, Topic},
    raw::{RawReader, RawTopic},
};

/// Deliveries under way, as of any reader: the next ones wait.
const DELIVERIES: usize = 4;

/// How many offsets can be named.
const MOST: usize = 10_000;

/// By topic and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holes(BTreeMap<(String, u32), BTreeSet<u64>>);

impl Holes {
    /// Of `topic/partition@offset` and `topic/partition@first-last`.
    pub fn parse(named: &[String]) -> Result<Self, Error> {
        let mut holes = BTreeMap::<_, BTreeSet<u64>>::new();
        let mut all = 0;
        for name in named {
            let malformed = || {
                Error::Setting(format!(
                    "log.known_holes: `{name}` is not topic/partition@offset or \
                     topic/partition@first-last"
                ))
            };
            let (partition, offsets) = name.rsplit_once('@').ok_or_else(malformed)?;
            let (topic, partition) = partition.rsplit_once('/').ok_or_else(malformed)?;
            let (first, last) = offsets.split_once('-').unwrap_or((offsets, offsets));
            let number = |text: &str| text.parse::<u64>().map_err(|_| malformed());
            let (first, last, partition) =
                (number(first)?, number(last)?, partition.parse().map_err(|_| malformed())?);
            all += usize::try_from(last.checked_sub(first).ok_or_else(malformed)?)
                .unwrap_or(MOST)
                .saturating_add(1);
            if all > MOST {
                return Err(Error::Setting(format!(
                    "log.known_holes names more than {MOST} offsets"
                )));
            }
            holes.entry((topic.to_owned(), partition)).or_default().extend(first..=last);
        }
        Ok(Self(holes))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, partition: &Partition) -> Option<BTreeSet<u64>> {
        self.0.get(&(partition.topic.to_string(), partition.index)).cloned()
    }
}

/// A log, or the read side of one, in which named offsets hold nothing.
pub struct WithHoles<L: ?Sized> {
    log: Arc<L>,
    holes: Holes,
}

impl<L: ?Sized> WithHoles<L> {
    pub fn new(log: Arc<L>, holes: Holes) -> Self {
        Self { log, holes }
    }
}

/// What lies in a hole.
fn nothing(offset: u64, appended_at_ms: i64) -> StoredRecord {
    StoredRecord { offset, appended_at_ms, record: Record::default() }
}

/// Adds what lies in the holes from `next` to the end of `records`, and moves `next` there.
fn fill(holes: &BTreeSet<u64>, next: &mut u64, records: Vec<StoredRecord>) -> Vec<StoredRecord> {
    let mut filled = Vec::with_capacity(records.len());
    for stored in records {
        while *next < stored.offset && holes.contains(next) {
            filled.push(nothing(*next, stored.appended_at_ms));
            *next += 1;
        }
        *next = stored.offset + 1;
        filled.push(stored);
    }
    filled
}

/// What lies in the holes from `next` on, below `end` and at most `limit`.
fn leading(holes: &BTreeSet<u64>, next: &mut u64, end: u64, limit: usize) -> Vec<StoredRecord> {
    let mut filled = Vec::new();
    while *next < end && filled.len() < limit && holes.contains(next) {
        filled.push(nothing(*next, 0));
        *next += 1;
    }
    filled
}

/// As `fetch` answers, from `offset` on. Where nothing can be read before the end, what is named
/// there is what lies there.
async fn looked_up<'a>(
    holes: BTreeSet<u64>,
    offset: u64,
    limit: usize,
    end: impl FnOnce() -> BoxFuture<'a, Result<u64, Error>>,
    fetched: Result<Vec<StoredRecord>, Error>,
) -> Result<Vec<StoredRecord>, Error> {
    let mut next = offset;
    let mut records = match fetched {
        Err(error) if !holes.contains(&offset) || matches!(error, Error::Unreachable(_)) => {
            return Err(error);
        }
        Ok(records) if !records.is_empty() => fill(&holes, &mut next, records),
        Ok(_) | Err(_) => leading(&holes, &mut next, end().await?, limit),
    };
    records.truncate(limit);
    Ok(records)
}

/// What is named at the end of the log, from `next` on, and can be said to be nothing: a record
/// there would have been read.
async fn trailing(
    log: &dyn Log,
    of: &Partition,
    holes: &BTreeSet<u64>,
    next: &mut u64,
) -> Vec<StoredRecord> {
    // Without an answer it is as if there were no hole: the next record shows it.
    let Ok(end) = log.end(of).await else { return Vec::new() };
    if end <= *next {
        return Vec::new();
    }
    match log.fetch(of, *next, 1).await {
        // It comes to the reader as well.
        Ok(records) if !records.is_empty() => Vec::new(),
        Err(Error::Unreachable(_)) => Vec::new(),
        Ok(_) | Err(_) => leading(holes, next, end, usize::MAX),
    }
}

/// As `read` reads, from `offset` on. The reader of `log` stops before a hole that is the last
/// there is.
fn subscription(
    log: Arc<dyn Log>,
    of: Partition,
    holes: BTreeSet<u64>,
    offset: u64,
    inner: Subscription,
) -> Subscription {
    let Subscription { mut deliveries, guard } = inner;
    let (to, filled) = mpsc::channel(DELIVERIES);
    tokio::spawn(async move {
        let mut next = offset;
        while let Some(delivery) = deliveries.recv().await {
            let delivery = match delivery {
                Delivery::Records(records) => Delivery::Records(fill(&holes, &mut next, records)),
                Delivery::CaughtUp(_) if holes.contains(&next) => {
                    let records = trailing(&*log, &of, &holes, &mut next).await;
                    if !records.is_empty() && to.send(Delivery::Records(records)).await.is_err() {
                        return;
                    }
                    Delivery::CaughtUp(next)
                }
                other => other,
            };
            if to.send(delivery).await.is_err() {
                return;
            }
        }
    });
    Subscription { deliveries: filled, guard }
}

impl WithHoles<dyn Log> {
    fn subscribe(&self, of: &Partition, offset: u64, inner: Subscription) -> Subscription {
        match self.holes.of(of) {
            Some(holes) => subscription(Arc::clone(&self.log), of.clone(), holes, offset, inner),
            None => inner,
        }
    }
}

impl Log for WithHoles<dyn Log> {
    fn prepare(&self, topics: Vec<Topic>) -> BoxFuture<'_, Result<(), Error>> {
        self.log.prepare(topics)
    }

    fn append(&self, to: &Partition, record: Record, reply: Reply) -> Result<(), Error> {
        self.log.append(to, record, reply)
    }

    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        self.log.begin(of)
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        self.log.end(of)
    }

    fn read(&self, of: &Partition, offset: u64) -> Result<Subscription, Error> {
        Ok(self.subscribe(of, offset, self.log.read(of, offset)?))
    }

    fn read_behind(&self, of: &Partition, offset: u64) -> Result<Subscription, Error> {
        Ok(self.subscribe(of, offset, self.log.read_behind(of, offset)?))
    }

    fn warm(&self, topics: Vec<Arc<str>>, pace: Pace) -> BoxFuture<'_, Result<(), Error>> {
        self.log.warm(topics, pace)
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        let Some(holes) = self.holes.of(of) else { return self.log.fetch(of, offset, limit) };
        let of = of.clone();
        Box::pin(async move {
            let fetched = self.log.fetch(&of, offset, limit).await;
            looked_up(holes, offset, limit, || self.log.end(&of), fetched).await
        })
    }

    fn join(&self, group: Group) -> Result<Membership, Error> {
        self.log.join(group)
    }

    fn health(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.log.health()
    }

    fn close(&self, within: Duration) -> BoxFuture<'_, ()> {
        self.log.close(within)
    }
}

impl RawReader for WithHoles<dyn RawReader> {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, Error>> {
        self.log.topics()
    }

    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        self.log.begin(of)
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        self.log.end(of)
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        let Some(holes) = self.holes.of(of) else { return self.log.fetch(of, offset, limit) };
        let of = of.clone();
        Box::pin(async move {
            let fetched = self.log.fetch(&of, offset, limit).await;
            looked_up(holes, offset, limit, || self.log.end(&of), fetched).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_offsets_of_partitions_and_nothing_else() {
        let parse = |named: &str| Holes::parse(&[named.to_owned()]);
        let of = |topic: &str, index| Partition { topic: topic.into(), index };
        let holes = parse("a.b.events/3@41-42").unwrap();
        assert_eq!(holes.of(&of("a.b.events", 3)), Some(BTreeSet::from([41, 42])));
        assert_eq!(holes.of(&of("a.b.events", 2)), None);
        for malformed in ["events/3", "events@3", "events/x@3", "events/3@5-4", "events/3@-", ""] {
            let said = parse(malformed).unwrap_err().to_string();
            assert!(
                said.contains(&format!("`{malformed}`")) && said.contains("topic/partition@offset"),
                "{said}"
            );
        }
        assert!(parse("events/3@0-18446744073709551615").is_err());
    }

    #[test]
    fn only_named_offsets_without_a_record_are_filled() {
        let stored = |offset| nothing(offset, 7);
        let (holes, mut next) = (BTreeSet::from([1, 2, 5]), 0);
        let offsets = |filled: Vec<StoredRecord>| {
            filled.iter().map(|stored| stored.offset).collect::<Vec<_>>()
        };
        assert_eq!(
            offsets(fill(&holes, &mut next, vec![stored(0), stored(2), stored(3)])),
            [0, 1, 2, 3]
        );
        // 4 is not named: a gap as ever.
        assert_eq!(offsets(fill(&holes, &mut next, vec![stored(6)])), [6]);
        let mut next = 5;
        assert_eq!(offsets(leading(&holes, &mut next, 6, 10)), [5]);
        assert_eq!(next, 6);
    }

    #[tokio::test]
    async fn a_record_at_a_named_offset_is_read_as_ever() {
        let looked_up = async |offset, limit, fetched: Result<Vec<u64>, Error>| {
            let holes = BTreeSet::from([1, 2, 3, 7, 8]);
            let fetched = fetched
                .map(|offsets| offsets.into_iter().map(|offset| nothing(offset, 7)).collect());
            let found =
                looked_up(holes, offset, limit, || Box::pin(async { Ok(9) }), fetched).await;
            found.map(|found| {
                found
                    .into_iter()
                    .map(|stored| (stored.offset, stored.appended_at_ms))
                    .collect::<Vec<_>>()
            })
        };
        let nothing_there = || Err(Error::Setting("nothing can be read".to_owned()));
        assert_eq!(
            looked_up(1, 10, Ok(vec![2, 4])).await.unwrap(),
            [(1, 7), (2, 7), (3, 7), (4, 7)]
        );
        assert_eq!(looked_up(2, 2, Ok(vec![2, 3, 4])).await.unwrap(), [(2, 7), (3, 7)]);
        assert_eq!(
            looked_up(7, 10, nothing_there()).await.unwrap(),
            [(7, 0), (8, 0)],
            "the last there are"
        );
        assert!(looked_up(6, 10, nothing_there()).await.is_err(), "not named");
        assert!(looked_up(7, 10, Err(Error::Unreachable("away".to_owned()))).await.is_err());
        assert_eq!(looked_up(9, 10, Ok(Vec::new())).await.unwrap(), [], "the end");
    }
}
