//! The two traits that the runner drives: a projection, and the store of its rows and checkpoints.

use std::{collections::BTreeMap, ops::Range};

use futures_util::future::BoxFuture;
use highwater_protocol::{position::Position, wire::Wire};
use highwater_tables::{
    parked,
    runs::{Attempt, Run},
};
use uuid::Uuid;

use super::{
    batch::{Slice, Source, TopicPartition},
    failure::Failure,
};

/// A view of the log in tables. Its rows are a pure fold of the events: replay from zero gives
/// identical tables.
///
/// A projection touches only rows keyed by the aggregate of the event, or sums kept per partition.
pub trait Projection<Tx>: Send + Sync + 'static {
    /// Names its checkpoints: never changes.
    fn name(&self) -> &'static str;

    /// What it reads.
    fn categories(&self) -> &[&'static str];

    /// The tables that it writes, for those who compare them.
    fn tables(&self) -> Vec<&'static str> {
        vec![self.name()]
    }

    /// Which topic of them: one, because a checkpoint is a position in it.
    fn source(&self) -> Source {
        Source::Events
    }

    /// Whether an aggregate whose event cannot be applied is parked, so that the others go on. Not
    /// where others depend on every one of its rows.
    fn parks(&self) -> bool {
        self.source() == Source::Events
    }

    /// Applies the slices, each of another partition, in the transaction that moves their
    /// checkpoints.
    fn apply<'a>(
        &'a self,
        tx: &'a mut Tx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// The same for tables that are made anew: no other transaction writes rows of these partitions
    /// meanwhile, and there are many. Fails where [`Projection::apply`] might not: then that is
    /// tried.
    fn fill<'a>(
        &'a self,
        tx: &'a mut Tx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        self.apply(tx, slices)
    }

    /// Asked when a partition is resumed, before its checkpoint is read. [`Start::Over`]: the rows
    /// of the partition are gone in `tx`, and it is read from the beginning.
    fn resume<'a>(
        &'a self,
        tx: &'a mut Tx,
        topic_partition: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<Start, Failure>> {
        let (_, _) = (tx, topic_partition);
        Box::pin(async { Ok(Start::AtCheckpoint) })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    AtCheckpoint,
    Over,
}

/// Which checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub projection: &'static str,
    pub topic_partition: TopicPartition,
}

/// One checkpoint from a position to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub key: Key,
    pub from: Position<Wire>,
    pub to: Position<Wire>,
}

/// Where rows and checkpoints are kept, and change together.
pub trait Store: Send + Sync + 'static {
    type Tx: Send + 'static;

    fn begin(&self) -> BoxFuture<'_, Result<Self::Tx, Failure>>;

    /// The connections that are open now cannot write: no transaction begins on one of them again.
    fn distrust(&self) {}

    /// The checkpoints of `keys`, in their sequence; one that is not there yet is made, at the
    /// start.
    fn load<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>>;

    /// The checkpoints of `keys`, in their sequence; no other transaction moves them until `tx`
    /// ends.
    fn lock<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>>;

    /// Puts one checkpoint back to the start, whatever it says; nothing is parked there any more.
    fn reset<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        key: &'a Key,
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// How many aggregates are parked of each of `keys`, in their sequence.
    fn parked<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<parked::Count>, Failure>>;

    /// Which of `aggregates` are parked, and whether each was given up.
    fn parked_among<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        key: &'a Key,
        aggregates: &'a [Uuid],
    ) -> BoxFuture<'a, Result<BTreeMap<Uuid, bool>, Failure>>;

    /// Parks the aggregate of `commit`, which is the first that waits.
    fn park<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        key: &'a Key,
        commit: &'a parked::Commit,
        cause: &'a parked::Cause,
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// `commits` wait behind others of their aggregates.
    fn wait<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        key: &'a Key,
        commits: &'a [parked::Commit],
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// The runs of `keys` that have not ended in good order, in their sequence.
    fn runs<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Run>>, Failure>>;

    /// `runner` begins with these, each with what others before have died over.
    fn begin_runs<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        runner: Uuid,
        begun: &'a [(Key, Option<Attempt>)],
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// `runner` is about to apply what lies between `offsets`, if it is its run still.
    fn note<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        runner: Uuid,
        key: &'a Key,
        offsets: &'a Range<u64>,
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// What `runner` was about to apply has failed, and it has not died over it; also where it is
    /// another one's run by now.
    fn live_on<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        runner: Uuid,
        key: &'a Key,
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// The runs of `runner` with these end in good order.
    fn end_runs<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        runner: Uuid,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// Moves every checkpoint, or fails with [`Failure::Conflict`] if one is not at its `from`.
    /// Locks them in the sequence of their keys; `moves` is sorted by key.
    fn advance<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        moves: &'a [Move],
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// Tells caches what it changed (see [`super::changes`]), if it commits. After an error it is
    /// not known whether it has; the checkpoints tell.
    fn commit<'a>(
        &'a self,
        tx: Self::Tx,
        changed: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), Failure>>;
}
