//! Look-ups: ends of partitions, some records from an offset. Blocking calls with a deadline, each
//! on a consumer of its own kind, so that they never disturb a reader that follows. Never used for
//! following.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use highwater_protocol::record::StoredRecord;
use parking_lot::{Mutex, MutexGuard};
use rdkafka::{
    ClientConfig, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    topic_partition_list::Offset,
};
use tokio::time::Instant;

use super::{Settings, context::Context, message, passing::passes, unreachable};
use crate::{
    log::{Error, Pace, Partition, Topic},
    raw::RawTopic,
};

/// A look-up of more than so many records is one of a sequence that goes through a partition.
const SPOT_RECORDS: usize = 200;

/// How soon what passes is asked again.
const RETRY: Duration = Duration::from_millis(50);

/// How long one leader is asked.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How much longer is read where the log says that it has ended, and its end says that it has not.
const AFTER_END: Duration = Duration::from_secs(1);

pub struct Lookups {
    /// For some records here and there.
    spots: Pool,
    /// For going through: the next look-up finds assigned and prefetched what it asks for.
    scans: Pool,
    settings: Settings,
}

struct Pool {
    cursors: Vec<Mutex<Option<Cursor>>>,
    next: AtomicUsize,
}

/// A consumer, and where it would read on.
struct Cursor {
    consumer: BaseConsumer<Context>,
    at: Option<(Partition, u64)>,
}

/// The offsets that a partition has.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub low: u64,
    pub high: u64,
}

impl Lookups {
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let pool = |config: &dyn Fn() -> ClientConfig| {
            let create = |_| {
                let consumer = config().create_with_context(Context { role: "lookup" });
                Ok(Mutex::new(Some(Cursor {
                    consumer: consumer.map_err(|error| Error::Refused(error.to_string()))?,
                    at: None,
                })))
            };
            Ok(Pool {
                cursors: (0..settings.lookups).map(create).collect::<Result<_, Error>>()?,
                next: AtomicUsize::new(0),
            })
        };
        Ok(Self {
            spots: pool(&|| settings.spot())?,
            scans: pool(&|| settings.reader(Pace::Prompt))?,
            settings: settings.clone(),
        })
    }

    pub fn range(&self, of: &Partition) -> Result<Range, Error> {
        self.spots.with(None, |cursor| range(&cursor.consumer, of, self.settings.request_timeout))
    }

    /// Waits until the leader of every partition answers for it. Metadata names leaders that do not
    /// know it yet, and then the first batch of an idempotent producer can be refused while the
    /// next one is taken: the retry of the first is answered with "duplicate sequence", which
    /// librdkafka reports as `Ok` without offset, and the record is lost.
    pub fn await_leaders(&self, topic: &Topic) -> Result<(), Error> {
        (0..topic.partitions).try_for_each(|index| {
            self.range(&Partition { topic: Arc::clone(&topic.name), index }).map(drop)
        })
    }

    pub fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        let scan = limit > SPOT_RECORDS;
        let pool = if scan { &self.scans } else { &self.spots };
        pool.with(Some((of, offset)), |cursor| {
            let range = range(&cursor.consumer, of, self.settings.request_timeout)?;
            range.check(of, offset)?;
            if offset == range.high || limit == 0 {
                return Ok(Vec::new());
            }
            cursor.go_to(of, offset)?;
            let records = self.collect(&cursor.consumer, of, offset, range.high, limit);
            let next = records
                .as_ref()
                .ok()
                .and_then(|records| records.last())
                .map(|last| last.offset + 1);
            match next.filter(|next| scan && *next < range.high) {
                Some(next) => cursor.at = Some((of.clone(), next)),
                None => cursor.stop(of)?,
            }
            records
        })
    }

    /// All topics but Kafka's own.
    pub fn topics(&self) -> Result<Vec<RawTopic>, Error> {
        self.spots.with(None, |cursor| {
            let metadata = cursor
                .consumer
                .fetch_metadata(None, self.settings.request_timeout)
                .map_err(unreachable)?;
            let named = metadata.topics().iter().filter(|topic| !topic.name().starts_with("__"));
            let mut topics: Vec<_> = named
                .map(|topic| RawTopic {
                    name: topic.name().to_owned(),
                    partitions: u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX),
                })
                .collect();
            topics.sort();
            Ok(topics)
        })
    }

    /// Whether brokers answer.
    pub fn ping(&self, within: Duration) -> Result<(), Error> {
        self.spots.with(None, |cursor| match cursor.consumer.client().fetch_cluster_id(within) {
            Some(_) => cursor.consumer.fetch_metadata(None, within).map(drop).map_err(unreachable),
            None => {
                Err(Error::Unreachable(format!("no broker of {} answers", self.settings.bootstrap)))
            }
        })
    }

    /// Closes the consumers, which may take long, all at once. Blocks.
    pub fn close(&self) {
        std::thread::scope(|closing| {
            for cursor in self.spots.cursors.iter().chain(&self.scans.cursors) {
                closing.spawn(|| drop(cursor.lock().take()));
            }
        });
    }

    fn collect(
        &self,
        consumer: &BaseConsumer<Context>,
        of: &Partition,
        from: u64,
        high: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        let mut deadline = Instant::now() + self.settings.request_timeout;
        let (mut records, mut bytes, mut next): (Vec<StoredRecord>, usize, u64) =
            (Vec::new(), 0, from);
        let mut ended = false;
        while records.len() < limit && bytes < self.settings.fetch_bytes && next < high {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match consumer.poll(left.min(Duration::from_millis(100))) {
                Some(Ok(message)) if message_is_of(&message, of) => {
                    let stored = message::stored(&message);
                    if stored.offset < next {
                        continue;
                    }
                    next = stored.offset + 1;
                    bytes += stored.record.size_bytes();
                    records.push(stored);
                }
                // Offsets may end on something that no reader sees.
                Some(Err(KafkaError::PartitionEOF(_))) if !records.is_empty() => break,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    ended = true;
                    deadline = deadline.min(Instant::now() + AFTER_END);
                }
                Some(Err(
                    error @ (KafkaError::MessageConsumptionFatal(_) | KafkaError::Global(_)),
                )) => return Err(of.error(error)),
                // Trouble with a broker: librdkafka goes on trying, and so does this, until the
                // deadline.
                Some(_) | None => {}
            }
        }
        if records.is_empty() && ended {
            return Err(of.error(format!(
                "the log ends at {high}, but nothing from offset {from} on can be read: a \
                 transactional producer wrote here?"
            )));
        }
        if records.is_empty() {
            return Err(Error::Unreachable(format!(
                "{of}: offset {from} could not be read within {:?}",
                self.settings.request_timeout
            )));
        }
        Ok(records)
    }
}

