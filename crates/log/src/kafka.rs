//! [`KafkaLog`]: the log on Apache Kafka, with the settings and against the traps that
//! docs/log-format.md names. Never uses transactions, never commits an offset that anything depends
//! on.

mod context;
mod group;
mod lookup;
mod message;
mod passing;
mod prepare;
mod producer;
mod promises;
mod reader;
mod settings;
mod subscriber;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use highwater_protocol::record::{Record, StoredRecord};
use rdkafka::error::KafkaError;

pub use self::settings::Settings;
use self::{lookup::Lookups, producer::Producers, reader::Readers};
use crate::{
    log::{Error, Group, Log, Membership, Pace, Partition, Reply, Subscription, Topic},
    raw::{RawReader, RawTopic},
};

/// See the module.
pub struct KafkaLog {
    settings: Settings,
    producers: Arc<Producers>,
    readers: Arc<Readers>,
    lookups: Arc<Lookups>,
}

impl KafkaLog {
    /// Starts the clients; whether brokers answer is what [`Log::prepare`] finds out.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        Ok(Self {
            producers: Arc::new(Producers::new(&settings)?),
            readers: Arc::new(Readers::new(&settings)),
            lookups: Arc::new(Lookups::new(&settings)?),
            settings,
        })
    }

    fn warm_producers(&self, topics: Vec<Topic>) -> BoxFuture<'static, Result<(), Error>> {
        let (producers, lookups, within) =
            (Arc::clone(&self.producers), Arc::clone(&self.lookups), self.settings.request_timeout);
        blocking(move || {
            topics.iter().try_for_each(|topic| {
                lookups.await_leaders(topic)?;
                producers.warm(&topic.name, within)
            })
        })
    }
}

impl Log for KafkaLog {
    fn prepare(&self, topics: Vec<Topic>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            prepare::prepare(&self.settings, &topics).await?;
            self.warm_producers(topics).await
        })
    }

    fn append(&self, to: &Partition, record: Record, reply: Reply) -> Result<(), Error> {
        self.producers.append(to, &record, reply)
    }

    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        begin(&self.lookups, of)
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        end(&self.lookups, of)
    }

    fn read(&self, of: &Partition, offset: u64) -> Result<Subscription, Error> {
        self.readers.subscribe(of, offset, Pace::Prompt)
    }

    fn read_behind(&self, of: &Partition, offset: u64) -> Result<Subscription, Error> {
        self.readers.subscribe(of, offset, Pace::Behind)
    }

    fn warm(&self, topics: Vec<Arc<str>>, pace: Pace) -> BoxFuture<'_, Result<(), Error>> {
        let readers = Arc::clone(&self.readers);
        blocking(move || topics.iter().try_for_each(|topic| readers.warm(topic, pace)))
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        fetch(&self.lookups, of, offset, limit)
    }

    fn join(&self, group: Group) -> Result<Membership, Error> {
        group::join(&self.settings, &group)
    }

    fn health(&self) -> BoxFuture<'_, Result<(), Error>> {
        let (lookups, within) = (Arc::clone(&self.lookups), self.settings.request_timeout);
        blocking(move || lookups.ping(within))
    }

    fn close(&self, within: Duration) -> BoxFuture<'_, ()> {
        let (producers, readers, lookups) =
            (Arc::clone(&self.producers), Arc::clone(&self.readers), Arc::clone(&self.lookups));
        // A thread and no task of the runtime: closing a consumer can hang, and must not keep the
        // process.
        let (closed, has_closed) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            producers.close(within);
            readers.close();
            lookups.close();
            // The caller does not wait any more when the time is over.
            let _ = closed.send(());
        });
        Box::pin(async move {
            if tokio::time::timeout(within, has_closed).await.is_err() {
                tracing::warn!(?within, "the Kafka clients did not close in time");
            }
        })
    }
}

/// Only the read side: no producer is started, so no right to write is needed.
pub struct KafkaReader {
    lookups: Arc<Lookups>,
}

impl KafkaReader {
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        Ok(Self { lookups: Arc::new(Lookups::new(settings)?) })
    }
}

impl RawReader for KafkaReader {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, Error>> {
        let lookups = Arc::clone(&self.lookups);
        blocking(move || lookups.topics())
    }

    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        begin(&self.lookups, of)
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        end(&self.lookups, of)
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        fetch(&self.lookups, of, offset, limit)
    }
}

impl RawReader for KafkaLog {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, Error>> {
        let lookups = Arc::clone(&self.lookups);
        blocking(move || lookups.topics())
    }

    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        begin(&self.lookups, of)
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        end(&self.lookups, of)
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        fetch(&self.lookups, of, offset, limit)
    }
}

fn begin(lookups: &Arc<Lookups>, of: &Partition) -> BoxFuture<'static, Result<u64, Error>> {
    let (lookups, of) = (Arc::clone(lookups), of.clone());
    blocking(move || lookups.range(&of).map(|range| range.low))
}

fn end(lookups: &Arc<Lookups>, of: &Partition) -> BoxFuture<'static, Result<u64, Error>> {
    let (lookups, of) = (Arc::clone(lookups), of.clone());
    blocking(move || lookups.range(&of).map(|range| range.high))
}

fn fetch(
    lookups: &Arc<Lookups>,
    of: &Partition,
    offset: u64,
    limit: usize,
) -> BoxFuture<'static, Result<Vec<StoredRecord>, Error>> {
    let (lookups, of) = (Arc::clone(lookups), of.clone());
    blocking(move || lookups.fetch(&of, offset, limit))
}

impl fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaReader").finish_non_exhaustive()
    }
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog")
            .field("bootstrap", &self.settings.bootstrap)
            .finish_non_exhaustive()
    }
}

fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> BoxFuture<'static, Result<T, Error>> {
    let started = tokio::task::spawn_blocking(work);
    Box::pin(async move {
        started
            .await
            .unwrap_or_else(|error| Err(Error::Unreachable(format!("a look-up ended: {error}"))))
    })
}

fn unreachable(error: KafkaError) -> Error {
    Error::Unreachable(error.to_string())
}
