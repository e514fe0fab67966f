//! The owner of a partition as a pure state machine: `(state, input) -> (state, effects)`, no
//! clock, no I/O, no ids made inside.
//!
//! It owns the protocol of log-format.md: take over, fence, decide, apply speculatively,
//! acknowledge by the anchor or by reading back, and start again under a new writer id when an
//! outcome is unknown. The driver (command-api, the model checker, the simulation) feeds it what
//! happened and carries out what it asks; it must feed every record of the partition in sequence.
//!
//! | module | what it owns |
//! |---|---|
//! | [`interface`] | inputs, effects, answers, limits |
//! | `memory` | aggregates and recorded outcomes, confirmed and speculative; eviction and its watermark |
//! | `intake` | submissions, dedupe, decisions |
//! | `load` | what memory lacks, asked of `snapshots` |
//! | `flight` | what is appended and not yet confirmed: the ack rule, held answers, barriers |
//! | `command_queue` | the command queue: turns, what is drained, expiry |
//! | [`rules`] | the rules by name, for the model checker |
//! | `table` | rows by id |
//! | `reading` | the fold of what is read back: confirmation, holes, foreign fences, divergence |
//! | `fencing` | take-over, unknown outcomes, adoption, stepping down |

mod command_queue;
mod fencing;
mod flight;
mod intake;
pub mod interface;
mod load;
mod memory;
mod reading;
pub mod rules;
mod table;

use std::{
    collections::{BTreeSet, VecDeque},
    marker::PhantomData,
};

pub use interface::{
    Answer, AppendReport, Busy, Effect, Expected, Input, Limits, Outcome, QueuedCommand,
    RecordedOutcome, Snapshot, StepDown, Submission, Token,
};

use crate::{
    domain::Domain,
    fold::Fold,
    position::Position,
    vocabulary::Vocabulary,
    writer::{
        flight::{Flight, HeldReply},
        intake::Pending,
        load::Load,
        memory::Memory,
        rules::{AllRules, Rules},
        table::Table,
    },
};

/// The owner of one partition. `R` is [`AllRules`] everywhere but in the model checker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Writer<V: Vocabulary, D: Domain<V>, R: Rules = AllRules> {
    domain: D,
    limits: Limits,
    phase: Phase<V>,
    /// What has been read.
    fold: Fold<V>,
    /// Own epoch and writer id since the first adopted fence.
    own: Option<(u64, V::Writer)>,
    /// The sequence of the next record to append.
    next_seq: u64,
    /// Monotonic, milliseconds; comes in with [`Input::Tick`].
    now_ms: u64,
    /// The last `ce_time` given out.
    last_time: Option<V::Time>,
    flight: Flight<V>,
    held: VecDeque<HeldReply<V>>,
    memory: Memory<V, D::State>,
    pending: Table<V::Command, Pending<V, D::Command>>,
    /// Commands to be decided, in turn; they wait for room, or for the fence.
    ready: VecDeque<V::Command>,
    /// Commands that wait for a load which has not been asked for yet.
    wanted: BTreeSet<V::Command>,
    /// The load that is under way; at most one.
    load: Option<Load<V>>,
    command_queue: command_queue::CommandQueue<V, D::Command>,
    /// The highest checkpoint of `snapshots` heard of.
    checkpoint: u64,
    /// The log has refused a record of so many bytes: none of that size or larger is sent before
    /// that tick.
    refusing: Option<(usize, u64)>,
    rules: PhantomData<R>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase<V: Vocabulary> {
    /// Reading up to the end of the log before the next fence.
    ReadingToEnd {
        attempts: BTreeSet<V::Writer>,
    },
    /// A fence is out; any of the attempts may become valid.
    FenceInFlight {
        attempts: BTreeSet<V::Writer>,
    },
    Serving,
    /// Serving no new command; confirming what is out.
    Draining,
    /// Stepped down: every input is ignored.
    Done,
}

impl<V: Vocabulary, D: Domain<V>, R: Rules> Writer<V, D, R> {
    /// Begins a take-over at the stored position of `snapshots`: the driver reads the log from
    /// [`Position::offset`] on.
    pub fn take_over(domain: D, limits: Limits, from: Position<V>) -> (Self, Vec<Effect<V>>) {
        let writer = Self {
            domain,
            limits,
            phase: Phase::ReadingToEnd { attempts: BTreeSet::new() },
            own: None,
            next_seq: 0,
            now_ms: 0,
            last_time: from.last_time,
            flight: Flight::new(),
            held: VecDeque::new(),
            memory: Memory::new(from.offset),
            pending: Table::new(),
            ready: VecDeque::new(),
            wanted: BTreeSet::new(),
            load: None,
            command_queue: command_queue::CommandQueue::new(),
            checkpoint: from.offset,
            refusing: None,
            fold: Fold::resume(from),
            rules: PhantomData,
        };
        (writer, vec![Effect::ReadToEnd])
    }

    /// Takes one input and says what is to be done, in turn.
    pub fn step(&mut self, input: Input<V, D::Command, D::State>) -> Vec<Effect<V>> {
        let mut effects = Vec::new();
        if self.is_done() {
            if let Input::Submit(submission) = input {
                effects.push(Effect::Answer { token: submission.token, answer: Answer::Moved });
            }
            return effects;
        }
        match input {
            Input::Read { offset, entry } => self.read(offset, entry, &mut effects),
            Input::CaughtUp { writer } => self.caught_up(writer, &mut effects),
            Input::Submit(submission) => self.submit(submission, &mut effects),
            Input::Queued { offset, submission } => {
                self.take_from_command_queue(offset, submission)
            }
            Input::Loaded { checkpoint, aggregates, outcomes } => {
                self.loaded(checkpoint, aggregates, outcomes, &mut effects)
            }
            Input::LoadFailed => self.load_failed(&mut effects),
            Input::Report { writer, seq, reported } => {
                self.report(writer, seq, reported, &mut effects)
            }
            Input::Tick { now_ms } => self.tick(now_ms, &mut effects),
            Input::Checkpoint { offset } => self.heard_checkpoint(offset),
            Input::Stop => self.stop(&mut effects),
        }
        self.go_on(&mut effects);
        effects
    }

    /// Everything that may have become possible by the last input.
    fn go_on(&mut self, effects: &mut Vec<Effect<V>>) {
        if self.is_done() {
            return;
        }
        self.decide_ready(effects);
        self.take_turns(effects);
        if !R::WAITS_FOR_LOG {
            self.confirm_all_out(effects);
        }
        self.ask_for_load(effects);
        self.barrier_if_needed(effects);
        self.say_drained_if_silent(effects);
        self.finish_drain(effects);
    }

    fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Own epoch and writer id, while serving.
    pub fn serving(&self) -> Option<(u64, V::Writer)> {
        self.own.filter(|_| matches!(self.phase, Phase::Serving | Phase::Draining))
    }

    /// Where the reading stands.
    pub fn fold(&self) -> &Fold<V> {
        &self.fold
    }

    /// Records appended and not yet confirmed.
    pub fn in_flight(&self) -> usize {
        self.flight.len()
    }

    /// Commands taken in and not yet answered.
    pub fn unanswered(&self) -> usize {
        self.pending.len()
    }

    /// Records that `snapshots` has not covered yet: they cannot be evicted.
    pub fn tail(&self) -> u64 {
        self.fold.next_offset().saturating_sub(self.checkpoint)
    }

    /// Aggregates kept in memory.
    pub fn aggregates(&self) -> usize {
        self.memory.aggregates()
    }
}
