//! The command queue: commands that were accepted elsewhere and wait for their turn. They differ
//! from submissions in three ways: no caller is answered, every outcome is recorded, and none is
//! ever refused for want of room; it waits instead.
//!
//! Commands of one aggregate are decided in the sequence of their offsets; a slow one holds up no
//! other aggregate, within the window.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::Domain,
    entry::Body,
    vocabulary::{Value, Vocabulary},
    writer::{Answer, Effect, Phase, Submission, Writer, rules::Rules},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CommandQueue<V: Vocabulary, C: Value> {
    /// The offset of the next record to be taken. `None` before the first own fence.
    next: Option<u64>,
    /// Taken, and without a confirmed outcome.
    open: BTreeMap<u64, Open<V, C>>,
    /// Those of them that no appended record decides.
    undecided: BTreeSet<u64>,
    /// The first offset at which a command is open.
    by_command: BTreeMap<V::Command, u64>,
    queues: BTreeMap<V::Aggregate, Queue>,
    /// Aggregates whose next command may have its turn.
    look: BTreeSet<V::Aggregate>,
    /// The largest `hw-drained` in the fold, or out.
    said: u64,
    /// Since when there is more to say, in the milliseconds of ticks.
    unsaid_since: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open<V: Vocabulary, C: Value> {
    aggregate: V::Aggregate,
    command: V::Command,
    /// While it waits for its turn.
    waiting: Option<Submission<V, C>>,
}

/// The open commands of one aggregate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Queue {
    waiting: BTreeSet<u64>,
    /// Had their turn, and are not decided.
    active: usize,
    /// What could not be decided for now is not tried again before.
    not_before_ms: u64,
}

/// How long a command waits that could not be decided for want of its aggregate.
const RETRY_MS: u64 = 1_000;

impl<V: Vocabulary, C: Value> CommandQueue<V, C> {
    pub(super) fn new() -> Self {
        Self {
            next: None,
            open: BTreeMap::new(),
            undecided: BTreeSet::new(),
            by_command: BTreeMap::new(),
            queues: BTreeMap::new(),
            look: BTreeSet::new(),
            said: 0,
            unsaid_since: None,
        }
    }

    /// Every command below has its outcome in the log, or in what is out.
    fn drained<R: Rules>(&self) -> u64 {
        self.undecided.first().copied().filter(|_| R::DRAINED_IS_DECIDED).or(self.next).unwrap_or(0)
    }

    /// What the record that is now made must say.
    fn say<R: Rules>(&mut self) -> Option<u64> {
        let drained = self.drained::<R>();
        let news = self.next.is_some() && drained > self.said;
        if news {
            self.said = drained;
            self.unsaid_since = None;
        }
        news.then_some(drained)
    }

    /// After an own fence: what is open may be undecided again.
    pub(super) fn again<R: Rules>(&mut self, drained: u64) {
        self.next.get_or_insert(drained);
        self.said = drained;
        self.unsaid_since = None;
        if R::FENCE_UNDECIDES {
            self.undecided = self.open.keys().copied().collect();
        }
        for queue in self.queues.values_mut() {
            queue.active = 0;
        }
        for open in self.open.values().filter(|open| open.waiting.is_none()) {
            self.queues.entry(open.aggregate).or_default().active += 1;
        }
        self.look_at_all();
    }

    /// A caller sent the command, too: it can have been seen by the time its turn comes.
    pub(super) fn not_fresh(&mut self, command: V::Command) {
        let open = self.by_command.get(&command).and_then(|offset| self.open.get_mut(offset));
        if let Some(submission) = open.and_then(|open| open.waiting.as_mut()) {
            submission.fresh = false;
        }
    }

    /// Commands in their turn are decided elsewhere; a decision lets the next of the aggregate have
    /// its own.
    fn decided(&mut self, source: u64) {
        let Some(open) = self.open.get(&source) else { return };
        if self.undecided.remove(&source) && open.waiting.is_none() {
            self.left(open.aggregate);
        }
    }

