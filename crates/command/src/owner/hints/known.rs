//! What was said of one partition, and what of it is followed. Pure.

use super::Hint;

/// No writer gets so many epochs ahead of an owner that still serves: each is a fence, which ends
/// it when it reads it.
pub(super) const LEAD: u64 = 1_000;

/// See the module.
pub(super) struct Known {
    /// The highest epoch, and what was said last of it.
    pub(super) best: Hint,
    /// It came while this instance listened.
    pub(super) fresh: bool,
    /// What was said last of all: the owner, where `best` is wrong, since it says it again.
    pub(super) last: Hint,
}

impl Known {
    /// Whether it was news.
    pub(super) fn hear(&mut self, hint: Hint, fresh: bool) -> bool {
        let news = self.last != hint;
        if self.best.epoch < hint.epoch || hint.follows(&self.best) {
            (self.best, self.fresh) = (hint.clone(), fresh);
        }
        self.last = hint;
        news
    }

    /// In the sequence in which they are to be asked.
    pub(super) fn candidates(&self) -> Vec<&Hint> {
        if self.best.instance == self.last.instance {
            vec![&self.best]
        } else {
            vec![&self.best, &self.last]
        }
    }

    /// Where the fold has got to `epoch`.
    pub(super) fn is_plausible_after(&self, epoch: u64) -> bool {
        self.best.epoch <= epoch.saturating_add(LEAD)
    }
}
