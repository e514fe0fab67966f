//! Submissions: dedupe, decisions. The sequence of checks: recorded outcome or reused id, missing
//! aggregate, expected version, domain rule (http.md).

use std::collections::BTreeSet;

use crate::{
    domain::{Context, Decision, Domain},
    entry::{Body, CommandMetadata, EventBody, OutcomeBody, Part, Verdict},
    vocabulary::{Refusal, Value, Vocabulary},
    writer::{
        Answer, Busy, Effect, Expected, Outcome, Phase, RecordedOutcome, Submission, Writer,
        flight::HeldAnswer,
        memory::{Ahead, Base, size_bytes},
        rules::Rules,
    },
};

/// A command that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending<V: Vocabulary, C: Value> {
    pub(super) submission: Submission<V, C>,
    /// It is known whether an outcome is recorded.
    pub(super) checked: bool,
    /// In flight: the outcome once its last record is confirmed.
    pub(super) outcome: Option<Outcome<V>>,
    /// The log refused a record of it.
    pub(super) refused: bool,
    /// The same id again: decided when this one is.
    pub(super) followers: Vec<Submission<V, C>>,
}

/// What became of an attempt to decide.
enum Attempt {
    Decided,
    NeedsLoad,
    NoRoom,
}

impl<V: Vocabulary, D: Domain<V>, R: Rules> Writer<V, D, R> {
    pub(super) fn submit(
        &mut self,
        submission: Submission<V, D::Command>,
        effects: &mut Vec<Effect<V>>,
    ) {
        let token = submission.token;
        if let Some(answer) = self.refusal(&submission) {
            return effects.push(Effect::Answer { token, answer });
        }
        self.memory.entry(submission.aggregate).unanswered += 1;
        if submission.new_aggregate {
            self.memory.cannot_exist(submission.aggregate);
        }
        if R::SENT_MEANWHILE_MAY_BE_SEEN {
            self.command_queue.not_fresh(submission.command);
        }
        self.take_in_or_follow(submission);
    }

    pub(super) fn take_in_or_follow(&mut self, submission: Submission<V, D::Command>) {
        match self.pending.get_mut(&submission.command) {
            Some(pending) => pending.followers.push(submission),
            None => self.take_in(submission),
        }
    }

    fn take_in(&mut self, submission: Submission<V, D::Command>) {
        let command = submission.command;
        let checked = submission.fresh;
        self.pending.insert(
            command,
            Pending { submission, checked, outcome: None, refused: false, followers: Vec::new() },
        );
        self.ready.push_back(command);
    }

    /// The answer of a submission that is not taken in.
    fn refusal(&self, submission: &Submission<V, D::Command>) -> Option<Answer<V>> {
        if self.phase == Phase::Draining {
            return Some(Answer::Moved);
        }
        if let Some(recorded) = self.memory.outcome(submission.command) {
            return Some(replay::<R, _, _>(recorded, submission));
        }
        if self
            .memory
            .get(submission.aggregate)
            .is_some_and(|found| found.unanswered >= self.limits.aggregate_queue)
        {
            return Some(Answer::Busy(Busy::Aggregate));
        }
        if self.pending.len() >= self.limits.partition_queue {
            return Some(Answer::Busy(Busy::Partition));
        }
        let warm = self.memory.get(submission.aggregate).is_some_and(|found| found.is_usable());
        (self.tail() >= self.tail_limit(warm)).then_some(Answer::Busy(Busy::SnapshotsBehind))
    }

    /// How far `snapshots` may be behind before a command has to wait.
    pub(super) fn tail_limit(&self, warm: bool) -> u64 {
        self.limits.max_tail_events.saturating_mul(if warm { 2 } else { 1 })
    }

    pub(super) fn decide_ready(&mut self, effects: &mut Vec<Effect<V>>) {
        while matches!(self.phase, Phase::Serving | Phase::Draining) {
            let Some(command) = self.ready.pop_front() else { return };
            match self.decide(command, effects) {
                Attempt::Decided => {}
                Attempt::NeedsLoad => {
                    self.wanted.insert(command);
                }
                Attempt::NoRoom => return self.ready.push_front(command),
            }
        }
    }

