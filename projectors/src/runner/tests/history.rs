//! A partition of a log with everything that may lie in one, and what every reader must see in it, told without the fold; and the log
//! that holds it, of which more and more can be read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use eventlog::{Delivery, Error, Group, Log, Membership, Partition, Reply, Subscription, Topic};
use futures_util::future::BoxFuture;
use protocol::{
    entry::{Body, Entry, EventBody, Origin, OutcomeBody, Part, Verdict},
    fold::Fold,
    position::Position,
    record::{Record, Stored},
    time::Micros,
    wire::{self, Fact, Fingerprint, Meta, Reason, Wire},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What a writer does next.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Fence,
    /// So many events of one command.
    Commit(u32),
    /// As many, with a zombie's record after the first one.
    Mixed(u32),
    /// All but the last of so many: never seen.
    Torn(u32),
    Outcome,
    Barrier,
    /// A zombie's.
    Void,
}

/// Something visible: where it begins, where it ends, and how many events it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    pub first: u64,
    pub end: u64,
    pub weight: usize,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    pub records: Vec<Stored>,
    pub shown: Vec<Shown>,
    /// Of the fold in one go, by their offsets.
    pub positions: BTreeMap<u64, Position<Wire>>,
    epoch: u64,
    seq: u64,
}

impl History {
    pub fn of(acts: &[Act]) -> Self {
        let mut history = Self::default();
        history.positions.insert(0, Position::start());
        acts.iter().for_each(|act| history.add(*act));
        let mut fold = Fold::<Wire>::new();
        for stored in history.records.clone() {
            fold.apply(stored.offset, wire::decode(stored.record)).expect("no gap");
            history.positions.insert(fold.position().offset, fold.position().clone());
        }
        history
    }

    /// Whatever lies there.
    pub fn raw(records: Vec<Stored>) -> Arc<Self> {
        Arc::new(Self { records, ..Self::default() })
    }

    pub fn end(&self) -> u64 {
        self.records.len() as u64
    }

    /// What a projection must have that stands at `offset`.
    pub fn below(&self, offset: u64) -> Vec<Shown> {
        self.shown.iter().copied().filter(|shown| shown.end <= offset).collect()
    }

    fn add(&mut self, act: Act) {
        let first = self.end();
        match act {
            Act::Fence => {
                (self.epoch, self.seq) = (self.epoch + 1, 0);
                self.push(None, Body::Fence);
            }
            Act::Commit(of) | Act::Mixed(of) | Act::Torn(of) => {
                for index in 1..=of {
                    match act {
                        Act::Torn(_) if index == of => return,
                        Act::Mixed(_) if index == 2 => self.add(Act::Void),
                        _ => {}
                    }
                    let part = if of == 1 { Part::WHOLE } else { Part { index, of } };
                    self.write(Body::Event(event(first, part)));
                }
                self.show(first, of as usize);
            }
            Act::Outcome => {
                let body = OutcomeBody { origin: origin(first), version: 1, verdict: Verdict::Rejected, reason: Reason(b"{}".to_vec()) };
                self.write(Body::Outcome(body));
                self.show(first, 1);
            }
            Act::Barrier => self.write(Body::Barrier),
            Act::Void => {
                let entry = Entry { epoch: 99, writer: Uuid::from_u128(99), seq: Some(7), drained: None, body: Body::Barrier };
                self.lay(&entry);
            }
        }
    }

    fn show(&mut self, first: u64, weight: usize) {
        self.shown.push(Shown { first, end: self.end(), weight });
    }

    fn write(&mut self, body: Body<Wire>) {
        let seq = self.seq;
        self.seq += 1;
        self.push(Some(seq), body);
    }

    fn push(&mut self, seq: Option<u64>, body: Body<Wire>) {
        let writer = Uuid::from_u128(u128::from(self.epoch));
        self.lay(&Entry { epoch: self.epoch, writer, seq, drained: None, body });
    }

    fn lay(&mut self, entry: &Entry<Wire>) {
        let record: Record = wire::encode(entry, "/test/thing", Uuid::from_u128(5));
        self.records.push(Stored { offset: self.end(), appended_at_ms: 1, record });
    }
}

fn origin(command: u64) -> Origin<Wire> {
    Origin {
        aggregate: Uuid::from_u128(1),
        command: Uuid::from_u128(u128::from(command)),
        fingerprint: Fingerprint { key_number: 0, hmac: [0; 32] },
        meta: Meta::default(),
        source: None,
    }
}

