//! The rules that keep the promises of log-format.md, each with a name, so that the model checker
//! can take one away and see what breaks.
//!
//! The release knows one set, [`AllRules`]: every rule is a constant there, and whatever asks for
//! one is folded away by the compiler.

use crate::vocabulary::Value;

/// Which rules a writer keeps. Each says where it stands in log-format.md, "How an owner writes",
/// or what it is for.
pub trait Rules: Value {
    /// "Acknowledge. Never on the append alone."
    const WAITS_FOR_LOG: bool = true;
    /// "Take over": an owner that writes has appended a fence, and has read that it is valid.
    const FENCES: bool = true;
    /// "Acknowledge": only a report at the very offset that the anchor predicts confirms a record.
    const ANCHOR_PREDICTS: bool = true;
    /// "Acknowledge": a report without an offset confirms nothing.
    const SOMEWHERE_PROVES_NOTHING: bool = true;
    /// "Acknowledge": only in sequence. A report confirms its own record, when all before it are
    /// confirmed.
    const CONFIRMS_IN_SEQUENCE: bool = true;
    /// "Hold": an answer that came out of possibly stale state waits at all.
    const HOLDS: bool = true;
    /// "Hold": it waits for a record that was appended after the decision.
    const HOLDS_FOR_LATER_RECORD: bool = true;
    /// "Unknown outcome": after a hole nothing of this writer can become valid, and it does not go
    /// on.
    const HOLE_STOPS: bool = true;
    /// "A zombie": the fence of another ends the writer.
    const FOREIGN_FENCE_DEPOSES: bool = true;
    /// What was acknowledged must have been read when an own fence has. Else the log has lost it,
    /// and the owner does not go on.
    const ACKNOWLEDGED_IS_READ: bool = true;
    /// What was acknowledged must not be void when it is read. Else the log has lost what lay
    /// before it.
    const ACKNOWLEDGED_IS_VALID: bool = true;
    /// "Unknown outcome": after a new fence the states of what was in flight, and is not in the
    /// fold, are forgotten.
    const ROLLS_BACK: bool = true;
    /// "Append": the expected version is compared with the one that everything in flight leads to.
    const EXPECTS_IN_FLIGHT: bool = true;
    /// A 412 is final at once only if versions, which only rise, have left behind what was
    /// expected.
    const FINAL_ONLY_BELOW: bool = true;
    /// "Append: dedupe by command id": what may have been seen is looked up before it is decided.
    const LOOKS_UP: bool = true;
    /// An outcome that a load finds answers at once, before it can be evicted again.
    const FOUND_ANSWERS: bool = true;
    /// "Ids": the same id with another fingerprint is another command.
    const COMPARES_FINGERPRINTS: bool = true;
    /// The same, of what waited for the first with this id to come to its end.
    const COMPARES_FOLLOWERS: bool = true;
    /// An aggregate is evicted only if `snapshots` has every event of it.
    const AGGREGATES_STAY_ABOVE_CHECKPOINT: bool = true;
    /// The same of outcomes.
    const OUTCOMES_STAY_ABOVE_CHECKPOINT: bool = true;
    /// An aggregate with unanswered commands or commits in flight is not evicted.
    const STAYS_WHILE_IN_USE: bool = true;
    /// Whatever was evicted is missed by a load from further back: the owner ends.
    const EVICTION_WATERMARK: bool = true;
    /// A queued command that goes back into the queue may have been seen by its next turn.
    const QUEUED_AGAIN_MAY_BE_SEEN: bool = true;
    /// A queued command may have been seen once a caller sends it synchronously.
    const SENT_MEANWHILE_MAY_BE_SEEN: bool = true;
    /// The second of two in the command queue may have been seen once the first is done.
    const TWICE_QUEUED_MAY_BE_SEEN: bool = true;
    /// "`ce_time` never runs backwards".
    const TIMES_RISE: bool = true;
    /// "... also not after a take-over".
    const TIMES_RISE_OVER_TAKE_OVERS: bool = true;
    /// "`hw-drained` d: every queued command below has its outcome", not only: was taken.
    const DRAINED_IS_DECIDED: bool = true;
    /// What was in flight at a new fence is undecided again, and not drained.
    const FENCE_UNDECIDES: bool = true;
}

/// What production runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AllRules {}

impl Rules for AllRules {}
