//! A log that has dropped the beginning of one topic, as Kafka does when the time of its records is
//! over.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use highwater_log::{
    Error, Group, LocalLog, Log, Membership, Partition, Reply, Subscription, Topic,
};
use highwater_protocol::record::{Record, StoredRecord};

pub struct Forgetting {
    pub inner: Arc<LocalLog>,
    pub topic: Arc<str>,
    /// In those partitions of the topic that are that long.
    pub begin: u64,
}

impl Forgetting {
    fn outside(of: &Partition, offset: u64, begin: u64) -> Error {
        of.error(format!("offset {offset} is outside the log, which begins at {begin}"))
    }
}

impl Log for Forgetting {
    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let of = of.clone();
        Box::pin(async move {
            let end = Log::end(&*self.inner, &of).await?;
            Ok(if of.topic == self.topic && end >= self.begin { self.begin } else { 0 })
        })
    }

    fn read(&self, of: &Partition, offset: u64) -> Result<Subscription, Error> {
        self.inner.read(of, offset)
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        let of = of.clone();
        Box::pin(async move {
            let begin = self.begin(&of).await?;
            if offset < begin {
                Err(Self::outside(&of, offset, begin))
            } else {
                Log::fetch(&*self.inner, &of, offset, limit).await
            }
        })
    }

    fn prepare(&self, topics: Vec<Topic>) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.prepare(topics)
    }

    fn append(&self, to: &Partition, record: Record, reply: Reply) -> Result<(), Error> {
        self.inner.append(to, record, reply)
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        Log::end(&*self.inner, of)
    }

    fn join(&self, group: Group) -> Result<Membership, Error> {
        self.inner.join(group)
    }

    fn health(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.health()
    }

    fn close(&self, within: Duration) -> BoxFuture<'_, ()> {
        self.inner.close(within)
    }
}
