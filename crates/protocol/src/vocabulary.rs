//! The types that fold and writer are generic over: UUIDs and bytes on a real log
//! ([`crate::wire::Wire`]), small integers in the model checker.

use std::{fmt::Debug, hash::Hash};

/// A type that a checker can store, compare and hash.
pub trait Value: Clone + Eq + Hash + Debug + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Debug + Send + Sync + 'static> Value for T {}

/// An identifier: small, copied, ordered, so that every iteration is deterministic.
pub trait Id: Value + Copy + Ord {}
impl<T: Value + Copy + Ord> Id for T {}

pub trait Vocabulary: Value {
    /// A writer, fresh for every take-over attempt.
    type Writer: Id;
    /// A command id.
    type Command: Id;
    /// An aggregate id.
    type Aggregate: Id;
    /// `ce_time`.
    type Time: Id;
    /// What says whether two commands with the same id are the same command.
    type Fingerprint: Value;
    /// What a record carries about its command and the protocol does not decide on: actor,
    /// correlation, causation, trace.
    type Meta: Value;
    /// The event itself.
    type Event: Value;
    /// Why a command was rejected, or did nothing.
    type Reason: Value;

    /// The bytes that this event, rejection or control record takes in the log, headers and key
    /// included; never too low.
    fn size_bytes(body: &crate::entry::Body<Self>) -> usize;
    /// What a recorded "nothing to do" says.
    fn nothing_to_do() -> Self::Reason;
    /// What is recorded of a queued command that a caller on the synchronous path would only be
    /// told.
    fn refused(refusal: &Refusal) -> Self::Reason;
    /// What tells two events of a commit apart in an answer (type and schema), without their data.
    fn summary(event: &Self::Event) -> Self::Summary;
    /// See [`Vocabulary::summary`].
    type Summary: Value;
}

/// Why a queued command is rejected, apart from the domain's rules and a missing aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Past its deadline.
    Expired,
    /// The aggregate has another version than the caller expected.
    VersionMismatch { current: u64 },
    /// More events or bytes than one commit may have.
    TooLarge { events: usize, bytes: usize },
}
