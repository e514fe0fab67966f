//! Following partitions: one consumer on its own thread per topic (a second one where a partition
//! is read twice) spreads records into bounded channels, and pauses a partition whose reader is
//! behind. Never joins a group, never starts anywhere but where it was told.
//!
//! A consumer per topic, because librdkafka's "end of partition" names the partition's number only.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{BorrowedMessage, Message},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Settings,
    context::Context,
    lookup::{at, range},
    message,
    subscriber::Subscriber,
    unreachable,
};
use crate::log::{Error, Pace, Partition, Subscription};

/// How long a poll may keep the thread from noticing dropped subscriptions. A partition that is
/// subscribed to again within that is read by a second consumer.
const TICK: Duration = Duration::from_millis(50);
/// The same where a paused partition may have to be resumed.
const TICK_WHILE_BEHIND: Duration = Duration::from_millis(2);
/// How often a reader that reads nothing asks for the leaders: librdkafka forgets those of a topic
/// that it does not use after 15 minutes, and may need a second to look for them when a partition
/// comes.
const KNOW_EVERY: Duration = Duration::from_secs(60);
const KNOW_WITHIN: Duration = Duration::from_secs(1);
/// Messages taken before what was taken is handed on.
const BATCH: usize = 1_000;

pub struct Readers {
    settings: Settings,
    readers: Mutex<ByTopic>,
    closed: CancellationToken,
}

/// By topic and pace.
type ByTopic = HashMap<(Arc<str>, Pace), Vec<Arc<Reader>>>;

/// One consumer and its thread.
struct Reader {
    topic: Arc<str>,
    settings: Settings,
    consumer: BaseConsumer<Context>,
    /// By partition. Only the thread takes one out: then no message of an older subscriber is in
    /// its hands.
    subscribers: Mutex<HashMap<u32, Subscriber>>,
    stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Readers {
    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            readers: Mutex::default(),
            closed: CancellationToken::new(),
        }
    }

    pub fn subscribe(
        &self,
        of: &Partition,
        offset: u64,
        pace: Pace,
    ) -> Result<Subscription, Error> {
        let mut readers = self.lock()?;
        let readers = readers.entry((Arc::clone(&of.topic), pace)).or_default();
        let (deliveries, receiver) = mpsc::channel(self.settings.reader_chunks);
        let token = self.closed.child_token();
        let subscription = Subscription { deliveries: receiver, guard: token.clone().drop_guard() };
        let mut subscriber = Subscriber::new(offset, deliveries, token);
        for reader in readers.iter() {
            match reader.admit(of, subscriber)? {
                None => return Ok(subscription),
                Some(refused) => subscriber = refused,
            }
        }
        let reader = Reader::start(&of.topic, &self.settings, pace)?;
        readers.push(Arc::clone(&reader));
        match reader.admit(of, subscriber)? {
            None => Ok(subscription),
            Some(_) => Err(of.error("a new reader is occupied")),
        }
    }

    /// Starts a reader of `topic` that knows its leaders, so that the first subscription finds it
    /// ready. Blocks.
    pub fn warm(&self, topic: &Arc<str>, pace: Pace) -> Result<(), Error> {
        let mut readers = self.lock()?;
        let readers = readers.entry((Arc::clone(topic), pace)).or_default();
        if readers.is_empty() {
            readers.push(Reader::start(topic, &self.settings, pace)?);
        }
        for reader in readers.iter() {
            reader.know_leaders(self.settings.request_timeout).map_err(unreachable)?;
        }
        Ok(())
    }

    /// Ends all subscriptions and closes the consumers, which may take long, all at once. Blocks.
    pub fn close(&self) {
        self.closed.cancel();
        let readers: Vec<_> = std::mem::take(&mut *self.readers.lock()).into_values().collect();
        for reader in readers.iter().flatten() {
            reader.stop.store(true, Ordering::Release);
        }
        std::thread::scope(|closing| {
            for reader in readers.into_iter().flatten() {
                closing.spawn(move || {
                    let thread = reader.thread.lock().take();
                    if thread.is_some_and(|thread| thread.join().is_err()) {
                        tracing::error!(topic = %reader.topic, "the reader's thread had panicked");
                    }
                });
            }
        });
    }

    fn lock(&self) -> Result<MutexGuard<'_, ByTopic>, Error> {
        let readers = self.readers.lock();
        if self.closed.is_cancelled() {
            Err(Error::Refused("the log was closed".to_owned()))
        } else {
            Ok(readers)
        }
    }
}

impl Reader {
    fn start(topic: &Arc<str>, settings: &Settings, pace: Pace) -> Result<Arc<Self>, Error> {
        let consumer = settings.reader(pace).create_with_context(Context { role: "reader" });
        let reader = Arc::new(Self {
            topic: Arc::clone(topic),
            settings: settings.clone(),
            consumer: consumer.map_err(|error| Error::Refused(error.to_string()))?,
            subscribers: Mutex::default(),
            stop: AtomicBool::new(false),
            thread: Mutex::default(),
        });
        let running = Arc::clone(&reader);
        let thread = std::thread::Builder::new()
            .name("kafka-reader".to_owned())
            .spawn(move || running.run())
            .map_err(|error| {
                Error::Refused(format!("a reader's thread does not start: {error}"))
            })?;
        *reader.thread.lock() = Some(thread);
        Ok(reader)
    }

    /// Gives the subscriber back if its partition is read here already.
    fn admit(&self, of: &Partition, subscriber: Subscriber) -> Result<Option<Subscriber>, Error> {
        let mut subscribers = self.lock();
        if subscribers.contains_key(&of.index) {
            return Ok(Some(subscriber));
        }
        let start = at(of, subscriber.at)?;
        self.consumer.incremental_assign(&start).map_err(|error| of.error(error))?;
        subscribers.insert(of.index, subscriber);
        Ok(None)
    }

