//! Why rows are not what they should be: NULL where a value must be, or a value that no writer of
//! this release has written. Such a row is refused, and no part of it is believed.

use crate::{checkpoints, dedup_filter};

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a column that must be there is NULL")]
    Null,
    #[error("a negative number")]
    Negative,
    #[error(transparent)]
    Checkpoint(#[from] checkpoints::Error),
    #[error("a fingerprint is not 32 bytes")]
    Fingerprint,
    #[error("a key number above 65535")]
    KeyNumber,
    #[error("unknown verdict {0:?}: upgrade this release")]
    Verdict(String),
    #[error("the events of an outcome: {0}")]
    Events(String),
    #[error("the reason of an outcome: {0}")]
    Reason(String),
    #[error("a segment number above 2^31")]
    SegmentNumber,
    #[error(transparent)]
    SegmentSize(#[from] dedup_filter::WrongSize),
}

impl From<checkpoints::Error> for ReadError {
    fn from(error: checkpoints::Error) -> Self {
        Self::Malformed(error.into())
    }
}

/// For callers who do not tell a malformed row from a row that the driver cannot decode.
impl From<ReadError> for sqlx::Error {
    fn from(unread: ReadError) -> Self {
        match unread {
            ReadError::Database(error) => error,
            ReadError::Malformed(error) => Self::Decode(error.into()),
        }
    }
}

/// Of a column that is NULL in rows of other kinds.
pub(crate) fn present<T>(value: Option<T>) -> Result<T, Malformed> {
    value.ok_or(Malformed::Null)
}

pub(crate) fn unsigned(number: i64) -> Result<u64, Malformed> {
    u64::try_from(number).map_err(|_| Malformed::Negative)
}