    fn decide(&mut self, command: V::Command, effects: &mut Vec<Effect<V>>) -> Attempt {
        let Some(pending) = self.pending.get(&command) else { return Attempt::Decided };
        if pending.outcome.is_some() {
            // It is in flight.
            return Attempt::Decided;
        }
        let submission = &pending.submission;
        if let Some(recorded) = self.memory.outcome(command) {
            let answer = replay::<R, _, _>(recorded, submission);
            return self.decided(command, answer, effects);
        }
        let overdue = submission.deadline_ms < self.now_ms;
        if overdue && submission.queued.is_none() {
            return self.decided(command, Answer::Busy(Busy::Deadline), effects);
        }
        let Some(aggregate) = self
            .memory
            .get(submission.aggregate)
            .filter(|found| (pending.checked || !R::LOOKS_UP) && found.is_usable())
        else {
            return Attempt::NeedsLoad;
        };
        let (version, state) = aggregate.current();
        let payload = match &submission.payload {
            Ok(payload) if !overdue => payload,
            Ok(_) => {
                return self.no_change(
                    command,
                    version,
                    Verdict::Rejected,
                    V::refused(&Refusal::Expired),
                    effects,
                );
            }
            Err(reason) => {
                return self.no_change(
                    command,
                    version,
                    Verdict::Rejected,
                    reason.clone(),
                    effects,
                );
            }
        };
        if matches!(aggregate.base, Base::Unreadable { .. }) {
            return self.decided(command, Answer::Unreadable, effects);
        }
        if state.is_none() && self.domain.must_exist(payload) {
            return self.refuse(command, version, Answer::NotFound, effects);
        }
        if state.is_none() && submission.expected == Expected::Exists {
            return self.refuse(command, version, Answer::VersionMismatch { current: 0 }, effects);
        }
        let confirmed = aggregate.confirmed_version();
        if let Expected::OneOf(versions) = &submission.expected
            && !versions.contains(if R::EXPECTS_IN_FLIGHT { &version } else { &confirmed })
        {
            let is_final =
                versions.iter().all(|expected| *expected < confirmed || !R::FINAL_ONLY_BELOW);
            if is_final && submission.queued.is_none() {
                return self.decided(
                    command,
                    Answer::VersionMismatch { current: confirmed },
                    effects,
                );
            }
            return self.refuse(
                command,
                version,
                Answer::VersionMismatch { current: version },
                effects,
            );
        }
        let at = self
            .last_time
            .filter(|_| R::TIMES_RISE)
            .map_or(submission.at, |last| last.max(submission.at));
        let context = Context { at, command, meta: &submission.meta };
        match self.domain.decide_in(state, payload, context) {
            Ok(Decision::Change { events, state }) => {
                self.commit(command, version, at, events, state, effects)
            }
            Ok(Decision::Nothing) => {
                self.no_change(command, version, Verdict::Unchanged, V::nothing_to_do(), effects)
            }
            Err(reason) => self.no_change(command, version, Verdict::Rejected, reason, effects),
        }
    }

    fn commit(
        &mut self,
        command: V::Command,
        version: u64,
        time: V::Time,
        events: Vec<V::Event>,
        state: D::State,
        effects: &mut Vec<Effect<V>>,
    ) -> Attempt {
        let Some(pending) = self.pending.get(&command) else { return Attempt::Decided };
        let (metadata, aggregate) = (metadata(&pending.submission), pending.submission.aggregate);
        let count = events.len();
        let of = u32::try_from(count).unwrap_or(u32::MAX);
        let summaries = (version + 1..)
            .zip(&events)
            .map(|(version, event)| (V::summary(event), version))
            .collect();
        let bodies: Vec<_> = (1..)
            .zip(events)
            .map(|(index, event)| {
                let version = version + u64::from(index);
                Body::Event(EventBody {
                    metadata: metadata.clone(),
                    version,
                    part: Part { index, of },
                    time,
                    event,
                })
            })
            .collect();
        let bytes = size_bytes(&bodies);
        if count == 0 || count > self.limits.commit_events || bytes > self.limits.commit_bytes {
            let answer = Answer::TooLarge { events: count, bytes };
            return if metadata.source.is_some() {
                self.refuse(command, version, answer, effects)
            } else {
                self.decided(command, answer, effects)
            };
        }
        if self.is_refused(&bodies) {
            return self.decided(command, Answer::Busy(Busy::Refused), effects);
        }
        if !self.has_room(count, bytes) {
            return Attempt::NoRoom;
        }
        let version = version + u64::from(of);
        self.expect_outcome(command, Outcome::Accepted { version, end: 0, events: summaries });
        self.last_time = Some(time);
        let last_seq = self.append(bodies, Some(command), effects);
        self.memory.entry(aggregate).ahead.push_back(Ahead { last_seq, version, state });
        Attempt::Decided
    }

