//! The fold of what is read back: it confirms own records, proves holes, and ends this writer at a
//! foreign fence.

use crate::{
    domain::Domain,
    entry::{Body, Entry},
    fold::{self, Gap},
    vocabulary::Vocabulary,
    wire::Defect,
    writer::{Effect, Phase, StepDown, Writer, rules::Rules},
};

impl<V: Vocabulary, D: Domain<V>, R: Rules> Writer<V, D, R> {
    pub(super) fn read(
        &mut self,
        offset: u64,
        entry: Result<Entry<V>, Defect>,
        effects: &mut Vec<Effect<V>>,
    ) {
        let own_seq = self.own_seq(&entry);
        let hole = own_seq.is_some_and(|seq| seq > self.fold.head().next_seq);
        let verdict = match self.fold.apply(offset, entry) {
            Ok(verdict) => verdict,
            Err(Gap { expected, found }) => {
                return self.step_down(StepDown::Gap { expected, found }, effects);
            }
        };
        match verdict {
            fold::Effect::Fence { epoch, writer } => {
                self.fence_read(offset, epoch, writer, effects)
            }
            fold::Effect::Sealed => self.step_down(StepDown::Sealed, effects),
            fold::Effect::Void(_) => self.void_read(offset, hole, effects),
            valid => match own_seq {
                Some(seq) => self.own_read(offset, seq, effects),
                None => self.learn(offset, valid, effects),
            },
        }
    }

    /// The sequence of a record that claims to be of the present own writer.
    fn own_seq(&self, entry: &Result<Entry<V>, Defect>) -> Option<u64> {
        let entry = entry.as_ref().ok()?;
        let (epoch, writer) = self.own?;
        entry.seq.filter(|_| {
            (entry.epoch, entry.writer) == (epoch, writer) && !matches!(entry.body, Body::Fence)
        })
    }

    fn own_read(&mut self, offset: u64, seq: u64, effects: &mut Vec<Effect<V>>) {
        if !self.flight.read_back(offset) {
            return self.step_down(
                StepDown::Diverged {
                    offset,
                    what: "an acknowledged record lies at another offset",
                },
                effects,
            );
        }
        self.confirm_read(seq, offset, effects);
        self.settle_while_serving(effects);
    }

    /// A valid record of an earlier writer: history. After the own fence there can be none.
    fn learn(&mut self, offset: u64, verdict: fold::Effect<V>, effects: &mut Vec<Effect<V>>) {
        if self.own.is_some() {
            return self.step_down(
                StepDown::Diverged {
                    offset,
                    what: "a valid record of another writer after the own fence",
                },
                effects,
            );
        }
        match verdict {
            fold::Effect::Commit(commit) => {
                let domain = self.domain.clone();
                self.memory.learn_commit(&domain, commit);
            }
            fold::Effect::Outcome(outcome) => self.memory.learn_outcome(outcome, offset + 1),
            _ => {}
        }
    }

    fn void_read(&mut self, offset: u64, hole: bool, effects: &mut Vec<Effect<V>>) {
        if R::ACKNOWLEDGED_IS_VALID && self.flight.misses(offset) {
            return self.step_down(
                StepDown::Diverged { offset, what: "an acknowledged record is void" },
                effects,
            );
        }
        match self.phase {
            // Nothing of this writer from here on can become valid.
            Phase::Serving | Phase::Draining if hole && R::HOLE_STOPS => {
                self.outcome_unknown(effects)
            }
            _ => self.settle_while_serving(effects),
        }
    }

    fn settle_while_serving(&mut self, effects: &mut Vec<Effect<V>>) {
        if matches!(self.phase, Phase::Serving | Phase::Draining) {
            self.settle(effects);
        }
    }
}
