//! What the writer thread, the readers and the socket of a local log share: the open store, the
//! topics, the state of health. Assigns no offset and writes no record.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use highwater_protocol::record::StoredRecord;
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Settings,
    store::{self, Bounds, Row, Store, TopicRow},
};
use crate::{
    log::{Error, Partition, Topic, TopicKind},
    raw::RawTopic,
};

/// Of one partition, while appends wait.
const FORGOTTEN_AT_ONCE: usize = 1_000;

pub struct Shared {
    pub folder: PathBuf,
    pub settings: Settings,
    store: RwLock<Option<Store>>,
    topics: RwLock<BTreeMap<Arc<str>, Arc<TopicState>>>,
    /// Why appends are refused; `None` while they are not.
    trouble: watch::Sender<Option<String>>,
    pub queued_bytes: AtomicUsize,
    pub closed: CancellationToken,
    #[cfg(test)]
    pub faults: super::tests::Faults,
}

/// A topic and from where to where each of its partitions can be read.
pub struct TopicState {
    pub row: TopicRow,
    begins: Vec<AtomicU64>,
    pub ends: Vec<watch::Sender<u64>>,
}

impl Shared {
    pub fn open(folder: PathBuf, settings: Settings) -> Result<Self, store::Error> {
        let store = Store::open(&folder, true, settings.cache_bytes)?;
        let shared = Self {
            folder,
            settings,
            store: RwLock::new(None),
            topics: RwLock::default(),
            trouble: watch::Sender::new(None),
            queued_bytes: AtomicUsize::new(0),
            closed: CancellationToken::new(),
            #[cfg(test)]
            faults: super::tests::Faults::default(),
        };
        shared.adopt(store)?;
        Ok(shared)
    }

    /// Gives the store up and opens its files again. While it is closed, readers wait or hear of
    /// trouble.
    pub fn reopen(&self) -> Result<(), store::Error> {
        self.release();
        self.adopt(Store::open(&self.folder, false, self.settings.cache_bytes)?)
    }

    /// Closes the files.
    pub fn release(&self) {
        *self.store.write() = None;
    }

    fn adopt(&self, store: Store) -> Result<(), store::Error> {
        let rows = store.topics()?;
        let mut topics = self.topics.write();
        for (name, row) in rows {
            let name: Arc<str> = name.into();
            let state = topics.entry(name).or_insert_with(|| Arc::new(TopicState::new(row)));
            for (partition, end) in (0..).zip(&state.ends) {
                state.begins[partition as usize]
                    .store(store.begin(state.row.id, partition)?, Ordering::Release);
                let found = store.end(state.row.id, partition)?;
                let before = end.send_replace(found);
                if found < before {
                    // Readers beyond it fail by themselves.
                    tracing::error!(
                        partition,
                        before,
                        found,
                        "the local store lost records that it had acknowledged"
                    );
                }
            }
        }
        *self.store.write() = Some(store);
        Ok(())
    }

    /// Creates the topic, or checks that it is what it must be.
    pub fn prepare(&self, topic: &Topic) -> Result<(), Error> {
        let mut topics = self.topics.write();
        if let Some(state) = topics.get(&topic.name) {
            return state.check(topic);
        }
        let id = topics.values().map(|state| state.row.id + 1).max().unwrap_or(0);
        let row =
            TopicRow { id, partitions: topic.partitions, kind: kind_name(topic.kind).to_owned() };
        self.store()?
            .as_ref()
            .ok_or_else(closed)?
            .create_topic(&topic.name, &row)
            .map_err(to_error)?;
        topics.insert(Arc::clone(&topic.name), Arc::new(TopicState::new(row)));
        Ok(())
    }

    pub fn topic(&self, of: &Partition) -> Result<Arc<TopicState>, Error> {
        let topics = self.topics.read();
        let state = topics.get(&of.topic).filter(|state| of.index < state.row.partitions);
        state.cloned().ok_or_else(|| of.error("there is no such partition"))
    }

    pub fn raw_topics(&self) -> Vec<RawTopic> {
        let topics = self.topics.read();
        topics
            .iter()
            .map(|(name, state)| RawTopic {
                name: name.to_string(),
                partitions: state.row.partitions,
            })
            .collect()
    }

    pub fn commit(&self, rows: Vec<Row>) -> Result<(), store::Error> {
        #[cfg(test)]
        self.faults.before_commit(&self.folder)?;
        let store = self.store.read();
        store.as_ref().ok_or_else(|| store::Error::Missing(self.folder.clone()))?.commit(rows)
    }

    /// Reads without waiting for a store that is being opened again.
    pub fn fetch(
        &self,
        of: &Partition,
        from: u64,
        until: u64,
        bounds: Bounds,
    ) -> Result<Vec<StoredRecord>, Error> {
        let topic = self.topic(of)?;
        self.store()?
            .as_ref()
            .ok_or_else(closed)?
            .fetch(topic.row.id, of.index, from, until, bounds)
            .map_err(|e| of.error(e))
    }

