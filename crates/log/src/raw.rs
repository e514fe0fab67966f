//! The log as bytes, for those who only read: audits and replays. Never appends, joins no group,
//! interprets nothing.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use highwater_protocol::record::StoredRecord;
use serde::{Deserialize, Serialize};

use crate::log::{Error, Partition};

/// A topic that exists, and how many partitions it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RawTopic {
    pub name: String,
    pub partitions: u32,
}

/// The read side of a log.
pub trait RawReader: Send + Sync + 'static {
    /// All topics, ordered by name.
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, Error>>;

    /// The first offset that is still there: 0 where nothing is forgotten.
    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let _ = of;
        Box::pin(std::future::ready(Ok(0)))
    }

    /// The offset after the last record.
    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>>;

    /// The records from `offset` on: at most `limit`, fewer where a limit on bytes is reached
    /// first, empty only at the end. An offset beyond the end is an error.
    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>>;
}

impl RawTopic {
    /// The partitions of this topic, from 0.
    pub fn each(&self) -> impl Iterator<Item = Partition> {
        let topic: Arc<str> = self.name.as_str().into();
        (0..self.partitions).map(move |index| Partition { topic: Arc::clone(&topic), index })
    }
}
