//! When the runner has something to do, in one place: a step does what is due, and a wait lasts
//! until the next of it is. A wait for something that the next step would not do would end at once,
//! again and again.

use tokio::time::Instant;

use super::{Runner, projection::Store};

/// What a step does by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The log's own lag tools are told.
    Note,
    /// A partition that was taken back is let go.
    LetGo,
    /// The database may be tried again, and what arrives is listened to again.
    Retry,
    /// The checkpoints are compared with the stored ones.
    Verify,
    /// A partition is begun.
    Resume,
    /// What is to be handed off is projected a little further.
    OthersFirst,
}

const ALL: [Due; 6] =
    [Due::Note, Due::LetGo, Due::Retry, Due::Verify, Due::Resume, Due::OthersFirst];

impl<S: Store> Runner<S> {
    /// From when on a step does it; `None`: not by the clock.
    pub(super) fn when(&self, due: Due, now: Instant) -> Option<Instant> {
        let schedule = &self.schedule;
        let with_the_database = |at: Instant| schedule.with_the_database(at);
        match due {
            Due::Note => schedule.note_at,
            Due::LetGo => self.handoff.next_end(),
            Due::Retry => schedule.retry_at,
            // What is queued goes first.
            Due::Verify => {
                schedule.verify_at.filter(|_| schedule.queue.is_empty()).map(with_the_database)
            }
            Due::Resume => self.consumers.next_to_resume(now).map(with_the_database),
            Due::OthersFirst => {
                self.handoff.others_first.filter(|_| self.hands_over()).map(with_the_database)
            }
        }
    }

    pub(super) fn is_due(&self, due: Due, now: Instant) -> bool {
        self.when(due, now).is_some_and(|at| at <= now)
    }

    /// Of everything.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        ALL.into_iter().filter_map(|due| self.when(due, now)).min()
    }

    /// Whether something is followed that is to be handed off.
    fn hands_over(&self) -> bool {
        self.consumers
            .followers
            .keys()
            .any(|consumer| self.handoff.is_leaving(&consumer.topic_partition))
    }
}

#[cfg(test)]
#[path = "due/tests.rs"]
mod tests;
