//! The way into the command queue of a category: a command is in the log before its caller hears
//! that it was accepted.
//!
//! Any instance may put a command there, so each must be able to tell how long the command queue
//! is. It never is sure: see `CommandQueue::is_full`.

mod ends;

use std::{sync::Arc, time::Duration};

use highwater_log::{Appended, Log, Partition, Reply, Report, Ticket};
use highwater_protocol::{
    command_queue::{AcceptedCommand, encode},
    record::Record,
};
use highwater_runtime::shutdown::Shutdown;
use metrics::counter;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::Instant,
};

pub use self::ends::Ends;
use crate::{owner::announcements::Announcements, settings::QueueSettings};

/// The command queue of one category, for all requests.
pub struct CommandQueue {
    pub log: Arc<dyn Log>,
    pub announcements: Arc<Announcements>,
    pub category: &'static str,
    /// `<prefix>.<category>.commands`.
    pub topic: Arc<str>,
    pub settings: QueueSettings,
    /// Bytes on their way into the log, of all categories.
    pub room: Arc<Semaphore>,
    pub shutdown: Shutdown,
    pub ends: Ends,
}

/// Why a command is not in the command queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the command queue of the partition is as long as it may be")]
    Full,
    #[error("too much is on its way into the command queue")]
    NoRoom,
    /// It may be in the command queue all the same.
    #[error("the log did not say that it has the command")]
    Unknown,
}

/// How long a request waits to hear of the end.
const END_WITHIN: Duration = Duration::from_millis(250);
/// Appends of one command: a second record of it changes nothing.
const ATTEMPTS: u32 = 3;

impl CommandQueue {
    /// Puts the command into the command queue of `partition`, and returns the offset after it. At
    /// `until` the caller goes.
    pub async fn accept(
        &self,
        partition: u32,
        command: &AcceptedCommand,
        until: Instant,
    ) -> Result<u64, Refusal> {
        let outcome = match tokio::time::timeout_at(until, self.append(partition, command)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::Unknown),
        };
        let label = match outcome {
            Ok(_) => "accepted",
            Err(Refusal::Full) => "full",
            Err(Refusal::NoRoom) => "no-room",
            Err(Refusal::Unknown) => "unknown",
        };
        counter!("highwater_queue_commands_total", "category" => self.category, "outcome" => label)
            .increment(1);
        outcome
    }

    async fn append(&self, partition: u32, command: &AcceptedCommand) -> Result<u64, Refusal> {
        let to = Partition { topic: self.topic.clone(), index: partition };
        let record = encode(command);
        if self.is_full(&to, record.size_bytes()).await {
            return Err(Refusal::Full);
        }
        for _ in 0..ATTEMPTS {
            let ticket = Ticket { writer: command.command, seq: None };
            if let Some(offset) =
                self.append_once(&to, record.clone(), ticket)?.await.unwrap_or(None)
            {
                self.ends.heard(partition, offset + 1);
                return Ok(offset + 1);
            }
        }
        Err(Refusal::Unknown)
    }

    /// Hands the record over. What comes back says where it lies, if the log says so; its bytes
    /// count until then, whether or not a request still waits.
    fn append_once(
        &self,
        to: &Partition,
        record: Record,
        ticket: Ticket,
    ) -> Result<oneshot::Receiver<Option<u64>>, Refusal> {
        let bytes = u32::try_from(record.size_bytes()).map_err(|_| Refusal::NoRoom)?;
        let room = self.room.clone().try_acquire_many_owned(bytes).map_err(|_| Refusal::NoRoom)?;
        let (reports, mut reported) = mpsc::unbounded_channel();
        self.log.append(to, record, Reply { ticket, to: reports }).map_err(|error| {
            tracing::debug!(
                partition = %to, %error, "a command could not be put into the command queue"
            );
            Refusal::Unknown
        })?;
        let (answer, answered) = oneshot::channel();
        self.shutdown.tasks.spawn(async move {
            let report: Option<Report> = reported.recv().await;
            drop(room);
            let offset = match report.map(|report| report.result) {
                Some(Ok(Appended::At(offset))) => Some(offset),
                // Such a record can be lost.
                Some(Ok(Appended::Somewhere)) | None => None,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a queued command was not acknowledged by the log");
                    None
                }
            };
            let _ = answer.send(offset);
        });
        Ok(answered)
    }

    /// Whether the command queue is as long as it may be, as far as is known here: from where its
    /// owner last said that it had come (`owners`; behind by at most a sixteenth of the limit, or
    /// what 30 s brought), to where `commands` ended at most a second ago.
    ///
    /// No instance knows how many bytes lie there, so one more of `bytes` is taken while as many of
    /// its size would fit: what waits is then never more than the limit times the natural logarithm
    /// of its number, and small commands find room when large ones do not.
    async fn is_full(&self, partition: &Partition, bytes: usize) -> bool {
        let end = match self.ends.known(partition.index) {
            Ok(known) => known,
            // A log that does not say where it ends will say whether it takes the command.
            Err(known) => match tokio::time::timeout(END_WITHIN, self.log.end(partition)).await {
                Ok(Ok(end)) => self.ends.heard(partition.index, end),
                Ok(Err(_)) | Err(_) => known,
            },
        };
        let waiting =
            end.saturating_sub(self.announcements.drained(self.category, partition.index));
        waiting >= self.settings.max_backlog
            || waiting.saturating_mul(bytes as u64) >= self.settings.max_backlog_bytes
    }
}
