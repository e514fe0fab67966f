//! By what right a partition is owned here. Only a hint, like all membership: safety comes from the
//! fold.

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// The group has assigned it.
    Group,
    /// Its owner was gone, and the group has not said yet whose it is. Ends with another's fence.
    EagerFailover,
    /// The group has taken it back, and no other instance has fenced yet. Ends with another's
    /// fence, or when its time is over.
    HandedOff,
}

/// The right of one supervisor, until it ends.
#[derive(Debug)]
pub struct Assignment(Mutex<State>);

#[derive(Debug)]
struct State {
    right: Right,
    changes: u64,
    ended: bool,
}

impl Assignment {
    pub fn new(right: Right) -> Self {
        Self(Mutex::new(State { right, changes: 0, ended: false }))
    }

    pub fn right(&self) -> Right {
        self.lock().right
    }

    /// The group assigns what is owned here. `false`: not any more, the caller must begin anew.
    pub fn raise(&self) -> bool {
        let mut state = self.lock();
        if !state.ended {
            state.right = Right::Group;
            state.changes += 1;
        }
        !state.ended
    }

    /// The group takes it back: the number of this change, for [`Assignment::is_still`].
    pub fn hand_off(&self) -> u64 {
        let mut state = self.lock();
        state.right = Right::HandedOff;
        state.changes += 1;
        state.changes
    }

    /// Nothing has changed since.
    pub fn is_still(&self, change: u64) -> bool {
        let state = self.lock();
        state.changes == change && !state.ended
    }

    /// After a loss: ends unless the group says that the partition belongs here. Afterwards it
    /// cannot be raised.
    pub fn end_unless_assigned(&self) -> bool {
        let mut state = self.lock();
        state.ended |= state.right != Right::Group;
        state.ended
    }

    pub fn end(&self) {
        self.lock().ended = true;
    }

    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_ends_every_right_but_the_groups() {
        for right in [Right::EagerFailover, Right::HandedOff] {
            let assignment = Assignment::new(right);
            assert!(assignment.end_unless_assigned(), "{right:?}");
            assert!(!assignment.raise(), "what has ended is not raised");
        }
        let assignment = Assignment::new(Right::EagerFailover);
        assert!(assignment.raise());
        assert!(!assignment.end_unless_assigned());
        assert_eq!(assignment.right(), Right::Group);
    }

    #[test]
    fn a_handoff_expires_only_if_the_group_did_not_give_it_back() {
        let assignment = Assignment::new(Right::Group);
        let change = assignment.hand_off();
        assert!(assignment.is_still(change) && assignment.right() == Right::HandedOff);
        assert!(assignment.raise());
        assert!(!assignment.is_still(change));
        let again = assignment.hand_off();
        assert!(
            assignment.is_still(again) && !assignment.is_still(change),
            "each has its own number"
        );
        let once_more = assignment.hand_off();
        assert!(
            assignment.is_still(once_more) && !assignment.is_still(again),
            "also one right after the other"
        );
        assert!(!assignment.has_ended());
        assignment.end();
        assert!(assignment.has_ended() && !assignment.is_still(once_more));
    }
}