impl Cursor {
    fn go_to(&mut self, of: &Partition, offset: u64) -> Result<(), Error> {
        if self.at.take().is_some_and(|(partition, next)| partition == *of && next == offset) {
            return Ok(());
        }
        self.consumer.assign(&at(of, offset)?).map_err(|error| of.error(error))
    }

    fn stop(&mut self, of: &Partition) -> Result<(), Error> {
        self.at = None;
        self.consumer.unassign().map_err(|error| of.error(error))
    }
}

impl Pool {
    fn with<T>(
        &self,
        place: Option<(&Partition, u64)>,
        work: impl FnOnce(&mut Cursor) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut cursor = self.free(place);
        work(cursor.as_mut().ok_or_else(|| Error::Unreachable("the log was closed".to_owned()))?)
    }

    /// The one that would read on at `place`, else one that is not in use, else the next in turn.
    fn free(&self, place: Option<(&Partition, u64)>) -> MutexGuard<'_, Option<Cursor>> {
        let mut unused = None;
        for cursor in &self.cursors {
            let Some(cursor) = cursor.try_lock() else { continue };
            let at = cursor
                .as_ref()
                .and_then(|cursor| cursor.at.as_ref())
                .map(|(partition, next)| (partition, *next));
            if at.is_some() && at == place {
                return cursor;
            }
            // One that waits nowhere is the better one.
            if unused.is_none() || at.is_none() {
                unused = Some(cursor);
            }
        }
        unused.unwrap_or_else(|| {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.cursors.len();
            self.cursors[turn].lock()
        })
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        let cursors =
            [&mut self.spots, &mut self.scans].map(|pool| std::mem::take(&mut pool.cursors));
        // Dropping a consumer can hang.
        std::thread::spawn(move || drop(cursors));
    }
}

impl Range {
    pub fn check(self, of: &Partition, offset: u64) -> Result<(), Error> {
        let Range { low, high } = self;
        if (low..=high).contains(&offset) {
            return Ok(());
        }
        Err(of.error(format!(
            "offset {offset} is outside the log, which begins at {low} and ends at {high}"
        )))
    }
}

pub fn range(
    consumer: &BaseConsumer<Context>,
    of: &Partition,
    within: Duration,
) -> Result<Range, Error> {
    let index = i32::try_from(of.index).unwrap_or(i32::MAX);
    let deadline = Instant::now() + within;
    let (low, high) = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match consumer.fetch_watermarks(&of.topic, index, left.clamp(RETRY, ATTEMPT)) {
            Ok(range) => break range,
            Err(error) if error.rdkafka_error_code().is_some_and(passes) && left > RETRY => {
                // librdkafka asks the leader that it knows, dead or alive, and by itself looks for
                // another one only every few minutes.
                let _ = consumer.fetch_metadata(Some(&of.topic), left.min(ATTEMPT));
                std::thread::sleep(RETRY);
            }
            Err(error) if error.rdkafka_error_code().is_some_and(passes) => {
                return Err(Error::Unreachable(format!("{of}: {error}")));
            }
            Err(error) => return Err(of.error(error)),
        }
    };
    match (u64::try_from(low), u64::try_from(high)) {
        (Ok(low), Ok(high)) => Ok(Range { low, high }),
        _ => Err(Error::Unreachable(format!("{of}: its ends are not known yet"))),
    }
}

/// One partition and where to begin.
pub fn at(of: &Partition, offset: u64) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::new();
    let (index, offset) =
        (i32::try_from(of.index).unwrap_or(i32::MAX), i64::try_from(offset).unwrap_or(i64::MAX));
    list.add_partition_offset(&of.topic, index, Offset::Offset(offset))
        .map_err(|error| of.error(error))?;
    Ok(list)
}

fn message_is_of(message: &rdkafka::message::BorrowedMessage<'_>, of: &Partition) -> bool {
    use rdkafka::message::Message;
    message.topic() == &*of.topic && u32::try_from(message.partition()) == Ok(of.index)
}
