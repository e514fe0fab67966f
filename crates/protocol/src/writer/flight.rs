//! What is appended and not yet confirmed: the ack rule with its anchor, held answers, barriers.
//!
//! A record is confirmed in one of two ways, and only in sequence: its report says the very offset
//! that the anchor predicts, which proves that no foreign record came between; or the fold of what
//! was read contains it.

use std::collections::VecDeque;

use crate::{
    domain::Domain,
    entry::{Body, Entry},
    vocabulary::Vocabulary,
    writer::{
        Phase, Writer,
        interface::{Answer, AppendReport, Effect, Outcome, RecordedOutcome},
        rules::Rules,
    },
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight<V: Vocabulary> {
    records: VecDeque<Out<V>>,
    bytes: usize,
    /// Offset and sequence of the last confirmed record; at first the own fence with sequence -1.
    anchor: (u64, i128),
    /// The offsets of what was confirmed by report and is not yet read: there reading must find
    /// them, in the same sequence.
    unread: VecDeque<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Out<V: Vocabulary> {
    seq: u64,
    bytes: usize,
    report: Option<AppendReport>,
    /// When a report came that proves nothing, in the milliseconds of ticks.
    held_since: Option<u64>,
    /// On the last record of a command.
    completes: Option<V::Command>,
}

/// An answer that is true only if this is still the writer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HeldReply<V: Vocabulary> {
    /// A record with this sequence, or a later one, must be confirmed first.
    pub(super) needs: u64,
    pub(super) command: V::Command,
    pub(super) answer: HeldAnswer<V>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum HeldAnswer<V: Vocabulary> {
    Plain(Answer<V>),
    /// An unrecorded "no" or "nothing to do": its position is that of the record that releases it.
    Rejected {
        version: u64,
        reason: V::Reason,
    },
    Unchanged {
        version: u64,
        reason: V::Reason,
    },
}

impl<V: Vocabulary> Flight<V> {
    pub(super) fn new() -> Self {
        Self { records: VecDeque::new(), bytes: 0, anchor: (0, -1), unread: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A new own fence at `offset`: whatever was out before is decided. `false`: something
    /// acknowledged was never read.
    pub(super) fn restart(&mut self, offset: u64) -> bool {
        let all_read = self.unread.is_empty();
        *self = Self { anchor: (offset, -1), ..Self::new() };
        all_read
    }

    /// An own record was read at `offset`, valid; own records are read in sequence, so it is the
    /// first of what is not yet read. `false`: an acknowledged record lies elsewhere.
    pub(super) fn read_back(&mut self, offset: u64) -> bool {
        self.unread.pop_front().is_none_or(|at| at == offset)
    }

    /// Whether an acknowledged record should have been read at or below `offset` and was not.
    pub(super) fn misses(&self, offset: u64) -> bool {
        self.unread.front().is_some_and(|at| *at <= offset)
    }

    fn push(&mut self, seq: u64, bytes: usize, completes: Option<V::Command>) {
        self.bytes += bytes;
        self.records.push_back(Out { seq, bytes, report: None, held_since: None, completes });
    }

    fn get_mut(&mut self, seq: u64) -> Option<&mut Out<V>> {
        let first = self.records.front()?.seq;
        self.records.get_mut(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// Where the record `seq` must be if nothing foreign came since the anchor.
    fn predicted(&self, seq: u64) -> i128 {
        i128::from(self.anchor.0) + i128::from(seq) - self.anchor.1
    }
}

impl<V: Vocabulary, D: Domain<V>, R: Rules> Writer<V, D, R> {
    /// Appends `bodies` as the next records; the last one completes `command`. Returns the sequence
    /// of the last.
    pub(super) fn append(
        &mut self,
        bodies: Vec<Body<V>>,
        command: Option<V::Command>,
        effects: &mut Vec<Effect<V>>,
    ) -> u64 {
        let Some((epoch, writer)) = self.own else { return self.next_seq };
        let count = bodies.len();
        let mut entries = Vec::with_capacity(count);
        for (i, body) in bodies.into_iter().enumerate() {
            let completes = command.filter(|_| i + 1 == count);
            self.flight.push(self.next_seq, V::size_bytes(&body), completes);
            let drained = if i + 1 == count { self.say_drained(command) } else { None };
            entries.push(Entry { epoch, writer, seq: Some(self.next_seq), drained, body });
            self.next_seq += 1;
        }
        effects.push(Effect::Append(entries));
        self.next_seq.saturating_sub(1)
    }

    pub(super) fn report(
        &mut self,
        writer: V::Writer,
        seq: Option<u64>,
        reported: AppendReport,
        effects: &mut Vec<Effect<V>>,
    ) {
        let Some(seq) = seq else {
            return self.fence_reported(writer, reported, effects);
        };
        if self.own.is_none_or(|(_, own)| own != writer) {
            return;
        }
        if reported == AppendReport::Refused {
            self.refused(seq);
        }
        if !matches!(self.phase, Phase::Serving | Phase::Draining) {
            return;
        }
        let Some(out) = self.flight.get_mut(seq) else { return };
        out.report = Some(reported);
        if matches!(reported, AppendReport::Failed | AppendReport::Unsent | AppendReport::Refused) {
            return self.outcome_unknown(effects);
        }
        if !R::CONFIRMS_IN_SEQUENCE
            && matches!(
                reported,
                AppendReport::At(offset) if i128::from(offset) == self.flight.predicted(seq)
            )
        {
            self.confirm_up_to(seq, effects);
        }
        self.settle(effects);
    }

    /// The command of record `seq` is not appended again: the next fence decides whether it is in
    /// the log after all, and its caller hears.
    fn refused(&mut self, seq: u64) {
        let records = self.flight.records.iter().skip_while(|out| out.seq < seq);
        // What was read meanwhile is in the log, and not out any more.
        let Some(bytes) = records.clone().next().filter(|out| out.seq == seq).map(|out| out.bytes)
        else {
            return;
        };
        let command = records.filter_map(|out| out.completes).next();
        self.refuses(bytes);
        if let Some(pending) = command.and_then(|command| self.pending.get_mut(&command)) {
            pending.refused = true;
        }
    }

    /// Confirms from the front whatever its report proves; looks at the reading for the rest.
    pub(super) fn settle(&mut self, effects: &mut Vec<Effect<V>>) {
        while let Some(front) = self.flight.records.front() {
            let seq = front.seq;
            match front.report {
                Some(AppendReport::At(offset))
                    if !R::ANCHOR_PREDICTS || i128::from(offset) == self.flight.predicted(seq) =>
                {
                    if self.fold.next_offset() > offset {
                        // It was read before its report came, and was not valid: reading would have
                        // confirmed it.
                        return self.outcome_unknown(effects);
                    }
                    self.flight.unread.push_back(offset);
                    self.confirm_front(offset, effects);
                }
                Some(AppendReport::At(offset)) if self.fold.next_offset() > offset => {
                    return self.outcome_unknown(effects);
                }
                Some(AppendReport::Somewhere) if !R::SOMEWHERE_PROVES_NOTHING => {
                    return self.confirm_up_to(seq, effects);
                }
                Some(AppendReport::At(_) | AppendReport::Somewhere) => {
                    let now_ms = self.now_ms;
                    if let Some(front) = self.flight.records.front_mut() {
                        front.held_since.get_or_insert(now_ms);
                    }
                    return;
                }
                Some(AppendReport::Failed | AppendReport::Unsent | AppendReport::Refused)
                | None => return,
            }
        }
    }

    /// The front record was read back, valid, at `offset`.
    pub(super) fn confirm_read(&mut self, seq: u64, offset: u64, effects: &mut Vec<Effect<V>>) {
        if self.flight.records.front().is_some_and(|front| front.seq == seq) {
            self.confirm_front(offset, effects);
        }
    }

    fn confirm_front(&mut self, offset: u64, effects: &mut Vec<Effect<V>>) {
        let Some(out) = self.flight.records.pop_front() else { return };
        self.flight.bytes -= out.bytes;
        self.flight.anchor = (offset, i128::from(out.seq));
        if let Some(command) = out.completes {
            self.complete(command, out.seq, offset + 1, effects);
        }
        while self
            .held
            .front()
            .is_some_and(|held| held.needs <= out.seq || !R::HOLDS_FOR_LATER_RECORD)
        {
            if let Some(held) = self.held.pop_front() {
                self.answer(held.command, held.answer.released(offset + 1), effects);
            }
        }
    }

    fn complete(&mut self, command: V::Command, seq: u64, end: u64, effects: &mut Vec<Effect<V>>) {
        let Some(pending) = self.pending.get_mut(&command) else { return };
        let (aggregate, fingerprint) =
            (pending.submission.aggregate, pending.submission.fingerprint.clone());
        let Some(outcome) = pending.outcome.take().map(|outcome| outcome.ended(end)) else {
            return;
        };
        if matches!(outcome, Outcome::Accepted { .. }) {
            self.memory.confirm(aggregate, seq, end);
        }
        self.memory.remember(
            command,
            end,
            RecordedOutcome { aggregate, fingerprint, outcome: outcome.clone() },
        );
        self.answer(command, Answer::Done { outcome, replayed: false }, effects);
    }

    /// Holds an answer until a record that is appended from now on is confirmed.
    pub(super) fn hold(&mut self, command: V::Command, answer: HeldAnswer<V>) {
        self.held.push_back(HeldReply { needs: self.next_seq, command, answer });
    }

    /// Only where a rule is taken away: as if the log had said of every record up to `seq` that it
    /// lies where the anchor predicts.
    fn confirm_up_to(&mut self, seq: u64, effects: &mut Vec<Effect<V>>) {
        while let Some(front) =
            self.flight.records.front().map(|front| front.seq).filter(|front| *front <= seq)
        {
            let Ok(offset) = u64::try_from(self.flight.predicted(front)) else { return };
            self.flight.unread.push_back(offset);
            self.confirm_front(offset, effects);
        }
    }

    /// Only where a rule is taken away.
    pub(super) fn confirm_all_out(&mut self, effects: &mut Vec<Effect<V>>) {
        if matches!(self.phase, Phase::Serving | Phase::Draining) {
            self.confirm_up_to(u64::MAX, effects);
        }
    }

    /// One barrier when an answer is held and nothing in flight will release it.
    pub(super) fn barrier_if_needed(&mut self, effects: &mut Vec<Effect<V>>) {
        let serving = matches!(self.phase, Phase::Serving | Phase::Draining);
        if serving && !self.held.is_empty() && self.flight.records.is_empty() {
            self.append(vec![Body::Barrier], None, effects);
        }
    }

    /// A report that proved nothing waits for its record to be read, but not for ever.
    pub(super) fn read_back_overdue(&self) -> bool {
        let held_since = self.flight.records.front().and_then(|front| front.held_since);
        held_since.is_some_and(|since| {
            self.now_ms.saturating_sub(since) >= self.limits.read_back_deadline_ms
        })
    }
}

impl<V: Vocabulary> HeldAnswer<V> {
    pub(super) fn released(self, end: u64) -> Answer<V> {
        match self {
            HeldAnswer::Plain(answer) => answer,
            HeldAnswer::Rejected { version, reason } => Answer::Done {
                outcome: Outcome::Rejected { version, end, reason },
                replayed: false,
            },
            HeldAnswer::Unchanged { version, reason } => Answer::Done {
                outcome: Outcome::Unchanged { version, end, reason },
                replayed: false,
            },
        }
    }
}

impl<V: Vocabulary> Outcome<V> {
    fn ended(mut self, at: u64) -> Self {
        let (Outcome::Accepted { end, .. }
        | Outcome::Unchanged { end, .. }
        | Outcome::Rejected { end, .. }) = &mut self;
        *end = at;
        self
    }
}
