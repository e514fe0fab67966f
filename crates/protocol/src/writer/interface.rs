//! What goes into a [`super::Writer`] and what comes out of it.

use std::sync::Arc;

use crate::{
    entry::Entry,
    vocabulary::{Value, Vocabulary},
    wire::Defect,
};

/// Names a submission to its driver.
pub type Token = u64;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input<V: Vocabulary, C: Value, S: Value> {
    /// The next record of the partition.
    Read {
        offset: u64,
        entry: Result<Entry<V>, Defect>,
    },
    /// Everything that lay in the log when [`Effect::ReadToEnd`] was asked has been read. `writer`
    /// is a fresh id.
    CaughtUp {
        writer: V::Writer,
    },
    Submit(Submission<V, C>),
    /// The record at `offset` of the command queue, when [`super::Writer::command_queue_has_room`];
    /// `None`: there is nothing to decide.
    Queued {
        offset: u64,
        submission: Option<Submission<V, C>>,
    },
    /// The answer to [`Effect::Load`]: one statement's view. What is not listed does not exist
    /// there.
    Loaded {
        checkpoint: u64,
        aggregates: Vec<(V::Aggregate, Snapshot<S>)>,
        outcomes: Vec<(V::Command, RecordedOutcome<V>)>,
    },
    LoadFailed,
    /// The log's report on an own append; `seq` is `None` for a fence.
    Report {
        writer: V::Writer,
        seq: Option<u64>,
        reported: AppendReport,
    },
    /// Monotonic milliseconds: for read-back and command deadlines.
    Tick {
        now_ms: u64,
    },
    /// The checkpoint of `snapshots` as last heard.
    Checkpoint {
        offset: u64,
    },
    /// Stop intake, confirm what is out, then step down.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppendReport {
    At(u64),
    /// Acknowledged without an offset.
    Somewhere,
    /// It is not known whether it is, or comes to be, in the log.
    Failed,
    /// It was never handed to the log, for reasons that have nothing to do with it.
    Unsent,
    /// The log does not take this very record, and says so. What was appended before the answer was
    /// lost may lie there all the same.
    Refused,
}

/// A command as it reaches its owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Submission<V: Vocabulary, C: Value> {
    pub token: Token,
    pub command: V::Command,
    pub aggregate: V::Aggregate,
    /// By the present deployment key: this one is recorded.
    pub fingerprint: V::Fingerprint,
    /// By the older keys that are still valid for comparing.
    pub older_fingerprints: Vec<V::Fingerprint>,
    pub expected: Expected,
    /// `Err`: it came through the command queue and cannot be decoded; this is recorded.
    /// Shared with its sender, who keeps it in case this owner ends before it has answered.
    pub payload: Result<Arc<C>, V::Reason>,
    /// The caller chose the key: "no" and "nothing to do" are recorded, so that a retry hears the
    /// same.
    pub caller_key: bool,
    /// The id was made for this very submission: no owner can have seen it.
    pub fresh: bool,
    /// The aggregate's id was derived from a fresh key: it cannot exist.
    pub new_aggregate: bool,
    pub meta: V::Meta,
    pub at: V::Time,
    /// Not decided any more after this, in the milliseconds of [`Input::Tick`].
    pub deadline_ms: u64,
    /// It came through the command queue.
    pub queued: Option<QueuedCommand<V>>,
}

/// What only a queued command has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueuedCommand<V: Vocabulary> {
    /// Its offset in `commands`.
    pub source: u64,
    /// What is recorded when its aggregate does not exist.
    pub missing: V::Reason,
}

impl<V: Vocabulary, C: Value> Submission<V, C> {
    pub(super) fn source(&self) -> Option<u64> {
        self.queued.as_ref().map(|queued| queued.source)
    }
}

/// `If-Match`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    Anything,
    Exists,
    OneOf(Vec<u64>),
}

/// An aggregate as `snapshots` has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Snapshot<S> {
    State { version: u64, state: S },
    Unreadable { version: u64 },
}