    fn run(&self) {
        let (mut tick, mut known) = (TICK, Instant::now());
        while !self.stop.load(Ordering::Acquire) {
            let first = self.consumer.poll(tick);
            let mut subscribers = self.lock();
            if subscribers.is_empty() && known.elapsed() >= KNOW_EVERY {
                drop(subscribers);
                // Tried again; a reader that subscribes meanwhile only waits longer.
                let _ = self.know_leaders(KNOW_WITHIN);
                known = Instant::now();
                continue;
            }
            let mut polled = first;
            for _ in 0..BATCH {
                let Some(event) = polled else { break };
                self.take(&mut subscribers, event);
                polled = self.consumer.poll(Duration::ZERO);
            }
            if let Some(event) = polled {
                self.take(&mut subscribers, event);
            }
            tick = self.hand_on(&mut subscribers);
        }
        for subscriber in self.lock().values_mut() {
            subscriber.fail(Error::Unreachable("the log was closed".to_owned()));
            subscriber.hand_on();
        }
        self.lock().clear();
    }

    fn know_leaders(&self, within: Duration) -> KafkaResult<()> {
        self.consumer.fetch_metadata(Some(&self.topic), within).map(drop)
    }

    fn take(
        &self,
        subscribers: &mut HashMap<u32, Subscriber>,
        event: KafkaResult<BorrowedMessage<'_>>,
    ) {
        match event {
            Ok(message) => {
                let subscriber = u32::try_from(message.partition())
                    .ok()
                    .and_then(|index| subscribers.get_mut(&index));
                if let Some(subscriber) = subscriber {
                    subscriber.take(message::stored(&message));
                }
            }
            Err(KafkaError::PartitionEOF(index)) => {
                if let Some(subscriber) =
                    u32::try_from(index).ok().and_then(|index| subscribers.get_mut(&index))
                {
                    subscriber.caught_up();
                }
            }
            Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
            )) => {
                self.check_all(subscribers);
            }
            Err(error) => {
                for subscriber in subscribers.values_mut() {
                    subscriber.trouble(&error.to_string());
                }
            }
        }
    }

    /// Some position is outside its partition; librdkafka does not say which, and has stopped
    /// reading that one.
    fn check_all(&self, subscribers: &mut HashMap<u32, Subscriber>) {
        for (index, subscriber) in subscribers.iter_mut() {
            let of = self.partition(*index);
            let checked = range(&self.consumer, &of, self.settings.request_timeout)
                .map(|range| range.check(&of, subscriber.at));
            match checked {
                Ok(Err(outside)) => subscriber.fail(outside),
                Ok(Ok(())) => self.again(&of, subscriber),
                Err(error) => {
                    subscriber.trouble(&error.to_string());
                    self.again(&of, subscriber);
                }
            }
        }
    }

    /// Reads on where the subscriber is, as if it had come just now.
    fn again(&self, of: &Partition, subscriber: &mut Subscriber) {
        self.unassign(of);
        subscriber.paused = false;
        let assigned = at(of, subscriber.at).and_then(|list| {
            self.consumer.incremental_assign(&list).map_err(|error| of.error(error))
        });
        if let Err(error) = assigned {
            subscriber.fail(error);
        }
    }

    /// Hands on what was taken, pauses and resumes, takes out subscribers that have gone. Returns
    /// how long the next poll may wait.
    fn hand_on(&self, subscribers: &mut HashMap<u32, Subscriber>) -> Duration {
        let mut tick = TICK;
        subscribers.retain(|index, subscriber| {
            if subscriber.hand_on() {
                self.unassign(&self.partition(*index));
                return false;
            }
            if subscriber.is_behind() {
                tick = TICK_WHILE_BEHIND;
            }
            self.pace(*index, subscriber);
            true
        });
        tick
    }

    fn pace(&self, index: u32, subscriber: &mut Subscriber) {
        let pause = subscriber.waiting_records() >= self.settings.reader_buffer_records;
        let resume = !subscriber.is_behind();
        // The list only when something changes: this is every turn of an idle reader, for each of
        // its partitions.
        let list = || at(&self.partition(index), subscriber.at);
        let changed = match (subscriber.paused, pause, resume) {
            (false, true, _) => list().map(|list| self.consumer.pause(&list)),
            (true, _, true) => list().map(|list| self.consumer.resume(&list)),
            _ => return,
        };
        let Ok(changed) = changed else { return };
        match changed {
            Ok(()) => subscriber.paused = !subscriber.paused,
            // Tried again at the next turn.
            Err(error) => {
                tracing::warn!(topic = %self.topic, partition = index, %error, "a partition was \
                    neither paused nor resumed")
            }
        }
    }

    fn unassign(&self, of: &Partition) {
        let unassigned = at(of, 0).and_then(|list| {
            self.consumer.incremental_unassign(&list).map_err(|error| of.error(error))
        });
        if let Err(error) = unassigned {
            tracing::warn!(%error, "a partition was not given up by its reader");
        }
    }

    fn partition(&self, index: u32) -> Partition {
        Partition { topic: Arc::clone(&self.topic), index }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Subscriber>> {
        self.subscribers.lock()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let readers = std::mem::take(self.readers.get_mut());
        for reader in readers.values().flatten() {
            reader.stop.store(true, Ordering::Release);
        }
        // Dropping a consumer can hang.
        std::thread::spawn(move || drop(readers));
    }
}
