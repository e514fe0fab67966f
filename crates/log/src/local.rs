//! [`LocalLog`]: the log on one machine, in an embedded store (fjall), fsynced in group commits.
//! One process writes; others read through its socket. Never acknowledges what is not on the disk.
//! Keeps events for ever, and announcements too, which are few; accepted commands as long as a
//! broker does.
//!
//! Why fjall: one commit of 1 / 16 / 64 / 256 records of 900 bytes with fsync took 0.15 / 0.29 /
//! 0.52 / 1.15 ms on two cores, with redb 0.31 / 0.66 / 1.20 / 3.73 ms. Its lock on the folder is
//! why the socket exists.

mod codec;
pub mod durable;
mod groups;
mod reader;
mod remote;
mod serve;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use futures_util::future::BoxFuture;
use highwater_protocol::record::{Record, StoredRecord};
use parking_lot::{Mutex, RwLock};

pub use self::remote::LocalReader;
use self::{groups::Groups, shared::Shared, writer::PendingAppend};
use crate::{
    log::{Error, Group, Log, Membership, Partition, Reply, Subscription, Topic},
    raw::{RawReader, RawTopic},
};

/// Milliseconds since the Unix epoch: what the log stamps on what it appends, as a broker does.
pub type AppendClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Limits of a [`LocalLog`].
#[derive(Clone)]
pub struct Settings {
    /// Appends that may wait for the next group commit; beyond it they are refused.
    pub queue_records: usize,
    pub queue_bytes: usize,
    /// At most so much in one group commit.
    pub commit_records: usize,
    pub commit_bytes: usize,
    /// A larger record is refused, as a broker does (`max.message.bytes`).
    pub record_bytes: usize,
    /// At most so much in one delivery to a reader, and so many deliveries ahead of it.
    pub chunk_records: usize,
    pub chunk_bytes: usize,
    pub reader_chunks: usize,
    /// At most so much in one look-up.
    pub fetch_bytes: usize,
    /// The store's block cache.
    pub cache_bytes: u64,
    /// Room that the disk must have before a store that ran full takes appends again.
    pub spare_bytes: usize,
    /// How often a store in trouble is tried again.
    pub retry_every: Duration,
    /// Other processes that may read through the socket at the same time.
    pub socket_connections: usize,
    /// How long accepted commands are kept, at least.
    pub keep_commands: Duration,
    /// How often it is looked for older ones; first after so long, so that what was accepted before
    /// a long rest is decided first.
    pub forget_every: Duration,
    pub clock: AppendClock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue_records: 16_384,
            queue_bytes: 64 << 20,
            commit_records: 4_096,
            commit_bytes: 8 << 20,
            record_bytes: 1 << 20,
            chunk_records: 1_000,
            chunk_bytes: 1 << 20,
            reader_chunks: 4,
            fetch_bytes: 4 << 20,
            cache_bytes: 64 << 20,
            spare_bytes: 16 << 20,
            retry_every: Duration::from_secs(1),
            socket_connections: 16,
            keep_commands: Duration::from_secs(7 * 24 * 60 * 60),
            forget_every: Duration::from_secs(600),
            clock: Arc::new(wall_clock),
        }
    }
}

