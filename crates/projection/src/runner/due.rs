//! When the runner has something to do, in one place: a step does what is due, and a wait lasts
//! until the next of it is. A wait for something that the next step would not do would end at once,
//! again and again.

use super::*;

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
        // While the database is away nothing that needs it is tried.
        let not_before = |at: Instant| self.retry_at.map_or(at, |retry_at| at.max(retry_at));
        match due {
            Due::Note => self.note_at,
            Due::LetGo => self.leaving.values().min().copied(),
            Due::Retry => self.retry_at,
            // What is queued goes first.
            Due::Verify => self.verify_at.filter(|_| self.queue.is_empty()).map(not_before),
            Due::Resume => self
                .waiting
                .values()
                .map(|attempts| attempts.not_before.unwrap_or(now))
                .min()
                .map(not_before),
            Due::OthersFirst => self.others_first.filter(|_| self.hands_over()).map(not_before),
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
        self.tracks.keys().any(|consumer| self.leaving.contains_key(&consumer.place))
    }
}

#[cfg(test)]
#[path = "due/tests.rs"]
mod tests;