    fn no_change(
        &mut self,
        command: V::Command,
        version: u64,
        verdict: Verdict,
        reason: V::Reason,
        effects: &mut Vec<Effect<V>>,
    ) -> Attempt {
        let Some(pending) = self.pending.get(&command) else { return Attempt::Decided };
        if !pending.submission.caller_key && pending.submission.queued.is_none() {
            return self.decided_if_writer(
                command,
                match verdict {
                    Verdict::Rejected => HeldAnswer::Rejected { version, reason },
                    Verdict::Unchanged => HeldAnswer::Unchanged { version, reason },
                },
                effects,
            );
        }
        let body = Body::Outcome(OutcomeBody {
            metadata: metadata(&pending.submission),
            version,
            verdict,
            reason: reason.clone(),
        });
        if self.is_refused(std::slice::from_ref(&body)) {
            return self.decided(command, Answer::Busy(Busy::Refused), effects);
        }
        if !self.has_room(1, V::size_bytes(&body)) {
            return Attempt::NoRoom;
        }
        self.expect_outcome(
            command,
            match verdict {
                Verdict::Rejected => Outcome::Rejected { version, end: 0, reason },
                Verdict::Unchanged => Outcome::Unchanged { version, end: 0, reason },
            },
        );
        self.append(vec![body], Some(command), effects);
        Attempt::Decided
    }

    /// An answer that is recorded of a queued command only: no caller waits for that one.
    fn refuse(
        &mut self,
        command: V::Command,
        version: u64,
        answer: Answer<V>,
        effects: &mut Vec<Effect<V>>,
    ) -> Attempt {
        let Some(queued) =
            self.pending.get(&command).and_then(|pending| pending.submission.queued.as_ref())
        else {
            return self.decided_if_writer(command, HeldAnswer::Plain(answer), effects);
        };
        let reason = match answer {
            Answer::VersionMismatch { current } => {
                V::refused(&Refusal::VersionMismatch { current })
            }
            Answer::TooLarge { events, bytes } => V::refused(&Refusal::TooLarge { events, bytes }),
            _ => queued.missing.clone(),
        };
        self.no_change(command, version, Verdict::Rejected, reason, effects)
    }

    /// A share of the budget is taken whole, or not at all; an empty flight has room for any
    /// commit.
    pub(super) fn has_room(&self, records: usize, bytes: usize) -> bool {
        let fits = self.flight.len() + records <= self.limits.in_flight_records
            && self.flight.bytes() + bytes <= self.limits.in_flight_bytes;
        fits || self.flight.len() == 0
    }

    fn expect_outcome(&mut self, command: V::Command, outcome: Outcome<V>) {
        if let Some(pending) = self.pending.get_mut(&command) {
            pending.outcome = Some(outcome);
        }
    }

    fn decided(
        &mut self,
        command: V::Command,
        answer: Answer<V>,
        effects: &mut Vec<Effect<V>>,
    ) -> Attempt {
        self.answer(command, answer, effects);
        Attempt::Decided
    }

    fn decided_if_writer(
        &mut self,
        command: V::Command,
        answer: HeldAnswer<V>,
        effects: &mut Vec<Effect<V>>,
    ) -> Attempt {
        if !R::HOLDS {
            return self.decided(command, answer.released(self.fold.next_offset()), effects);
        }
        self.hold(command, answer);
        Attempt::Decided
    }

    /// Answers a command, and takes in the submissions that waited for it.
    pub(super) fn answer(
        &mut self,
        command: V::Command,
        answer: Answer<V>,
        effects: &mut Vec<Effect<V>>,
    ) {
        let Some(pending) = self.pending.remove(&command) else { return };
        self.tell(pending.submission, answer, effects);
        for follower in pending.followers {
            if let Some(recorded) = self.memory.outcome(command) {
                let answer = if R::COMPARES_FOLLOWERS {
                    replay::<R, _, _>(recorded, &follower)
                } else {
                    Answer::Done { outcome: recorded.outcome.clone(), replayed: true }
                };
                self.tell(follower, answer, effects);
            } else if let Some(next) = self.pending.get_mut(&command) {
                next.followers.push(follower);
            } else {
                self.take_in(follower);
            }
        }
    }

    /// The end of a submission: its caller hears, or the command queue does.
    fn tell(
        &mut self,
        submission: Submission<V, D::Command>,
        answer: Answer<V>,
        effects: &mut Vec<Effect<V>>,
    ) {
        let aggregate = self.memory.entry(submission.aggregate);
        aggregate.unanswered = aggregate.unanswered.saturating_sub(1);
        self.command_queue.look_at(submission.aggregate);
        match submission.source() {
            None => effects.push(Effect::Answer { token: submission.token, answer }),
            Some(source) => self.command_queue_answered(source, submission, &answer),
        }
    }

