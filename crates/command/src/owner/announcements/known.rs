//! What was said of one partition, and what of it is followed. Pure.

use super::Announcement;

/// No writer gets so many epochs ahead of an owner that still serves: each is a fence, which ends
/// it when it reads it.
pub(super) const LEAD: u64 = 1_000;

/// See the module.
pub(super) struct KnownOwner {
    /// The highest epoch, and what was said last of it.
    pub(super) best: Announcement,
    /// It came while this instance listened.
    pub(super) fresh: bool,
    /// What was said last of all: the owner, where `best` is wrong, since it says it again.
    pub(super) last: Announcement,
}

impl KnownOwner {
    /// Whether it was news.
    pub(super) fn hear(&mut self, announcement: Announcement, fresh: bool) -> bool {
        let news = self.last != announcement;
        if self.best.epoch < announcement.epoch || announcement.follows(&self.best) {
            (self.best, self.fresh) = (announcement.clone(), fresh);
        }
        self.last = announcement;
        news
    }

    /// In the sequence in which they are to be asked.
    pub(super) fn candidates(&self) -> Vec<&Announcement> {
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
