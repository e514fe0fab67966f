//! Every visible event of a partition, once, in the log's sequence, through the fold. Reads raw
//! records; never appends.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::stream::{self, Stream};
use highwater_protocol::{
    entry::EventBody,
    fold::{Commit, Effect, Fold, Gap},
    record::StoredRecord,
    wire::{self, Wire},
};

use crate::{
    log::{self, Partition},
    raw::RawReader,
};

/// At most so many records in one look-up.
const FETCH_RECORDS: usize = 1_000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error("{partition}: {gap}")]
    Gap { partition: Partition, gap: Gap },
}

/// What happens at the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The replay ends where the log ended when it began.
    End,
    /// It goes on; a log without news is asked again after this time.
    Forever { poll_every: Duration },
}

/// One visible event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedEvent {
    /// Where the event's own record lies.
    pub offset: u64,
    /// The offset after the last record of its commit: a reader that has read up to here has seen
    /// the whole commit.
    pub commit_end: u64,
    pub appended_at_ms: i64,
    pub event: EventBody<Wire>,
}

/// See the module.
pub struct Replay {
    reader: Arc<dyn RawReader>,
    partition: Partition,
    /// Events below it are folded and not shown.
    from: u64,
    until: Until,
    end: Option<u64>,
    fold: Fold<Wire>,
    /// Offset and time of the records of the open commit.
    open: Vec<(u64, i64)>,
    ready: VecDeque<ReplayedEvent>,
}

impl Replay {
    /// Events whose record lies at `from` or above. What lies below is read all the same: the fold
    /// says what is valid.
    pub fn new(
        reader: Arc<dyn RawReader>,
        partition: Partition,
        from: Option<u64>,
        until: Until,
    ) -> Self {
        let from = from.unwrap_or(0);
        Self {
            reader,
            partition,
            from,
            until,
            end: None,
            fold: Fold::new(),
            open: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// The next event; `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<ReplayedEvent>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if !self.advance().await? {
                return Ok(None);
            }
        }
    }

    /// The same as a stream, which ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<ReplayedEvent, Error>> + Send {
        stream::unfold(Some(self), |replay| async move {
            let mut replay = replay?;
            match replay.next().await {
                Ok(Some(event)) => Some((Ok(event), Some(replay))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Whether there may be more.
    async fn advance(&mut self) -> Result<bool, Error> {
        let end = match (self.until, self.end) {
            (Until::End, Some(end)) => end,
            _ => self.reader.end(&self.partition).await?,
        };
        self.end = Some(end);
        let at = self.fold.next_offset();
        if at >= end {
            let Until::Forever { poll_every } = self.until else { return Ok(false) };
            tokio::time::sleep(poll_every).await;
            return Ok(true);
        }
        let records = self.reader.fetch(&self.partition, at, FETCH_RECORDS).await?;
        if records.is_empty() {
            return Err(self
                .partition
                .error(format!("offset {at} cannot be read, but the log ends at {end}"))
                .into());
        }
        for stored in records {
            if self.until == Until::End && stored.offset >= end {
                break;
            }
            self.apply(stored)?;
        }
        Ok(true)
    }

    fn apply(&mut self, stored: StoredRecord) -> Result<(), Error> {
        let StoredRecord { offset, appended_at_ms, record } = stored;
        let effect = self
            .fold
            .apply(offset, wire::decode(record))
            .map_err(|gap| Error::Gap { partition: self.partition.clone(), gap })?;
        match effect {
            Effect::Opened => {
                if self.fold.position().offset == offset {
                    self.open.clear();
                }
                self.open.push((offset, appended_at_ms));
            }
            Effect::Commit(commit) => {
                if commit.first == offset {
                    self.open.clear();
                }
                self.open.push((offset, appended_at_ms));
                self.show(commit);
            }
            // The open commit, if there is one, goes on or was dropped: the next record of a commit
            // tells.
            _ => {}
        }
        Ok(())
    }

    fn show(&mut self, commit: Commit<Wire>) {
        let places = std::mem::take(&mut self.open);
        for ((offset, appended_at_ms), event) in places.into_iter().zip(commit.events) {
            if offset >= self.from {
                self.ready.push_back(ReplayedEvent {
                    offset,
                    commit_end: commit.end,
                    appended_at_ms,
                    event,
                });
            }
        }
    }
}