    fn left(&mut self, aggregate: V::Aggregate) {
        let Some(queue) = self.queues.get_mut(&aggregate) else { return };
        queue.active = queue.active.saturating_sub(1);
        if queue.waiting.is_empty() && queue.active == 0 {
            self.queues.remove(&aggregate);
        } else {
            self.look.insert(aggregate);
        }
    }

    /// Something of the aggregate came to its end.
    pub(super) fn look_at(&mut self, aggregate: V::Aggregate) {
        if self.queues.contains_key(&aggregate) {
            self.look.insert(aggregate);
        }
    }

    fn look_at_all(&mut self) {
        self.look = self
            .queues
            .iter()
            .filter(|(_, queue)| !queue.waiting.is_empty())
            .map(|(aggregate, _)| *aggregate)
            .collect();
    }
}

impl<V: Vocabulary, D: Domain<V>, R: Rules> Writer<V, D, R> {
    /// The offset in `commands` of the record to be taken next, once there is an own fence.
    pub fn command_queue_next(&self) -> Option<u64> {
        self.command_queue.next
    }

    /// Every queued command below has its outcome, or it is on its way into the log.
    pub fn command_queue_drained(&self) -> u64 {
        self.command_queue.drained::<R>()
    }

    /// Queued commands that were taken and have no confirmed outcome.
    pub fn command_queue_open(&self) -> usize {
        self.command_queue.open.len()
    }

    /// Whether the next record of the command queue can be taken now.
    pub fn command_queue_has_room(&self) -> bool {
        let above = self.command_queue.next.map(|next| next - self.command_queue.drained::<R>());
        let within = |count: usize| count < self.limits.command_queue_window;
        self.phase == Phase::Serving
            && above.is_some_and(|above| usize::try_from(above).is_ok_and(within))
            && within(self.command_queue.open.len())
    }

    /// The record at `offset` of the command queue; `None` where there is nothing to decide. Any
    /// other than the next one is not taken.
    pub(super) fn take_from_command_queue(
        &mut self,
        offset: u64,
        submission: Option<Submission<V, D::Command>>,
    ) {
        if self.command_queue.next != Some(offset) {
            return;
        }
        self.command_queue.next = Some(offset + 1);
        let Some(mut submission) = submission else { return };
        let (aggregate, command) = (submission.aggregate, submission.command);
        self.memory.entry(aggregate).pinned += 1;
        if submission.new_aggregate {
            self.memory.cannot_exist(aggregate);
        }
        let is_known = self.command_queue.by_command.contains_key(&command)
            || self.pending.contains_key(&command);
        submission.fresh &= !is_known || !R::TWICE_QUEUED_MAY_BE_SEEN;
        self.command_queue.by_command.entry(command).or_insert(offset);
        self.command_queue
            .open
            .insert(offset, Open { aggregate, command, waiting: Some(submission) });
        self.command_queue.undecided.insert(offset);
        self.command_queue.queues.entry(aggregate).or_default().waiting.insert(offset);
        self.command_queue.look.insert(aggregate);
    }

    /// Gives every queued command its turn that can have it.
    pub(super) fn take_turns(&mut self, effects: &mut Vec<Effect<V>>) {
        while self.phase == Phase::Serving
            && let Some(aggregate) = self.command_queue.look.pop_first()
        {
            if let Some(offset) = self.turn_of(aggregate) {
                self.take_turn(offset);
            }
            if self.command_queue.look.is_empty() {
                self.decide_ready(effects);
            }
        }
    }

    /// The next command of the aggregate, unless it must wait.
    fn turn_of(&self, aggregate: V::Aggregate) -> Option<u64> {
        let queue = self
            .command_queue
            .queues
            .get(&aggregate)
            .filter(|queue| queue.active == 0 && queue.not_before_ms <= self.now_ms)?;
        let found = self.memory.get(aggregate);
        // Half of a queue is left to callers who wait for their answer.
        let unanswered = found.map_or(0, |found| found.unanswered);
        let warm = found.is_some_and(|found| found.is_usable());
        let free = unanswered < (self.limits.aggregate_queue / 2).max(1)
            && self.pending.len() < (self.limits.partition_queue / 2).max(1)
            && self.tail() < self.tail_limit(warm);
        queue.waiting.first().copied().filter(|_| free)
    }

