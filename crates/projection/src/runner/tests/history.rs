//! A partition of a log with everything that may lie in one, and what every reader must see in it,
//! told without the fold; and the log that holds it, of which more and more can be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use highwater_log::{
    Delivery, Error, Group, Log, Membership, Partition, Reply, Subscription, Topic,
};
use highwater_protocol::{
    command_queue,
    entry::{Body, CommandMetadata, Entry, EventBody, OutcomeBody, Part, Verdict},
    fold::Fold,
    position::{Position, Witness},
    record::{Record, StoredRecord},
    time::Micros,
    wire::{self, Fingerprint, Meta, Reason, RecordedEvent, Wire},
    writer::Expected,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::{Source, TopicPartition};

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
pub struct VisibleItem {
    pub first: u64,
    pub end: u64,
    pub weight: usize,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    pub records: Vec<StoredRecord>,
    pub shown: Vec<VisibleItem>,
    /// By their first offsets.
    commits: BTreeSet<u64>,
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

    /// A partition of `commands`: a record each, and whether it is a command.
    pub fn of_queue(commands: &[bool]) -> Self {
        let mut history = Self::default();
        history.positions.insert(0, Position::start());
        for (offset, is_command) in (0..).zip(commands) {
            let record = if *is_command {
                command_queue::encode(&accepted(offset))
            } else {
                Record::default()
            };
            let appended_at_ms = 1_000 + i64::try_from(offset).expect("few");
            history.records.push(StoredRecord { offset, appended_at_ms, record });
            history.show(offset, 1);
            let writer = if *is_command { accepted(offset).command } else { Uuid::nil() };
            let witness = Some(Witness { offset, epoch: 1_000 + offset, writer, seq: None });
            history
                .positions
                .insert(offset + 1, Position { offset: offset + 1, witness, ..Position::start() });
        }
        history
    }

    pub fn end(&self) -> u64 {
        self.records.len() as u64
    }

    /// What a projection must have that stands at `offset`.
    pub fn below(&self, offset: u64) -> Vec<VisibleItem> {
        self.shown.iter().copied().filter(|shown| shown.end <= offset).collect()
    }

    /// Whether what is visible from there on is events, and no outcome.
    pub fn is_commit(&self, first: u64) -> bool {
        self.commits.contains(&first)
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
                self.commits.insert(first);
                self.show(first, of as usize);
            }
            Act::Outcome => {
                let body = OutcomeBody {
                    metadata: metadata(first),
                    version: 1,
                    verdict: Verdict::Rejected,
                    reason: Reason(b"{}".to_vec()),
                };
                self.write(Body::Outcome(body));
                self.show(first, 1);
            }
            Act::Barrier => self.write(Body::Barrier),
            Act::Void => {
                let entry = Entry {
                    epoch: 99,
                    writer: Uuid::from_u128(99),
                    seq: Some(7),
                    drained: None,
                    body: Body::Barrier,
                };
                self.lay(&entry);
            }
        }
    }

    fn show(&mut self, first: u64, weight: usize) {
        self.shown.push(VisibleItem { first, end: self.end(), weight });
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
        self.records.push(StoredRecord { offset: self.end(), appended_at_ms: 1, record });
    }
}

pub fn accepted(offset: u64) -> command_queue::AcceptedCommand {
    command_queue::AcceptedCommand {
        aggregate: Uuid::from_u128(1),
        command: Uuid::from_u128(u128::from(offset)),
        name: "thing.make".to_owned(),
        version: 1,
        fingerprint: Fingerprint { key_number: 1, hmac: [7; 32] },
        caller_key: true,
        expected: Expected::Anything,
        actor: Uuid::from_u128(2),
        scopes: Vec::new(),
        deadline: Micros(0),
        correlation: Uuid::nil(),
        traceparent: None,
        body: b"{}".to_vec(),
    }
}

/// Two take turns.
pub fn aggregate_at(first: u64) -> Uuid {
    Uuid::from_u128(1 + u128::from(first % 2))
}

fn metadata(command: u64) -> CommandMetadata<Wire> {
    CommandMetadata {
        aggregate: aggregate_at(command),
        command: Uuid::from_u128(u128::from(command)),
        fingerprint: Fingerprint { key_number: 0, hmac: [0; 32] },
        meta: Meta::default(),
        source: None,
    }
}

fn event(command: u64, part: Part) -> EventBody<Wire> {
    let event = RecordedEvent {
        event_type: "thing.made".into(),
        schema: "thing.made.v1".into(),
        data: b"{}".to_vec(),
    };
    EventBody {
        metadata: metadata(command),
        version: u64::from(part.index),
        part,
        time: Micros(0),
        event,
    }
}

/// The partitions of one category. Clones are the same.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Shelves>>);

/// Which topic, and which of its partitions.
type At = (Source, u32);

#[derive(Default)]
struct Shelves {
    partitions: BTreeMap<At, Shelved>,
    readers: Vec<Reader>,
    chunk: usize,
}

