//! The [`Log`] trait. What every implementation promises, and the contract suite checks:
//!
//! * records of a partition appended through one `Log` are reported, and lie in the log, in the
//!   order of the appends, unless one of them failed;
//! * every accepted append gets exactly one report;
//! * a record reported `Ok` can be read, also by a reader opened afterwards;
//! * offsets are dense and start at 0.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use highwater_protocol::record::{Record, StoredRecord};
use tokio::sync::mpsc;
use uuid::Uuid;

/// A topic and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: Arc<str>,
    pub partitions: u32,
    pub kind: TopicKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicKind {
    /// Kept for ever.
    Events,
    /// Kept for 7 days.
    Commands,
    /// Compacted.
    Owners,
}

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    pub topic: Arc<str>,
    pub index: u32,
}

/// Who asks for a report: comes back unchanged in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub writer: Uuid,
    /// `None`: the fence.
    pub seq: Option<u64>,
}

/// Where the report of an append goes. The channel is unbounded because the appender bounds what it
/// has in flight.
#[derive(Clone, Debug)]
pub struct Reply {
    pub ticket: Ticket,
    pub to: mpsc::UnboundedSender<Report>,
}

/// The log's answer to one append.
#[derive(Clone, Debug)]
pub struct Report {
    pub ticket: Ticket,
    /// Which producer instance reported: a new one counts one up.
    pub generation: u64,
    pub result: Result<Appended, ReportError>,
}

/// Acknowledged by the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    At(u64),
    /// Acknowledged without saying where: only reading the record proves anything. It can even be
    /// lost: on a new Kafka topic the first batch was refused and the next one taken, and the retry
    /// of the first was answered as a duplicate.
    Somewhere,
}

/// Not acknowledged: but for a refusal, the record may still be, or come to be, in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Given up with the producer that it was handed to, after a fatal error of that one.
    #[error("purged before it was acknowledged")]
    Purged,
    #[error("{0}")]
    Failed(String),
    /// It was not sent, for reasons that have nothing to do with it, and never will be in the log.
    #[error("not sent: {0}")]
    Unsent(String),
    /// The log does not take this record, now or again: too large, invalid, not allowed. It is in
    /// the log only if it was sent before and the answer was lost.
    #[error("refused by the log: {0}")]
    Refused(String),
}