fn event(command: u64, part: Part) -> EventBody<Wire> {
    let event = Fact { event_type: "thing.made".into(), schema: "thing.made.v1".into(), data: b"{}".to_vec() };
    EventBody { origin: origin(command), version: u64::from(part.index), part, time: Micros(0), event }
}

/// The partitions of one topic, by their numbers. Clones are the same.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Shelves>>);

#[derive(Default)]
struct Shelves {
    partitions: Vec<Shelved>,
    readers: Vec<Reader>,
    chunk: usize,
    /// What lies below is forgotten.
    begin: u64,
}

struct Shelved {
    history: Arc<History>,
    /// So many records can be read.
    visible: usize,
}

struct Reader {
    partition: usize,
    next: usize,
    deliveries: mpsc::Sender<Delivery>,
}

impl Shelf {
    /// Deliveries have `chunk` records; of each partition `visible` can be read.
    pub fn new(histories: &[Arc<History>], visible: usize, chunk: usize) -> Self {
        let shown = |history: &Arc<History>| Shelved { history: history.clone(), visible: visible.min(history.records.len()) };
        Self(Arc::new(Mutex::new(Shelves { partitions: histories.iter().map(shown).collect(), readers: Vec::new(), chunk, begin: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `more` records arrive in every partition. Whether there were any left.
    pub fn grow(&self, more: usize) -> bool {
        let mut shelves = self.lock();
        let mut grown = false;
        for partition in &mut shelves.partitions {
            grown |= partition.visible < partition.history.records.len();
            partition.visible = (partition.visible + more).min(partition.history.records.len());
        }
        let Shelves { partitions, readers, chunk, .. } = &mut *shelves;
        readers.iter_mut().for_each(|reader| reader.bring(&partitions[reader.partition], *chunk));
        grown
    }

    /// What lies below `begin` is not there any more.
    pub fn forget(&self, begin: u64) {
        self.lock().begin = begin;
    }

    /// Every reader is at its end.
    pub fn stop(&self) {
        for reader in std::mem::take(&mut self.lock().readers) {
            let _ = reader.deliveries.try_send(Delivery::Failed(Error::Unreachable("stopped".to_owned())));
        }
    }
}

impl Reader {
    fn bring(&mut self, partition: &Shelved, chunk: usize) {
        while self.next < partition.visible {
            let until = (self.next + chunk).min(partition.visible);
            let _ = self.deliveries.try_send(Delivery::Records(partition.history.records[self.next..until].to_vec()));
            self.next = until;
        }
        let _ = self.deliveries.try_send(Delivery::CaughtUp(partition.visible as u64));
    }
}

impl Log for Shelf {
    fn begin(&self, _: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let begin = self.lock().begin;
        Box::pin(async move { Ok(begin) })
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let end = self.lock().partitions[of.index as usize].visible as u64;
        Box::pin(async move { Ok(end) })
    }

    fn read(&self, of: &Partition, offset: u64) -> Result<Subscription, Error> {
        let (deliveries, receiver) = mpsc::channel(1_024);
        let mut shelves = self.lock();
        let partition = of.index as usize;
        let mut reader = Reader { partition, next: usize::try_from(offset).expect("few"), deliveries };
        reader.bring(&shelves.partitions[partition], shelves.chunk);
        shelves.readers.push(reader);
        Ok(Subscription { deliveries: receiver, guard: CancellationToken::new().drop_guard() })
    }

    fn fetch(&self, of: &Partition, offset: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Stored>, Error>> {
        let shelves = self.lock();
        if offset < shelves.begin {
            let error = of.error("it is forgotten");
            return Box::pin(async { Err(error) });
        }
        let partition = &shelves.partitions[of.index as usize];
        let from = usize::try_from(offset).expect("few").min(partition.visible);
        let found = partition.history.records[from..(from + limit).min(partition.visible)].to_vec();
        Box::pin(async move { Ok(found) })
    }

    fn prepare(&self, _: Vec<Topic>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn append(&self, to: &Partition, _: Record, _: Reply) -> Result<(), Error> {
        Err(to.error("projectors append nothing"))
    }

    fn join(&self, _: Group) -> Result<Membership, Error> {
        Err(Error::Refused("members are told by the test".to_owned()))
    }

    fn health(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self, _: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
