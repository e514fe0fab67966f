//! How a command came to its end in this process.

use axum::response::Response;
use highwater_http::problem::Problem;
use highwater_protocol::{
    wire::Wire,
    writer::{Answer, Busy, Outcome},
};

use crate::command_queue::Refusal;

/// How a command came to its end here.
pub(super) enum Ending {
    Decided(Answer<Wire>),
    Relayed {
        response: Response,
        /// It says 503, and the command may wait in the command queue instead.
        may_wait: bool,
    },
    /// The deadline passed; the command may still be decided.
    Undecided,
    /// No instance owns the partition, or none that can be reached.
    Ownerless,
    /// It was sent on to this instance, which does not own the partition either.
    NotOwner,
    /// It lies in the command queue, below this offset.
    Accepted(u64),
    /// It should have waited in the command queue.
    NotAccepted(Refusal),
    /// It waited for its owner, and there was no permit left for it afterwards.
    Refused(Problem),
}

impl Ending {
    /// Nothing was decided, or it is not known here, and waiting may help.
    pub(super) fn may_wait(&self) -> bool {
        match self {
            Self::Undecided | Self::Ownerless | Self::NotOwner | Self::Decided(Answer::Moved) => {
                true
            }
            Self::Relayed { may_wait, .. } => *may_wait,
            // A hot aggregate would fill the command queue, and the command queue cannot read what
            // the owner cannot.
            Self::Decided(Answer::Busy(busy)) => *busy != Busy::Aggregate,
            Self::Decided(_) | Self::Accepted(_) | Self::NotAccepted(_) | Self::Refused(_) => false,
        }
    }

    /// The bounded set of labels of `highwater_commands_total`.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Relayed { .. } => "relayed",
            Self::Accepted(_) => "deferred",
            Self::NotAccepted(_) => "not-accepted",
            Self::Refused(_) => "overloaded",
            Self::Undecided => "undecided",
            Self::Ownerless | Self::NotOwner | Self::Decided(Answer::Moved) => "ownerless",
            Self::Decided(Answer::Done { replayed: true, .. }) => "replayed",
            Self::Decided(Answer::Done { outcome: Outcome::Accepted { .. }, .. }) => "accepted",
            Self::Decided(Answer::Done { outcome: Outcome::Unchanged { .. }, .. }) => "unchanged",
            Self::Decided(Answer::Done { outcome: Outcome::Rejected { .. }, .. }) => "rejected",
            Self::Decided(Answer::NotFound) => "not-found",
            Self::Decided(Answer::VersionMismatch { .. }) => "version-mismatch",
            Self::Decided(Answer::KeyReused) => "key-reused",
            Self::Decided(Answer::TooLarge { .. }) => "too-large",
            Self::Decided(Answer::Unreadable) => "unreadable",
            Self::Decided(Answer::Busy(_)) => "busy",
        }
    }
}