    /// After an own fence: everything that is not answered is decided again, in the sequence it
    /// came to be in flight.
    pub(super) fn decide_again(&mut self) {
        self.held.clear();
        let loading = self.load.as_ref();
        let waits = |command: &V::Command| loading.is_some_and(|load| load.is_for(command));
        let mut again = self.pending.keys_where(|command, _| !waits(command));
        again.sort_by_key(|command| {
            self.pending.get(command).map(|pending| pending.submission.token)
        });
        self.wanted.clear();
        self.ready = again.into();
        for pending in self.pending.values_mut() {
            pending.outcome = None;
        }
    }

    /// After [`Writer::decide_again`]: what the log refused, and does not hold, is not sent to it
    /// again.
    pub(super) fn answer_refused(&mut self, effects: &mut Vec<Effect<V>>) {
        for command in self.pending.keys_where(|_, pending| pending.refused) {
            self.ready.retain(|ready| *ready != command);
            self.answer(command, Answer::Busy(Busy::Refused), effects);
        }
    }

    /// The log does not take a record of so many bytes. Of what it refuses at once the largest is
    /// the reason.
    pub(super) fn refuses(&mut self, bytes: usize) {
        let is_first = matches!(self.phase, Phase::Serving | Phase::Draining);
        let before = self.refusing.filter(|_| !is_first).map_or(0, |(bytes, _)| bytes);
        self.refusing =
            Some((bytes.max(before), self.now_ms.saturating_add(self.limits.refused_ms)));
    }

    fn is_refused(&self, bodies: &[Body<V>]) -> bool {
        let Some((from, until_ms)) = self.refusing else { return false };
        self.now_ms < until_ms && bodies.iter().any(|body| V::size_bytes(body) >= from)
    }

    /// Commands that the writer has not decided, before anything of them is out.
    pub(super) fn move_undecided(&mut self, effects: &mut Vec<Effect<V>>) {
        let held: BTreeSet<_> = self.held.iter().map(|held| held.command).collect();
        let decided = |command: &V::Command, pending: &Pending<V, D::Command>| {
            pending.outcome.is_some() || held.contains(command)
        };
        let undecided = self.pending.keys_where(|command, pending| !decided(command, pending));
        self.ready.clear();
        self.wanted.clear();
        for command in undecided {
            let followers = self
                .pending
                .get_mut(&command)
                .map(|pending| std::mem::take(&mut pending.followers))
                .unwrap_or_default();
            self.answer(command, Answer::Moved, effects);
            for follower in followers {
                self.tell(follower, Answer::Moved, effects);
            }
        }
    }

    /// Answers what waits for its turn and is past its deadline.
    pub(super) fn give_up_overdue(&mut self, effects: &mut Vec<Effect<V>>) {
        let now_ms = self.now_ms;
        let waiting: Vec<_> = self.ready.iter().chain(&self.wanted).copied().collect();
        let is_overdue = |submission: &Submission<V, D::Command>| {
            submission.queued.is_none() && submission.deadline_ms < now_ms
        };
        let overdue = |command: &V::Command| {
            self.pending.get(command).is_some_and(|pending| is_overdue(&pending.submission))
        };
        for command in waiting.into_iter().filter(overdue).collect::<BTreeSet<_>>() {
            self.ready.retain(|ready| *ready != command);
            self.wanted.remove(&command);
            self.answer(command, Answer::Busy(Busy::Deadline), effects);
        }
    }
}

/// The answer to an id that has a recorded outcome.
pub(super) fn replay<R: Rules, V: Vocabulary, C: Value>(
    recorded: &RecordedOutcome<V>,
    submission: &Submission<V, C>,
) -> Answer<V> {
    let same = !R::COMPARES_FINGERPRINTS
        || recorded.fingerprint == submission.fingerprint
        || submission.older_fingerprints.contains(&recorded.fingerprint);
    if recorded.aggregate == submission.aggregate && same {
        Answer::Done { outcome: recorded.outcome.clone(), replayed: true }
    } else {
        Answer::KeyReused
    }
}

fn metadata<V: Vocabulary, C: Value>(submission: &Submission<V, C>) -> CommandMetadata<V> {
    CommandMetadata {
        aggregate: submission.aggregate,
        command: submission.command,
        fingerprint: submission.fingerprint.clone(),
        meta: submission.meta.clone(),
        source: submission.source(),
    }
}