/// An outcome that was recorded once and for all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordedOutcome<V: Vocabulary> {
    pub aggregate: V::Aggregate,
    pub fingerprint: V::Fingerprint,
    pub outcome: Outcome<V>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome<V: Vocabulary> {
    /// `end` is the offset after the commit's last record; each event with the version it made.
    Accepted {
        version: u64,
        end: u64,
        events: Vec<(V::Summary, u64)>,
    },
    Unchanged {
        version: u64,
        end: u64,
        reason: V::Reason,
    },
    Rejected {
        version: u64,
        end: u64,
        reason: V::Reason,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer<V: Vocabulary> {
    /// `replayed`: it was decided before, by an earlier submission with this id.
    Done {
        outcome: Outcome<V>,
        replayed: bool,
    },
    NotFound,
    /// `current` is a lower bound.
    VersionMismatch {
        current: u64,
    },
    /// The id was used for another command before.
    KeyReused,
    /// More events or bytes than one commit may have.
    TooLarge {
        events: usize,
        bytes: usize,
    },
    Unreadable,
    Busy(Busy),
    /// This is not the owner any more, and the command was not decided here: ask the new one.
    Moved,
}

/// Why a command is not taken now; it may be retried with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Busy {
    /// The aggregate has its limit of unanswered commands.
    Aggregate,
    /// The partition has.
    Partition,
    /// `snapshots` is so far behind that memory would grow without bound.
    SnapshotsBehind,
    /// `snapshots` cannot be read.
    SnapshotsUnreachable,
    /// The deadline passed before it was decided.
    Deadline,
    /// The log refuses records of its size.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect<V: Vocabulary> {
    /// Append these in turn; each gets one report.
    Append(Vec<Entry<V>>),
    /// Read up to what is now the end of the log, then [`Input::CaughtUp`].
    ReadToEnd,
    /// Read these from `snapshots` in one statement.
    Load {
        aggregates: Vec<V::Aggregate>,
        commands: Vec<V::Command>,
    },
    Answer {
        token: Token,
        answer: Answer<V>,
    },
    /// The own fence at `offset` is valid: publish the announcement.
    Serving {
        epoch: u64,
        writer: V::Writer,
        offset: u64,
    },
    /// The outcome of what is in flight is unknown: a new fence will decide. For logs and metrics.
    OutcomeUnknown {
        records: usize,
    },
    /// The end of this writer; everything has been answered.
    StepDown(StepDown),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StepDown {
    #[error("another writer has fenced epoch {epoch}")]
    Deposed { epoch: u64 },
    #[error("drained")]
    Drained,
    #[error("the partition is sealed")]
    Sealed,
    #[error(
        "snapshots went back to offset {checkpoint}, below the eviction watermark {watermark}: \
         the partition is folded again"
    )]
    BelowEvictionWatermark { checkpoint: u64, watermark: u64 },
    #[error("offset {offset}: {what}")]
    Diverged { offset: u64, what: &'static str },
    #[error("the log continues at offset {found} where {expected} was expected")]
    Gap { expected: u64, found: u64 },
}

/// What one partition's owner may hold. Every field is an operator's setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    pub in_flight_records: usize,
    pub in_flight_bytes: usize,
    /// Unanswered commands of one aggregate.
    pub aggregate_queue: usize,
    /// Unanswered commands of the partition.
    pub partition_queue: usize,
    pub commit_events: usize,
    pub commit_bytes: usize,
    /// Commands in one load.
    pub load_batch: usize,
    /// Records above the checkpoint of `snapshots` beyond which cold work is refused; at twice
    /// that, all.
    pub max_tail_events: u64,
    /// Aggregates kept although `snapshots` has them.
    pub cached_aggregates: usize,
    /// Outcomes kept although `snapshots` has them.
    pub cached_outcomes: usize,
    pub read_back_deadline_ms: u64,
    /// After the log has refused a record, none of its size or larger is tried again for so long.
    pub refused_ms: u64,
    /// Queued commands that are taken above the first undecided one.
    pub command_queue_window: usize,
    /// After this a barrier says how far the command queue has come, if no other record has.
    pub command_queue_silence_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_records: 4096,
            in_flight_bytes: 4 << 20,
            aggregate_queue: 64,
            partition_queue: 4096,
            commit_events: 256,
            commit_bytes: 900_000,
            load_batch: 1000,
            max_tail_events: 200_000,
            cached_aggregates: 20_000,
            cached_outcomes: 20_000,
            read_back_deadline_ms: 30_000,
            refused_ms: 10_000,
            command_queue_window: 1024,
            command_queue_silence_ms: 60_000,
        }
    }
}
