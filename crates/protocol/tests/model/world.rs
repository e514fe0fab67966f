//! A world small enough to be walked through whole: one partition, two owners, their producers'
//! queues, `snapshots`, the clients.

pub mod client;
mod happens;
pub mod kept;
pub mod log;
pub mod owner;
mod possible;
mod reduced;
pub mod small;

use std::collections::VecDeque;

use highwater_protocol::{
    entry::{Body, Entry},
    writer::Outcome,
};

use self::{client::Client, kept::Kept, log::Log, owner::Owner, small::Small};
use crate::setup::{Fault, Setup};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// An owner begins a take-over at the present checkpoint of `snapshots`.
    Start(usize),
    Crash(usize),
    Stop(usize),
    /// A second passes for an owner.
    Tick(usize),
    /// The front of a producer's queue reaches the log, and the report says so.
    Land(usize),
    /// Something goes wrong with it.
    Fail(usize, Fault),
    /// A record of a process that ended reaches the log.
    ZombieLand(usize),
    /// The report at that place of those that are on their way.
    Report(usize, usize),
    Read(usize),
    CaughtUp(usize),
    /// The statement of a load sees what `snapshots` has.
    Query(usize),
    /// What it saw arrives.
    Loaded(usize),
    LoadFailed(usize),
    Submit(usize, usize),
    /// An owner takes the next record of the command queue.
    Take(usize),
    /// `snapshots` comes to the end of the log, or falls back to the beginning.
    Snapshot,
    FallBack,
    /// An owner hears where `snapshots` is.
    Hear(usize),
}

/// How often what is limited has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    starts: u8,
    fences: u8,
    crashes: u8,
    stops: u8,
    faults: u8,
    snapshots: u8,
    falls: u8,
    load_failures: u8,
    ticks: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    log: Kept<Log>,
    owners: [Option<Kept<Owner>>; 2],
    /// What processes that ended had queued; in sequence, because which is which makes no
    /// difference.
    zombies: Vec<VecDeque<Entry<Small>>>,
    client: Kept<Client>,
    checkpoint: usize,
    spent: Spent,
    broken: Option<&'static str>,
    /// An owner has said that something is in the log, below this offset, which a lying log has
    /// lost.
    owes: Option<(usize, u64)>,
}

impl World {
    pub fn new(setup: &Setup) -> Self {
        Self {
            log: Kept::new(Log::new()),
            owners: [None, None],
            zombies: Vec::new(),
            client: Kept::new(Client::new(setup)),
            checkpoint: 0,
            spent: Spent::default(),
            broken: None,
            owes: None,
        }
    }

    /// What must hold in every state, told by what does not.
    pub fn broken_promise(&self, setup: &Setup) -> Option<&'static str> {
        let passes = |owner: &Kept<Owner>| {
            owner.writer.passed().is_some_and(|passed| !self.log.has_outcomes_below(setup, passed))
        };
        let passed = !setup.command_queue.is_empty() && self.owners.iter().flatten().any(passes);
        let passed =
            passed.then_some("an owner has passed a queued command, and it has no outcome");
        self.broken.or(self.log.broken).or(passed)
    }

    /// Every command was sent, and has its outcome in the log; no caller waits.
    pub fn is_at_its_end(&self, setup: &Setup) -> bool {
        let sent = setup
            .commands
            .iter()
            .zip(&self.client.sent)
            .all(|(command, sent)| *sent == command.times);
        let drained = setup.command_queue.len() as u64 == self.log.head().drained;
        sent && drained
            && self.client.asked.is_empty()
            && setup
                .commands
                .iter()
                .all(|command| !command.caller_key || self.log.outcomes.contains_key(&command.id))
    }

    /// Another has fenced, and an owner that serves does not know.
    pub fn has_a_zombie(&self) -> bool {
        let writer = self.log.head().writer;
        self.owners.iter().flatten().any(|owner| {
            owner.writer.in_flight() > 0
                && owner.writer.serving().is_some_and(|(_, own)| Some(own) != writer)
        })
    }

    /// Whether a submission to an owner makes a difference now.
    pub fn may_be_asked(&self, setup: &Setup, i: usize) -> bool {
        self.owners[i].as_ref().is_some_and(|owner| self.is_asked(setup, owner))
    }

    /// For the reader of a trace.
    pub fn describe_log(&self) -> String {
        let mut head = highwater_protocol::fold::Fold::<Small>::new();
        let mut said = Vec::new();
        for (offset, entry) in self.log.entries.iter().enumerate() {
            let what = match &entry.body {
                Body::Event(event) => format!(
                    "event {}/{} of command {} on aggregate {}, version {}, time {}",
                    event.part.index,
                    event.part.of,
                    event.metadata.command,
                    event.metadata.aggregate,
                    event.version,
                    event.time
                ),
                Body::Outcome(outcome) => {
                    format!(
                        "{:?} of command {} on aggregate {}, version {}",
                        outcome.verdict,
                        outcome.metadata.command,
                        outcome.metadata.aggregate,
                        outcome.version
                    )
                }
                other => format!("{other:?}"),
            };
            let verdict = head.apply(offset as u64, Ok(entry.clone()));
            let void = if matches!(verdict, Ok(highwater_protocol::fold::Effect::Void(_))) {
                ", void"
            } else {
                ""
            };
            let drained =
                entry.drained.map(|drained| format!(", drained {drained}")).unwrap_or_default();
            let seq = entry.seq.map(|seq| format!(" seq {seq}")).unwrap_or_default();
            said.push(format!(
                "  {offset}: epoch {} writer {}{seq}: {what}{drained}{void}",
                entry.epoch, entry.writer
            ));
        }
        said.join("\n")
    }

    fn owes_after(&mut self, owner: usize, outcome: &Outcome<Small>) {
        if let Outcome::Accepted { end, .. } = outcome {
            self.owes = Some((owner, *end));
        }
    }
}