    fn take_turn(&mut self, offset: u64) {
        let Some(open) = self.command_queue.open.get_mut(&offset) else { return };
        let Some(submission) = open.waiting.take() else { return };
        if let Some(queue) = self.command_queue.queues.get_mut(&open.aggregate) {
            queue.waiting.remove(&offset);
            queue.active += 1;
        }
        self.memory.entry(submission.aggregate).unanswered += 1;
        self.take_in_or_follow(submission);
    }

    /// The records that are now appended decide `command`, if it came through the command queue.
    /// What the last of them says of the command queue.
    pub(super) fn say_drained(&mut self, command: Option<V::Command>) -> Option<u64> {
        let source = command
            .and_then(|command| self.pending.get(&command))
            .and_then(|pending| pending.submission.source());
        if let Some(source) = source {
            self.command_queue.decided(source);
        }
        self.command_queue.say::<R>()
    }

    /// What would have been an answer: an outcome that is in the log, or a reason to wait.
    pub(super) fn command_queue_answered(
        &mut self,
        source: u64,
        submission: Submission<V, D::Command>,
        answer: &Answer<V>,
    ) {
        if matches!(answer, Answer::Done { .. } | Answer::KeyReused) {
            return self.settled(source);
        }
        let now_ms = self.now_ms;
        let Some(open) = self.command_queue.open.get_mut(&source) else { return };
        let queue = self.command_queue.queues.entry(open.aggregate).or_default();
        queue.active = queue.active.saturating_sub(1);
        queue.waiting.insert(source);
        queue.not_before_ms = now_ms.saturating_add(RETRY_MS);
        // Whether it was ever seen is not known for long.
        let fresh = submission.fresh && !R::QUEUED_AGAIN_MAY_BE_SEEN;
        open.waiting = Some(Submission { fresh, ..submission });
    }

    fn settled(&mut self, source: u64) {
        self.command_queue.decided(source);
        let Some(open) = self.command_queue.open.remove(&source) else { return };
        let aggregate = self.memory.entry(open.aggregate);
        aggregate.pinned = aggregate.pinned.saturating_sub(1);
        if self.command_queue.by_command.get(&open.command) == Some(&source) {
            self.command_queue.by_command.remove(&open.command);
        }
        self.command_queue.look_at(open.aggregate);
    }

    /// With every tick: what waits is looked at again, and what is overdue has its turn, whatever
    /// holds up the others.
    pub(super) fn look_at_command_queue(&mut self) {
        let now_ms = self.now_ms;
        if self.phase != Phase::Serving {
            return;
        }
        let may_be_tried = |aggregate: &V::Aggregate| {
            self.command_queue
                .queues
                .get(aggregate)
                .is_none_or(|queue| queue.not_before_ms <= now_ms)
        };
        let waiting = self
            .command_queue
            .open
            .iter()
            .filter_map(|(offset, open)| Some((*offset, open.waiting.as_ref()?)));
        let overdue = waiting.filter(|(_, submission)| {
            submission.deadline_ms < now_ms && may_be_tried(&submission.aggregate)
        });
        for offset in overdue.map(|(offset, _)| offset).collect::<Vec<_>>() {
            self.take_turn(offset);
        }
        self.command_queue.look_at_all();
    }

    /// A barrier, when the command queue has advanced and no record has said so for too long.
    pub(super) fn say_drained_if_silent(&mut self, effects: &mut Vec<Effect<V>>) {
        if self.phase != Phase::Serving
            || self.command_queue.next.is_none()
            || self.command_queue.drained::<R>() <= self.command_queue.said
        {
            return;
        }
        let since = *self.command_queue.unsaid_since.get_or_insert(self.now_ms);
        if self.now_ms.saturating_sub(since) >= self.limits.command_queue_silence_ms
            && self.has_room(1, V::size_bytes(&Body::Barrier))
        {
            self.append(vec![Body::Barrier], None, effects);
        }
    }
}
