//! Where a fold can be resumed, and the proof that the log it is resumed on is the same history.

use crate::vocabulary::Vocabulary;

/// A place between two commits. Everything below `offset` is folded in, nothing at or above it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position<V: Vocabulary> {
    /// The writer of the partition's first valid fence; `None` while there is none.
    pub identity: Option<V::Writer>,
    pub offset: u64,
    /// 0 before the first fence.
    pub epoch: u64,
    pub writer: Option<V::Writer>,
    pub next_seq: u64,
    /// The largest `hw-drained`.
    pub drained: u64,
    pub sealed: bool,
    /// The largest `ce_time`.
    pub last_time: Option<V::Time>,
    /// The last valid record below `offset`.
    pub witness: Option<Witness<V>>,
}

/// A valid record, by place and sender: a reader that resumes reads it again and compares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Witness<V: Vocabulary> {
    pub offset: u64,
    pub epoch: u64,
    pub writer: V::Writer,
    /// `None`: the fence.
    pub seq: Option<u64>,
}

impl<V: Vocabulary> Position<V> {
    /// The beginning of a partition.
    pub fn start() -> Self {
        Self {
            identity: None,
            offset: 0,
            epoch: 0,
            writer: None,
            next_seq: 0,
            drained: 0,
            sealed: false,
            last_time: None,
            witness: None,
        }
    }
}

impl<V: Vocabulary> Default for Position<V> {
    fn default() -> Self {
        Self::start()
    }
}