impl From<Error> for ReportError {
    /// Of an append that was not accepted.
    fn from(error: Error) -> Self {
        match error {
            Error::Record(what) => Self::Refused(what),
            error => Self::Unsent(error.to_string()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reachable, but not what was promised: names topic, setting, what it is and what it must be.
    #[error("{0}")]
    Promise(String),
    #[error("the log cannot be reached: {0}")]
    Unreachable(String),
    #[error("the log refused: {0}")]
    Refused(String),
    /// Not taken because of what it is: [`ReportError::Refused`], found before it was sent.
    #[error("the log does not take this record: {0}")]
    Record(String),
    /// What is configured cannot be.
    #[error("{0}")]
    Setting(String),
    /// The local store is full or broken: reads go on, appends do not.
    #[error("the log is read-only for now: {0}")]
    ReadOnly(String),
    #[error("{topic}/{partition}: {what}")]
    Partition { topic: Arc<str>, partition: u32, what: String },
}

/// What a subscription yields.
#[derive(Debug)]
pub enum Delivery {
    /// In offset order, without gaps between deliveries except where the log has them.
    Records(Vec<StoredRecord>),
    /// Everything below this offset has been delivered, and at that moment there was no more. May
    /// be repeated.
    CaughtUp(u64),
    /// The reader had a problem and goes on trying.
    Trouble(String),
    /// The subscription ended for good: the position is outside the log, the log was closed ...
    Failed(Error),
}

/// A partition being read. Dropping it ends the reading.
#[derive(Debug)]
pub struct Subscription {
    pub deliveries: mpsc::Receiver<Delivery>,
    /// Dropped with the subscription; implementations watch it.
    pub guard: tokio_util::sync::DropGuard,
}

/// How soon a reader must have what was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pace {
    /// At once: [`Log::read`].
    Prompt,
    /// Within some 50 ms, many at a time: [`Log::read_behind`].
    Behind,
}

/// A consumer group to join for the sake of its assignment alone; records are read by
/// [`Log::read`].
#[derive(Clone, Debug)]
pub struct Group {
    pub id: String,
    /// The partitions of these topics are shared out among the members.
    pub topics: Vec<Arc<str>>,
    /// Shown to operators (`client.id`).
    pub client: String,
}

#[derive(Debug, PartialEq, Eq)]
pub enum MembershipEvent {
    Assigned(Vec<Partition>),
    /// `lost`: the group has given them away already.
    Revoked {
        partitions: Vec<Partition>,
        lost: bool,
    },
}

/// Group membership. Dropping it leaves the group late (session timeout); [`Membership::leave`]
/// leaves at once.
pub struct Membership {
    pub events: mpsc::UnboundedReceiver<MembershipEvent>,
    pub leave: Box<dyn FnOnce(Duration) -> BoxFuture<'static, ()> + Send>,
    /// Stores, after the reader's own durable commit, the offsets that Kafka's own lag tools show.
    /// Best effort.
    pub commit: CommitOffsets,
}

/// See [`Membership::commit`].
pub type CommitOffsets = Arc<dyn Fn(&[(Partition, u64)]) + Send + Sync>;

pub trait Log: Send + Sync + 'static {
    /// Creates the topics that are missing, then reads back what was promised for all of them.
    fn prepare(&self, topics: Vec<Topic>) -> BoxFuture<'_, Result<(), Error>>;

    /// Hands a record over, without waiting. `Err`: not accepted, nothing will be reported.
    fn append(&self, to: &Partition, record: Record, reply: Reply) -> Result<(), Error>;

    /// The first offset that is still there: 0 but where the log forgets ([`TopicKind::Commands`]).
    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>>;

    /// The offset after the last record that readers can see.
    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>>;

    /// Reads from `offset` on, for ever.
    fn read(&self, of: &Partition, offset: u64) -> Result<Subscription, Error>;

    /// As [`Log::read`], for a reader that follows behind the head and is not waited for: records
    /// may come a little later, and together.
    fn read_behind(&self, of: &Partition, offset: u64) -> Result<Subscription, Error> {
        self.read(of, offset)
    }

    /// Makes ready for reading `topics` at `pace`, so that the first subscription does not wait for
    /// connections.
    fn warm(&self, topics: Vec<Arc<str>>, pace: Pace) -> BoxFuture<'_, Result<(), Error>> {
        let _ = (topics, pace);
        Box::pin(async { Ok(()) })
    }

    /// The records from `offset` on, at most `limit`, empty at the end. For look-ups, not for
    /// following.
    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>>;

    fn join(&self, group: Group) -> Result<Membership, Error>;

    /// Whether appends can be expected to work, for readiness: the brokers answer, the disk has
    /// space.
    fn health(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Flushes and closes, at most `within`.
    fn close(&self, within: Duration) -> BoxFuture<'_, ()>;
}

impl Error {
    /// Whether the same call may work later although nothing is changed: the brokers, a leader, or
    /// a topic of a moment ago are not there yet. A promise that is not kept, and a setting, stay
    /// what they are.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Promise(_)
            | Self::ReadOnly(_)
            | Self::Refused(_)
            | Self::Record(_)
            | Self::Setting(_)
            | Self::Partition { .. } => false,
        }
    }
}

impl Partition {
    /// An error about this partition.
    pub fn error(&self, what: impl fmt::Display) -> Error {
        Error::Partition {
            topic: Arc::clone(&self.topic),
            partition: self.index,
            what: what.to_string(),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.index)
    }
}
