//! A partition of the local log as a [`Subscription`]: a task per reader, woken by the writer.
//! Never writes.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{shared::Shared, store::Bounds};
use crate::log::{Delivery, Error, Partition, Subscription};

/// Near the end everything lies in memory: reading so little takes no detour over another thread.
const INLINE_RECORDS: u64 = 64;

pub fn subscribe(shared: &Arc<Shared>, of: &Partition, offset: u64) -> Result<Subscription, Error> {
    shared.topic(of)?;
    let runtime =
        tokio::runtime::Handle::try_current().map_err(|error| Error::Refused(error.to_string()))?;
    let (deliveries, receiver) = mpsc::channel(shared.settings.reader_chunks);
    let token = shared.closed.child_token();
    let guard = token.clone().drop_guard();
    let reader = Reader { shared: Arc::clone(shared), of: of.clone(), at: offset, deliveries };
    runtime.spawn(async move { reader.run(token).await });
    Ok(Subscription { deliveries: receiver, guard })
}

struct Reader {
    shared: Arc<Shared>,
    of: Partition,
    at: u64,
    deliveries: mpsc::Sender<Delivery>,
}

impl Reader {
    async fn run(mut self, token: CancellationToken) {
        tokio::select! {
            biased;
            () = token.cancelled() => {
                if self.shared.closed.is_cancelled() {
                    // A reader that has fallen behind hears it from the closed channel.
                    let _ = self.deliveries.try_send(Delivery::Failed(Error::Unreachable(
                        "the log was closed".to_owned(),
                    )));
                }
            }
            failed = self.deliver() => {
                if let Some(error) = failed {
                    let _ = self.deliveries.send(Delivery::Failed(error)).await;
                }
            }
        }
    }

    /// Ends with an error, or with none when its receiver is gone.
    async fn deliver(&mut self) -> Option<Error> {
        let topic = match self.shared.topic(&self.of) {
            Ok(topic) => topic,
            Err(error) => return Some(error),
        };
        if let Err(outside) = self.shared.check(&self.of, self.at) {
            return Some(outside);
        }
        let mut ends = topic.end(self.of.index).subscribe();
        let mut trouble = self.shared.watch_trouble();
        loop {
            let end = *ends.borrow_and_update();
            trouble.mark_unchanged();
            if self.at > end {
                return Some(
                    self.of.error(format!(
                        "offset {} is outside the log, which ends at {end}",
                        self.at
                    )),
                );
            }
            if self.at == end {
                self.deliveries.send(Delivery::CaughtUp(end)).await.ok()?;
                ends.changed().await.ok()?;
                continue;
            }
            match self.chunk(end).await {
                Ok(records) => {
                    let Some(last) = records.last() else {
                        return Some(
                            self.of
                                .error(format!("offset {} is missing in the local store", self.at)),
                        );
                    };
                    self.at = last.offset + 1;
                    self.deliveries.send(Delivery::Records(records)).await.ok()?;
                }
                Err(error @ Error::Unreachable(_)) => {
                    self.deliveries.send(Delivery::Trouble(error.to_string())).await.ok()?;
                    // The store is being opened again: that ends in a change of the trouble, or in
                    // closing.
                    let _ =
                        tokio::time::timeout(self.shared.settings.retry_every, trouble.changed())
                            .await;
                }
                Err(error) => return Some(error),
            }
        }
    }

    async fn chunk(
        &self,
        end: u64,
    ) -> Result<Vec<highwater_protocol::record::StoredRecord>, Error> {
        let bounds = Bounds {
            records: self.shared.settings.chunk_records,
            bytes: self.shared.settings.chunk_bytes,
        };
        if end - self.at <= INLINE_RECORDS {
            return self.shared.fetch(&self.of, self.at, end, bounds);
        }
        let (shared, of, at) = (Arc::clone(&self.shared), self.of.clone(), self.at);
        let read = tokio::task::spawn_blocking(move || shared.fetch(&of, at, end, bounds)).await;
        read.unwrap_or_else(|error| Err(self.of.error(error)))
    }
}