    /// For look-ups: the range is checked against the log.
    pub fn look_up(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        let end = self.check(of, offset)?;
        self.fetch(of, offset, end, Bounds { records: limit, bytes: self.settings.fetch_bytes })
    }

    /// The end of the partition, if it has `offset`.
    pub fn check(&self, of: &Partition, offset: u64) -> Result<u64, Error> {
        let topic = self.topic(of)?;
        let (begin, end) = (topic.begin(of.index), *topic.end(of.index).borrow());
        if offset > end {
            return Err(
                of.error(format!("offset {offset} is outside the log, which ends at {end}"))
            );
        }
        if offset < begin {
            return Err(
                of.error(format!("offset {offset} is outside the log, which begins at {begin}"))
            );
        }
        Ok(end)
    }

    /// Forgets accepted commands that are older than they are kept, some of each partition, and
    /// never the last one: it says where the partition ends. Returns whether there may be more.
    pub fn forget(&self) -> Result<bool, store::Error> {
        let keep_ms = i64::try_from(self.settings.keep_commands.as_millis()).unwrap_or(i64::MAX);
        let before_ms = (self.settings.clock)().saturating_sub(keep_ms);
        let topics: Vec<(Arc<str>, Arc<TopicState>)> = {
            let topics = self.topics.read();
            let commands =
                topics.iter().filter(|(_, state)| state.row.kind == kind_name(TopicKind::Commands));
            commands.map(|(name, state)| (Arc::clone(name), Arc::clone(state))).collect()
        };
        let store = self.store.read();
        let store = store.as_ref().ok_or_else(|| store::Error::Missing(self.folder.clone()))?;
        let mut more = false;
        for (topic, state) in topics {
            for partition in 0..state.row.partitions {
                let (from, last) =
                    (state.begin(partition), state.end(partition).borrow().saturating_sub(1));
                let begin = store.forget(
                    state.row.id,
                    partition,
                    from,
                    last,
                    before_ms,
                    FORGOTTEN_AT_ONCE,
                )?;
                if begin > from {
                    tracing::info!(%topic, partition, from, begin, "accepted commands are old \
                        enough to be forgotten");
                    state.begins[partition as usize].store(begin, Ordering::Release);
                }
                more |= begin >= from + FORGOTTEN_AT_ONCE as u64;
            }
        }
        Ok(more)
    }

    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    pub fn watch_trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    pub fn set_trouble(&self, trouble: Option<String>) {
        self.trouble.send_replace(trouble);
    }

    /// Takes room in the queue, or says that there is none.
    pub fn reserve(&self, bytes: usize) -> bool {
        let limit = self.settings.queue_bytes;
        let add = |queued: usize| queued.checked_add(bytes).filter(|sum| *sum <= limit);
        self.queued_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok()
    }

    pub fn unreserve(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    fn store(&self) -> Result<RwLockReadGuard<'_, Option<Store>>, Error> {
        self.store.try_read().ok_or_else(closed)
    }
}

impl TopicState {
    fn new(row: TopicRow) -> Self {
        let ends = (0..row.partitions).map(|_| watch::Sender::new(0)).collect();
        let begins = (0..row.partitions).map(|_| AtomicU64::new(0)).collect();
        Self { row, begins, ends }
    }

    /// `partition` has been checked by [`Shared::topic`].
    pub fn begin(&self, partition: u32) -> u64 {
        self.begins[partition as usize].load(Ordering::Acquire)
    }

    /// `partition` has been checked by [`Shared::topic`].
    pub fn end(&self, partition: u32) -> &watch::Sender<u64> {
        &self.ends[partition as usize]
    }

    fn check(&self, wanted: &Topic) -> Result<(), Error> {
        let (name, found, kind) = (&wanted.name, self.row.partitions, kind_name(wanted.kind));
        if found != wanted.partitions {
            return Err(Error::Promise(format!(
                "topic {name}: partitions is {found}, must be {}",
                wanted.partitions
            )));
        }
        if self.row.kind != kind {
            return Err(Error::Promise(format!(
                "topic {name}: kind is {}, must be {kind}",
                self.row.kind
            )));
        }
        Ok(())
    }
}

fn kind_name(kind: TopicKind) -> &'static str {
    match kind {
        TopicKind::Events => "events",
        TopicKind::Commands => "commands",
        TopicKind::Owners => "owners",
    }
}

fn closed() -> Error {
    Error::Unreachable("the local store is closed, or being opened again after an error".to_owned())
}

/// As the log's own error.
pub fn to_error(error: store::Error) -> Error {
    if error.is_full() {
        Error::ReadOnly(error.to_string())
    } else {
        Error::Unreachable(error.to_string())
    }
}
