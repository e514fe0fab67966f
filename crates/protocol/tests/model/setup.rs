//! How large a world is, and what may happen in it.

use highwater_protocol::{
    position::Position,
    writer::{
        Effect, Expected, Limits, Writer,
        rules::{AllRules, Rules},
    },
};

use crate::world::{
    owner::Driven,
    small::{Counter, Does, Small},
};

/// Begins a take-over by a writer with some set of rules.
pub type Begin = fn(Limits, Position<Small>) -> (Driven, Vec<Effect<Small>>);

pub fn begin<R: Rules>(limits: Limits, from: Position<Small>) -> (Driven, Vec<Effect<Small>>) {
    let (writer, effects) = Writer::<Small, Counter, R>::take_over(Counter, limits, from);
    (Driven(Box::new(writer)), effects)
}

/// A command as clients send it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub id: u8,
    pub fingerprint: u8,
    pub aggregate: u8,
    pub does: Does,
    pub expected: Expected,
    pub caller_key: bool,
    /// How often it is sent synchronously.
    pub times: u8,
    /// How far the clock that dates it is behind that of its owner.
    pub behind: u8,
    /// Whether the filters of ids say so where it was never seen, of the command and of the
    /// aggregate; else they say "maybe".
    pub told_new: (bool, bool),
}

/// What an unfaithful log may do to one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It takes it, and the report does not say where.
    Somewhere,
    /// It takes it, and the report says it failed.
    Failed,
    /// It takes it, the answer is lost, and when it is sent again the log refuses it.
    TakenAndRefused,
    /// It never takes it, and the report says it failed.
    Lost,
    /// It refuses it.
    Refused,
    /// The last record that was appended is not sent at all.
    Unsent,
    /// It takes it twice, and the report says where it lies the second time.
    Twice,
    /// It says that it took it, and did not. Nothing keeps a promise then; what is checked is that
    /// the owner ends.
    Lie,
}

pub const ALL_FAULTS: &[Fault] = &[
    Fault::Somewhere,
    Fault::Failed,
    Fault::TakenAndRefused,
    Fault::Lost,
    Fault::Refused,
    Fault::Unsent,
    Fault::Twice,
];

#[derive(Clone, Debug)]
pub struct Setup {
    pub begin: Begin,
    /// Readers take the writer's records whatever their sequence.
    pub ignores_sequence: bool,
    /// Readers take the largest `hw-source` for `hw-drained`.
    pub resumes_after_source: bool,
    /// `snapshots` has states, and no outcomes.
    pub forgets_outcomes: bool,
    pub commands: Vec<Sent>,
    /// Which of the commands lie in the command queue.
    pub command_queue: Vec<usize>,
    pub starts: u8,
    pub fences: u8,
    pub crashes: u8,
    pub stops: u8,
    pub faults: u8,
    pub kinds: &'static [Fault],
    /// How often the checkpoint of `snapshots` moves on, and how often it falls back to the
    /// beginning.
    pub snapshots: u8,
    pub falls: u8,
    pub load_failures: u8,
    /// Steps of the clock, of a second.
    pub ticks: u8,
    /// What the clock of the first owner says, of the second, and so on.
    pub clocks: [u8; 6],
    /// Owners hear of the checkpoint apart from loads.
    pub hears: bool,
    /// Aggregates and outcomes that are kept although `snapshots` has them.
    pub cached: usize,
    /// [`Limits::max_tail_events`] and [`Limits::aggregate_queue`].
    pub max_tail: u64,
    pub queue: usize,
    pub log_records: usize,
    /// Without what makes no difference: `world::reduced`.
    pub reduced: bool,
}

impl Setup {
    /// Two owners, and nothing fails.
    pub fn calm(commands: Vec<Sent>, log_records: usize) -> Self {
        Self {
            begin: begin::<AllRules>,
            ignores_sequence: false,
            resumes_after_source: false,
            forgets_outcomes: false,
            commands,
            command_queue: Vec::new(),
            starts: 2,
            fences: 2,
            crashes: 0,
            stops: 0,
            faults: 0,
            kinds: ALL_FAULTS,
            snapshots: 0,
            falls: 0,
            load_failures: 0,
            ticks: 0,
            clocks: [0; 6],
            hears: false,
            cached: 0,
            max_tail: 100,
            queue: 64,
            log_records,
            reduced: false,
        }
    }

    /// No caller sends anything but through the command queue.
    pub fn without_callers(mut self) -> Self {
        self.commands.iter_mut().for_each(|command| command.times = 0);
        self
    }

    pub fn limits(&self) -> Limits {
        Limits {
            cached_aggregates: self.cached,
            cached_outcomes: self.cached,
            command_queue_silence_ms: 0,
            refused_ms: 0,
            read_back_deadline_ms: 1_000,
            max_tail_events: self.max_tail,
            aggregate_queue: self.queue,
            ..Limits::default()
        }
    }

    /// What makes no difference to any promise happens at once, or is made the same:
    /// `world::reduced`.
    pub fn reduced(self) -> Self {
        Self { reduced: true, ..self }
    }

    /// For the reader of a test's output.
    pub fn bounds(&self) -> String {
        let sent: u8 = self.commands.iter().map(|command| command.times).sum();
        format!(
            "{}{} starts, {} fences, {} commands sent {sent} times, {} in the command queue, \
             {} crashes, {} stops, {} faults of {} kinds, {} snapshots, \
             {} falls, {} failed loads, {} ticks, {} cached, {} records",
            if self.reduced { "reduced, " } else { "" },
            self.starts,
            self.fences,
            self.commands.len(),
            self.command_queue.len(),
            self.crashes,
            self.stops,
            self.faults,
            self.kinds.len(),
            self.snapshots,
            self.falls,
            self.load_failures,
            self.ticks,
            self.cached,
            self.log_records
        )
    }
}

impl Sent {
    /// With the key of its caller, once.
    pub fn new(id: u8, aggregate: u8, does: Does) -> Self {
        Self {
            id,
            fingerprint: id,
            aggregate,
            does,
            expected: Expected::Anything,
            caller_key: true,
            times: 1,
            behind: 0,
            told_new: (false, false),
        }
    }

    pub fn expecting(self, versions: &[u64]) -> Self {
        Self { expected: Expected::OneOf(versions.to_vec()), ..self }
    }

    pub fn if_it_exists(self) -> Self {
        Self { expected: Expected::Exists, ..self }
    }

    /// Whatever becomes of it is recorded: no answer is ever held.
    pub fn is_recorded(&self) -> bool {
        matches!(self.does, Does::Create(_))
            && self.expected == Expected::Anything
            && self.caller_key
    }

    pub fn times(self, times: u8) -> Self {
        Self { times, ..self }
    }

    pub fn minted(self) -> Self {
        Self { caller_key: false, ..self }
    }

    /// Its id is known to be new where it is, and so is its aggregate's.
    pub fn told_new(self) -> Self {
        Self { told_new: (true, true), ..self }
    }

    /// Its id is known to be new where it is, and its aggregate's is not.
    pub fn told_fresh(self) -> Self {
        Self { told_new: (true, false), ..self }
    }

    pub fn behind(self, behind: u8) -> Self {
        Self { behind, ..self }
    }

    pub fn otherwise(self, fingerprint: u8) -> Self {
        Self { fingerprint, ..self }
    }
}
