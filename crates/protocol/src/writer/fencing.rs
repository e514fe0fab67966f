//! Take-over, unknown outcomes, adoption of an own fence, and the end of a writer.

use std::collections::BTreeSet;

use crate::{
    domain::Domain,
    entry::{Body, Entry},
    vocabulary::Vocabulary,
    writer::{Answer, AppendReport, Busy, Effect, Phase, StepDown, Writer, rules::Rules},
};

impl<V: Vocabulary, D: Domain<V>, R: Rules> Writer<V, D, R> {
    /// The reading is at the end: time for a fence under a fresh writer id.
    pub(super) fn caught_up(&mut self, writer: V::Writer, effects: &mut Vec<Effect<V>>) {
        let Phase::ReadingToEnd { attempts } = &mut self.phase else { return };
        let mut attempts = std::mem::take(attempts);
        attempts.insert(writer);
        self.phase = Phase::FenceInFlight { attempts };
        let epoch = self.fold.head().epoch + 1;
        if !R::FENCES {
            return self.adopt(self.fold.next_offset().saturating_sub(1), epoch, writer, effects);
        }
        effects.push(Effect::Append(vec![Entry {
            epoch,
            writer,
            seq: None,
            drained: None,
            body: Body::Fence,
        }]));
    }

    /// Only a failed fence needs anything: a valid one is read. One that was never sent is none,
    /// and not kept: a log that takes nothing would have it kept, and the next, and the next.
    pub(super) fn fence_reported(
        &mut self,
        writer: V::Writer,
        reported: AppendReport,
        effects: &mut Vec<Effect<V>>,
    ) {
        let Phase::FenceInFlight { attempts } = &mut self.phase else { return };
        if matches!(reported, AppendReport::At(_) | AppendReport::Somewhere)
            || !attempts.contains(&writer)
        {
            return;
        }
        let mut attempts = std::mem::take(attempts);
        if reported == AppendReport::Unsent {
            attempts.remove(&writer);
        }
        self.phase = Phase::ReadingToEnd { attempts };
        effects.push(Effect::ReadToEnd);
    }

    pub(super) fn fence_read(
        &mut self,
        offset: u64,
        epoch: u64,
        writer: V::Writer,
        effects: &mut Vec<Effect<V>>,
    ) {
        match &self.phase {
            Phase::ReadingToEnd { attempts } | Phase::FenceInFlight { attempts }
                if attempts.contains(&writer) =>
            {
                self.adopt(offset, epoch, writer, effects);
            }
            // History, before anything of our own is out.
            Phase::ReadingToEnd { attempts } if attempts.is_empty() && self.own.is_none() => {}
            _ if !R::FOREIGN_FENCE_DEPOSES => {}
            _ => self.step_down(StepDown::Deposed { epoch }, effects),
        }
    }

    /// An own fence is valid: what was out before it and has not been read will never be.
    fn adopt(&mut self, offset: u64, epoch: u64, writer: V::Writer, effects: &mut Vec<Effect<V>>) {
        if !self.flight.restart(offset) && R::ACKNOWLEDGED_IS_READ {
            return self.step_down(
                StepDown::Diverged {
                    offset,
                    what: "an acknowledged record is missing below the own fence",
                },
                effects,
            );
        }
        self.own = Some((epoch, writer));
        self.next_seq = 0;
        if R::TIMES_RISE_OVER_TAKE_OVERS {
            self.last_time = self.last_time.max(self.fold.head().last_time);
        }
        if R::ROLLS_BACK {
            self.memory.forget_ahead();
        }
        self.decide_again();
        self.answer_refused(effects);
        self.command_queue.again::<R>(self.fold.head().drained);
        self.phase = Phase::Serving;
        effects.push(Effect::Serving { epoch, writer, offset });
    }

    /// The outcome of what is in flight cannot be known from reports: read to the end, fence under
    /// a new writer.
    pub(super) fn outcome_unknown(&mut self, effects: &mut Vec<Effect<V>>) {
        if self.phase == Phase::Draining {
            // The next owner's fence decides as well as an own one would.
            return self.step_down(StepDown::Drained, effects);
        }
        self.phase = Phase::ReadingToEnd { attempts: BTreeSet::new() };
        effects.push(Effect::OutcomeUnknown { records: self.flight.len() });
        effects.push(Effect::ReadToEnd);
    }

    pub(super) fn tick(&mut self, now_ms: u64, effects: &mut Vec<Effect<V>>) {
        self.now_ms = self.now_ms.max(now_ms);
        if matches!(self.phase, Phase::Serving | Phase::Draining) && self.read_back_overdue() {
            self.outcome_unknown(effects);
        }
        self.give_up_overdue(effects);
        self.look_at_command_queue();
    }

    pub(super) fn stop(&mut self, effects: &mut Vec<Effect<V>>) {
        if self.phase != Phase::Serving {
            return self.step_down(StepDown::Drained, effects);
        }
        self.phase = Phase::Draining;
        self.move_undecided(effects);
    }

    pub(super) fn finish_drain(&mut self, effects: &mut Vec<Effect<V>>) {
        if self.phase == Phase::Draining && self.pending.is_empty() && self.flight.len() == 0 {
            self.step_down(StepDown::Drained, effects);
        }
    }

    /// The end. What is not answered yet was not decided here, or the next fence decides it: the
    /// next owner knows.
    pub(super) fn step_down(&mut self, why: StepDown, effects: &mut Vec<Effect<V>>) {
        self.phase = Phase::Done;
        let answer = match why {
            StepDown::Deposed { .. } | StepDown::Drained => Answer::Moved,
            // The next owner is this instance again, after a while, or there is none.
            _ => Answer::Busy(Busy::Partition),
        };
        for pending in self.pending.take_all() {
            let waiting = std::iter::once(pending.submission).chain(pending.followers);
            for submission in waiting.filter(|submission| submission.queued.is_none()) {
                effects.push(Effect::Answer { token: submission.token, answer: answer.clone() });
            }
        }
        self.held.clear();
        self.ready.clear();
        self.wanted.clear();
        effects.push(Effect::StepDown(why));
    }
}