struct Shelved {
    history: Arc<History>,
    /// So many records can be read.
    visible: usize,
    /// What lies below is forgotten.
    begin: u64,
}

struct Reader {
    at: At,
    next: usize,
    deliveries: mpsc::Sender<Delivery>,
}

fn at(partition: &Partition) -> At {
    (
        if partition.topic.ends_with(".commands") { Source::Commands } else { Source::Events },
        partition.index,
    )
}

impl Shelf {
    /// Deliveries have `chunk` records; of each partition `visible` can be read.
    pub fn new(
        events: &[Arc<History>],
        queues: &[Arc<History>],
        visible: usize,
        chunk: usize,
    ) -> Self {
        let shown = |source: Source| {
            move |(index, history): (u32, &Arc<History>)| {
                let shelved = Shelved {
                    history: history.clone(),
                    visible: visible.min(history.records.len()),
                    begin: 0,
                };
                ((source, index), shelved)
            }
        };
        let events = (0..).zip(events).map(shown(Source::Events));
        let partitions = events.chain((0..).zip(queues).map(shown(Source::Commands))).collect();
        Self(Arc::new(Mutex::new(Shelves { partitions, readers: Vec::new(), chunk })))
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.0.lock()
    }

    /// What lies at `topic_partition`, and the first offset that is still there.
    pub fn of(&self, topic_partition: &TopicPartition) -> (Arc<History>, u64) {
        let shelves = self.lock();
        let shelved = &shelves.partitions[&(topic_partition.source, topic_partition.partition)];
        (shelved.history.clone(), shelved.begin)
    }

    /// `more` records arrive in every partition. Whether there were any left.
    pub fn grow(&self, more: usize) -> bool {
        let mut shelves = self.lock();
        let mut grown = false;
        for partition in shelves.partitions.values_mut() {
            grown |= partition.visible < partition.history.records.len();
            partition.visible = (partition.visible + more).min(partition.history.records.len());
        }
        let Shelves { partitions, readers, chunk } = &mut *shelves;
        readers.iter_mut().for_each(|reader| reader.bring(&partitions[&reader.at], *chunk));
        grown
    }

    /// `more` records of each command queue are not there any more, or as many as there were.
    pub fn forget(&self, more: u64) {
        let mut shelves = self.lock();
        for ((source, _), partition) in &mut shelves.partitions {
            if *source == Source::Commands {
                partition.begin = (partition.begin + more).min(partition.visible as u64);
            }
        }
        let Shelves { partitions, readers, .. } = &mut *shelves;
        readers
            .iter_mut()
            .for_each(|reader| reader.next = reader.next.max(partitions[&reader.at].from(0)));
    }

    pub fn is_read(&self) -> bool {
        !self.lock().readers.is_empty()
    }

    /// Every reader is at its end.
    pub fn stop(&self) {
        self.stop_where(|_| true);
    }

    /// Every reader of a partition of `events` is.
    pub fn stop_one(&self, partition: u32) {
        self.stop_where(|at| at == (Source::Events, partition));
    }

    fn stop_where(&self, stops: impl Fn(At) -> bool) {
        for reader in self.lock().readers.extract_if(.., |reader| stops(reader.at)) {
            let _ = reader
                .deliveries
                .try_send(Delivery::Failed(Error::Unreachable("stopped".to_owned())));
        }
    }
}

impl Shelved {
    /// The place of the first record that is there, from `offset` on.
    fn from(&self, offset: u64) -> usize {
        usize::try_from(self.begin.max(offset)).expect("few")
    }
}

impl Reader {
    fn bring(&mut self, partition: &Shelved, chunk: usize) {
        while self.next < partition.visible {
            let until = (self.next + chunk).min(partition.visible);
            let _ = self
                .deliveries
                .try_send(Delivery::Records(partition.history.records[self.next..until].to_vec()));
            self.next = until;
        }
        let _ = self.deliveries.try_send(Delivery::CaughtUp(partition.visible as u64));
    }
}

impl Log for Shelf {
    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let begin = self.lock().partitions[&at(of)].begin;
        Box::pin(async move { Ok(begin) })
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let end = self.lock().partitions[&at(of)].visible as u64;
        Box::pin(async move { Ok(end) })
    }

    fn read(&self, of: &Partition, offset: u64) -> Result<Subscription, Error> {
        let (deliveries, receiver) = mpsc::channel(1_024);
        let mut shelves = self.lock();
        let partition = &shelves.partitions[&at(of)];
        let mut reader = Reader { at: at(of), next: partition.from(offset), deliveries };
        reader.bring(partition, shelves.chunk);
        shelves.readers.push(reader);
        Ok(Subscription { deliveries: receiver, guard: CancellationToken::new().drop_guard() })
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        let shelves = self.lock();
        let partition = &shelves.partitions[&at(of)];
        if offset < partition.begin {
            let error = of.error("it is forgotten");
            return Box::pin(async { Err(error) });
        }
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