/// See the module.
pub struct LocalLog {
    shared: Arc<Shared>,
    groups: Arc<Groups>,
    queue: RwLock<Option<SyncSender<PendingAppend>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl LocalLog {
    /// Opens, or creates, the log in `folder`. Needs a Tokio runtime, whose tasks serve readers and
    /// socket.
    pub fn open(folder: impl AsRef<Path>, settings: Settings) -> Result<Self, Error> {
        let shared = Arc::new(
            Shared::open(folder.as_ref().to_owned(), settings)
                .map_err(|error| Error::Refused(error.to_string()))?,
        );
        let (queue, receiver) = sync_channel(shared.settings.queue_records);
        serve::start(&shared)?;
        let for_writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("local-log".to_owned())
            .spawn(move || writer::run(&for_writer, &receiver))
            .map_err(|error| {
                Error::Refused(format!(
                    "the writer thread of the local log does not start: {error}"
                ))
            })?;
        Ok(Self {
            shared,
            groups: Arc::default(),
            queue: RwLock::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// No append is accepted any more; the writer ends with what is queued.
    fn stop(&self) -> Option<JoinHandle<()>> {
        *self.queue.write() = None;
        self.writer.lock().take()
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for LocalLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLog").field("folder", &self.shared.folder).finish_non_exhaustive()
    }
}

impl Log for LocalLog {
    fn prepare(&self, topics: Vec<Topic>) -> BoxFuture<'_, Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        blocking(move || topics.iter().try_for_each(|topic| shared.prepare(topic)))
    }

    fn append(&self, to: &Partition, record: Record, reply: Reply) -> Result<(), Error> {
        let topic = self.shared.topic(to)?;
        if let Some(trouble) = self.shared.trouble() {
            return Err(Error::ReadOnly(trouble));
        }
        let size_bytes = record.size_bytes();
        let limit = self.shared.settings.record_bytes;
        if size_bytes > limit {
            return Err(Error::Record(format!(
                "{to}: {size_bytes} bytes are more than the limit of {limit}"
            )));
        }
        let queue = self.queue.read();
        let queue =
            queue.as_ref().ok_or_else(|| Error::Refused("the log was closed".to_owned()))?;
        if !self.shared.reserve(size_bytes) {
            return Err(Error::Refused(format!("{to}: the queue of the local log is full")));
        }
        let queued = PendingAppend { topic, partition: to.index, record, size_bytes, reply };
        queue.try_send(queued).map_err(|refused| {
            self.shared.unreserve(size_bytes);
            match refused {
                TrySendError::Full(_) => {
                    Error::Refused(format!("{to}: the queue of the local log is full"))
                }
                TrySendError::Disconnected(_) => {
                    Error::Refused("the writer of the local log has ended".to_owned())
                }
            }
        })
    }

    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(std::future::ready(self.shared.topic(of).map(|topic| topic.begin(of.index))))
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let end = self.shared.topic(of).map(|topic| *topic.end(of.index).borrow());
        Box::pin(std::future::ready(end))
    }

    fn read(&self, of: &Partition, offset: u64) -> Result<Subscription, Error> {
        reader::subscribe(&self.shared, of, offset)
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        let (shared, of) = (Arc::clone(&self.shared), of.clone());
        blocking(move || shared.look_up(&of, offset, limit))
    }

    fn join(&self, group: Group) -> Result<Membership, Error> {
        let topics = self.shared.raw_topics();
        let mut partitions = Vec::new();
        for name in &group.topics {
            let topic = topics.iter().find(|topic| *topic.name == **name);
            partitions.extend(
                topic.ok_or_else(|| Error::Refused(format!("there is no topic {name}")))?.each(),
            );
        }
        Ok(self.groups.join(group.id, partitions))
    }

    fn health(&self) -> BoxFuture<'_, Result<(), Error>> {
        let closed = self
            .shared
            .closed
            .is_cancelled()
            .then(|| Error::Unreachable("the log was closed".to_owned()));
        let failed = closed.or_else(|| self.shared.trouble().map(Error::ReadOnly));
        Box::pin(std::future::ready(failed.map_or(Ok(()), Err)))
    }

    fn close(&self, within: Duration) -> BoxFuture<'_, ()> {
        let writer = self.stop();
        Box::pin(async move {
            let Some(writer) = writer else { return };
            let joined = tokio::task::spawn_blocking(move || writer.join().is_ok());
            if !matches!(tokio::time::timeout(within, joined).await, Ok(Ok(true))) {
                tracing::warn!(folder = %self.shared.folder.display(), "the local log did not \
                    close in time");
            }
        })
    }
}

impl RawReader for LocalLog {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, Error>> {
        Box::pin(std::future::ready(Ok(self.shared.raw_topics())))
    }

    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        Log::begin(self, of)
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        Log::end(self, of)
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        Log::fetch(self, of, offset, limit)
    }
}

fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> BoxFuture<'static, Result<T, Error>> {
    Box::pin(async move {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| {
            Err(Error::Unreachable(format!("the local log's reader ended: {error}")))
        })
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time of appending is the log's own, as a broker's: nothing is decided by it"
)]
fn wall_clock() -> i64 {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
