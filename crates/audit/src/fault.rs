//! What must not be in a log or in a table, each in the words that a report says.

use uuid::Uuid;

use crate::record::Unreadable;

/// Something that must not be in a log or in a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(
        "the log continues at offset {found}: records are missing; the rest of this partition was \
         not audited"
    )]
    Gap { found: u64 },
    #[error(
        "the log ends here, before offset {end} where it ended when the audit began: the rest of \
         this partition was not audited"
    )]
    Shorter { end: u64 },
    #[error("no reader can read this record: {0}")]
    Unreadable(Unreadable),
    #[error(
        "the commit that begins at offset {first} is torn: its own writer wrote something else \
         before it was whole"
    )]
    TornCommit { first: u64 },
    #[error("an event in sequence neither opens a commit nor continues one")]
    Ineffective,
    #[error("aggregate {aggregate}: version {found} follows version {after}")]
    Versions { aggregate: Uuid, after: u64, found: u64 },
    #[error(
        "aggregate {aggregate} is at version {at}, and this outcome says it was decided at {says}"
    )]
    DecidedAt { aggregate: Uuid, at: u64, says: u64 },
    #[error("command {id} is in the log already")]
    CommandAgain { id: Uuid },
    #[error("ce_time {time} is before {last} of an earlier event")]
    TimeBackwards { last: String, time: String },
    #[error("the key belongs to partition {belongs}")]
    OtherPartition { belongs: u32 },
    #[error("ce_source is {found}, and must be {expected}")]
    OtherSource { found: String, expected: String },
    #[error(
        "command {id} of the command queue has no outcome, and its owners say that everything \
         below offset {drained} has"
    )]
    NoOutcome { id: Uuid, drained: u64 },
    #[error(
        "the command queue ends here, and its owners say that everything below offset {drained} \
         is decided"
    )]
    DrainedBeyond { drained: u64 },
    #[error("{0}")]
    Row(RowFault),
}

/// What must not be in a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    #[error("the row is missing")]
    Lost,
    #[error("the row is there more than once")]
    Doubled,
    #[error("nothing in the log makes this row")]
    Unfounded,
    #[error(
        "the row is of the future: nothing below offset {checkpoint} of the checkpoint makes it"
    )]
    FutureRow { checkpoint: u64 },
    #[error(
        "the row is of the future: it has version {row}, the log makes {log} below the checkpoint"
    )]
    Future { row: u64, log: u64 },
    #[error("the row is stale: it has version {row}, the log makes {log} below the checkpoint")]
    Stale { row: u64, log: u64 },
    #[error("{column} is {row}, the log makes it {log}")]
    Column { column: String, row: String, log: String },
    #[error("the log has no such partition")]
    NoPartition,
    #[error("the event that makes version {version} of {aggregate} does not fit this table: {why}")]
    Unfit { aggregate: Uuid, version: u64, why: String },
    #[error("the checkpoint is ahead of the log: it is at offset {at}, the log ends at {end}")]
    Ahead { at: u64, end: u64 },
    #[error("the checkpoint lies inside of a commit")]
    InsideCommit,
    #[error("foreign identity: the checkpoint belongs to the history {row}, this log is {log}")]
    Identity { row: String, log: String },
    #[error("foreign database: the owners of this log load from {log}")]
    OtherDatabase { log: String },
    #[error(
        "the filter does not contain {id}, whose outcome lies below offset {below} that it covers"
    )]
    Unseen { id: Uuid, below: u64 },
    #[error("the filter covers offsets below {covers}, and the checkpoint is at {checkpoint}")]
    FilterAhead { covers: u64, checkpoint: u64 },
    #[error("the filter is damaged: {0}")]
    FilterDamaged(String),
}
