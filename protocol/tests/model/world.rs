//! A world small enough to be walked through whole: one partition, two owners, their producers' queues, one client.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use protocol::{
    domain::{Decision, Domain, Unreadable},
    entry::{Body, Entry},
    fold::{self, Fold},
    position::Position,
    vocabulary::{Refusal, Vocabulary},
    writer::{Answer, Effect, Expected, Input, Lane, Limits, Outcome, Recorded, Reported, Snapshot, StepDown, Submission, Writer},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Small;

impl Vocabulary for Small {
    type Writer = u8;
    type Command = u8;
    type Aggregate = u8;
    type Time = u8;
    type Fingerprint = u8;
    type Meta = ();
    type Event = ();
    type Reason = ();
    type Summary = ();

    fn size_bytes(_: &Body<Self>) -> usize {
        1
    }
    fn nothing_to_do() {}
    fn refused(_: &Refusal) {}
    fn summary((): &()) {}
}

/// Creates, with a commit of so many events; 0: one more event, if it exists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Counter;

impl Domain<Small> for Counter {
    type State = u8;
    type Command = u8;

    fn must_exist(&self, create: &u8) -> bool {
        *create == 0
    }

    fn decide(&self, state: Option<&u8>, create: &u8, _: u8) -> Result<Decision<u8, ()>, ()> {
        match (state, create) {
            (state, 0) => Ok(Decision::Change { events: vec![()], state: state.map_or(1, |count| count + 1) }),
            (None, events) => Ok(Decision::Change { events: vec![(); usize::from(*events)], state: *events }),
            (Some(_), _) => Err(()),
        }
    }

    fn evolve(&self, state: Option<&u8>, (): &()) -> Result<u8, Unreadable> {
        Ok(state.map_or(1, |count| count + 1))
    }
}

/// One rule taken away, by what the world tells the writer or does with its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Every append is reported at once, at the place hoped for.
    AcknowledgeOnAppend,
    /// Every report says the offset that was hoped for.
    NoOffsetCheck,
    /// A report without offset is taken for the offset hoped for.
    SomewhereConfirms,
    /// Readers take the writer's records whatever their sequence.
    FoldIgnoresSequence,
    /// A take-over begins at the end of the log and hears of no outcome from before.
    ForgetsOutcomes,
    /// A take-over resumes the lane after the largest `hw-source`.
    ResumesAfterLargestSource,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Setup {
    pub mutant: Option<Mutant>,
    pub starts: u8,
    pub crashes: u8,
    pub faults: u8,
    /// How often the client sends each command.
    pub submissions: [u8; 2],
    /// What lies in the asynchronous lane. Then each command creates an aggregate of its own, and the second is known to be new.
    pub lane: Vec<u8>,
    pub log_records: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self { mutant: None, starts: 2, crashes: 1, faults: 1, submissions: [2, 1], lane: Vec::new(), log_records: 8 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Start(usize),
    Crash(usize),
    /// The front of a producer's queue reaches the log, and the report says so.
    Land(usize),
    /// It reaches the log, and the report does not say where.
    LandSomewhere(usize),
    /// It reaches the log, and the report says it failed.
    LandFailed(usize),
    /// It reaches the log, the answer is lost, and when it is sent again the log refuses it.
    LandRefused(usize),
    /// It never reaches the log.
    Lose(usize),
    /// The log refuses it.
    Refuse(usize),
    /// It is not sent at all.
    Keep(usize),
    /// A record of a crashed process reaches the log.
    ZombieLand,
    Report(usize),
    Read(usize),
    CaughtUp(usize),
    Load(usize),
    Submit(usize, u8),
    /// An owner takes the next record of the lane.
    Take(usize),
    Snapshot,
}

type Owned = Writer<Small, Counter>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Owner {
    writer: Owned,
    queue: VecDeque<Entry<Small>>,
    reports: VecDeque<(u8, Option<u64>, Reported)>,
    read_to_end: Option<usize>,
    load: Option<(Vec<u8>, Vec<u8>)>,
    fence_at: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    log: Vec<Entry<Small>>,
    owners: [Option<Owner>; 2],
    zombie: VecDeque<Entry<Small>>,
    checkpoint: usize,
    next_writer: u8,
    starts: u8,
    crashes: u8,
    faults: u8,
    submitted: [u8; 2],
    /// Submissions for which a created aggregate had been acknowledged before.
    after_create: BTreeSet<u64>,
    acknowledged: BTreeMap<u8, Outcome<Small>>,
    broken: Option<&'static str>,
    pub deposed_in_flight: bool,
}

impl World {
    pub fn new(_: &Setup) -> Self {
        Self {
            log: Vec::new(),
            owners: [None, None],
            zombie: VecDeque::new(),
            checkpoint: 0,
            next_writer: 1,
            starts: 0,
            crashes: 0,
            faults: 0,
            submitted: [0, 0],
            after_create: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            broken: None,
            deposed_in_flight: false,
        }
    }

    /// Whether every command of the lane has its outcome, and the log says so.
    pub fn lane_is_drained(&self, setup: &Setup) -> bool {
        self.fold_to(self.log.len(), setup).0.head().drained == setup.lane.len() as u64
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    pub fn possible(&self, setup: &Setup, actions: &mut Vec<Action>) {
        for (i, owner) in self.owners.iter().enumerate() {
            let Some(owner) = owner else {
                if self.starts < setup.starts {
                    actions.push(Action::Start(i));
                }
                continue;
            };
            if self.crashes < setup.crashes {
                actions.push(Action::Crash(i));
            }
            if !owner.queue.is_empty() && self.log.len() < setup.log_records {
                actions.push(Action::Land(i));
                if self.faults < setup.faults {
                    actions.extend([Action::LandSomewhere(i), Action::LandFailed(i), Action::Lose(i)]);
                    actions.extend([Action::LandRefused(i), Action::Refuse(i)]);
                    // Any other record that is not sent is one that is lost.
                    actions.extend(owner.queue.front().filter(|entry| entry.seq.is_none()).map(|_| Action::Keep(i)));
                }
            }
            if !owner.reports.is_empty() {
                actions.push(Action::Report(i));
            }
            if owner.read() < self.log.len() {
                actions.push(Action::Read(i));
            }
            if owner.read_to_end.is_some_and(|end| owner.read() >= end) {
                actions.push(Action::CaughtUp(i));
            }
            if owner.load.is_some() {
                actions.push(Action::Load(i));
            }
            for command in [0, 1] {
                if self.submitted[usize::from(command)] < setup.submissions[usize::from(command)] {
                    actions.push(Action::Submit(i, command));
                }
            }
            let next = owner.writer.lane_next().and_then(|next| usize::try_from(next).ok());
            if owner.writer.lane_has_room() && next.is_some_and(|next| next < setup.lane.len()) {
                actions.push(Action::Take(i));
            }
        }
        if !self.zombie.is_empty() && self.log.len() < setup.log_records {
            actions.push(Action::ZombieLand);
        }
        if self.checkpoint == 0 && self.fold_to(self.log.len(), setup).0.position().offset > 2 {
            actions.push(Action::Snapshot);
        }
    }

    pub fn act(&mut self, setup: &Setup, action: Action) {
        match action {
            Action::Start(i) => self.start(setup, i),
            Action::Crash(i) => {
                self.crashes += 1;
                if let Some(owner) = self.owners[i].take() {
                    self.zombie.extend(owner.queue);
                }
            }
            Action::Land(i) => self.land(setup, i, Some(Reported::At(0))),
            Action::LandSomewhere(i) => self.fault(|world| world.land(setup, i, Some(Reported::Somewhere))),
            Action::LandFailed(i) => self.fault(|world| world.land(setup, i, Some(Reported::Failed))),
            Action::LandRefused(i) => self.fault(|world| world.land(setup, i, Some(Reported::Refused))),
            Action::Lose(i) => self.fault(|world| world.lose(i, Reported::Failed)),
            Action::Refuse(i) => self.fault(|world| world.lose(i, Reported::Refused)),
            Action::Keep(i) => self.fault(|world| world.lose(i, Reported::Unsent)),
            Action::ZombieLand => self.log.extend(self.zombie.pop_front()),
            Action::Report(i) => self.report(setup, i),
            Action::Read(i) => self.read(setup, i),
            Action::CaughtUp(i) => self.caught_up(setup, i),
            Action::Load(i) => self.load(setup, i),
            Action::Submit(i, command) => self.submit(setup, i, command),
            Action::Take(i) => self.take(setup, i),
            Action::Snapshot => self.checkpoint = usize::try_from(self.fold_to(self.log.len(), setup).0.position().offset).unwrap_or(0),
        }
    }

    fn fault(&mut self, act: impl FnOnce(&mut Self)) {
        self.faults += 1;
        act(self);
    }

    fn start(&mut self, setup: &Setup, i: usize) {
        self.starts += 1;
        let from = if setup.mutant == Some(Mutant::ForgetsOutcomes) { self.log.len() } else { self.checkpoint };
        let position: Position<Small> = self.fold_to(from, setup).0.position().clone();
        let limits = Limits { cached_aggregates: 0, cached_outcomes: 0, lane_silence_ms: 0, refused_ms: 0, ..Limits::default() };
        let (writer, effects) = Writer::take_over(Counter, limits, position);
        let owner = Owner { writer, queue: VecDeque::new(), reports: VecDeque::new(), read_to_end: None, load: None, fence_at: 0 };
        self.owners[i] = Some(owner);
        self.carry_out(setup, i, effects);
    }

    fn land(&mut self, setup: &Setup, i: usize, reported: Option<Reported>) {
        let offset = self.log.len() as u64;
        let Some(owner) = &mut self.owners[i] else { return };
        let Some(entry) = owner.queue.pop_front() else { return };
        let hoped = entry.seq.map_or(offset, |seq| owner.fence_at + 1 + seq);
        let reported = match (reported, setup.mutant) {
            (Some(Reported::At(_)), Some(Mutant::NoOffsetCheck)) => Some(Reported::At(hoped)),
            (Some(Reported::Somewhere), Some(Mutant::SomewhereConfirms)) => Some(Reported::At(hoped)),
            (Some(Reported::At(_)), _) => Some(Reported::At(offset)),
            (other, _) => other,
        };
        owner.reports.extend(reported.map(|reported| (entry.writer, entry.seq, reported)));
        self.log.push(entry);
    }

    fn lose(&mut self, i: usize, reported: Reported) {
        let Some(owner) = &mut self.owners[i] else { return };
        if let Some(entry) = owner.queue.pop_front() {
            owner.reports.push_back((entry.writer, entry.seq, reported));
        }
    }

    fn report(&mut self, setup: &Setup, i: usize) {
        let Some((writer, seq, reported)) = self.owners[i].as_mut().and_then(|owner| owner.reports.pop_front()) else { return };
        self.step(setup, i, Input::Report { writer, seq, reported });
    }

    fn read(&mut self, setup: &Setup, i: usize) {
        let Some(owner) = &self.owners[i] else { return };
        let offset = owner.read();
        let entry = self.as_read(setup, owner.writer.fold(), offset);
        self.step(setup, i, Input::Read { offset: offset as u64, entry: Ok(entry) });
    }

    /// The record at `offset` as a reader at `fold` takes it.
    fn as_read(&self, setup: &Setup, fold: &Fold<Small>, offset: usize) -> Entry<Small> {
        let mut entry = self.log[offset].clone();
        let head = fold.head();
        if setup.mutant == Some(Mutant::FoldIgnoresSequence) && (entry.epoch, Some(entry.writer)) == (head.epoch, head.writer) {
            entry.seq = entry.seq.map(|_| head.next_seq);
        }
        if setup.mutant == Some(Mutant::ResumesAfterLargestSource) {
            entry.drained = entry.drained.max(entry.body.origin().and_then(|origin| origin.source).map(|source| source + 1));
        }
        entry
    }

    fn caught_up(&mut self, setup: &Setup, i: usize) {
        if let Some(owner) = &mut self.owners[i] {
            owner.read_to_end = None;
        }
        let writer = self.next_writer;
        self.next_writer += 1;
        self.step(setup, i, Input::CaughtUp { writer });
    }

    fn load(&mut self, setup: &Setup, i: usize) {
        let Some((_, commands)) = self.owners[i].as_mut().and_then(|owner| owner.load.take()) else { return };
        let (fold, seen) = self.fold_to(self.checkpoint, setup);
        let forgets = setup.mutant == Some(Mutant::ForgetsOutcomes);
        let outcomes = seen.outcomes.iter().filter(|(command, _)| commands.contains(command) && !forgets);
        let outcomes = outcomes.map(|(command, outcome)| (*command, recorded(setup, *command, outcome))).collect();
        let versions = if forgets { self.fold_to(self.log.len(), setup).1.versions } else { seen.versions };
        let state = |version: u64| Snapshot::State { version, state: u8::try_from(version).unwrap_or(u8::MAX) };
        let aggregates = versions.into_iter().map(|(aggregate, version)| (aggregate, state(version))).collect();
        let checkpoint = if forgets { self.log.len() as u64 } else { fold.position().offset };
        self.step(setup, i, Input::Loaded { checkpoint, aggregates, outcomes });
    }

    fn submit(&mut self, setup: &Setup, i: usize, command: u8) {
        let nth = &mut self.submitted[usize::from(command)];
        *nth += 1;
        let token = u64::from(command) + 2 * u64::from(*nth);
        if matches!(self.acknowledged.get(&0), Some(Outcome::Accepted { .. })) {
            self.after_create.insert(token);
        }
        self.step(setup, i, Input::Submit(submission(setup, token, command)));
    }

    fn take(&mut self, setup: &Setup, i: usize) {
        let Some(owner) = &self.owners[i] else { return };
        let Some(source) = owner.writer.lane_next() else { return };
        let Some(command) = usize::try_from(source).ok().and_then(|next| setup.lane.get(next)).copied() else { return };
        // What a filter of the ids in the log and of those that this owner appended says; of the first command it says "maybe".
        let told = self.log.iter().chain(&owner.queue).any(|entry| entry.body.origin().is_some_and(|origin| origin.command == command));
        let is_new = command == 1 && !told;
        let lane = Some(Lane { source, missing: () });
        let submission = Submission { lane, fresh: is_new, new_aggregate: is_new, ..submission(setup, 100 + source, command) };
        self.step(setup, i, Input::Lane { offset: source, submission: Some(submission) });
    }

    fn step(&mut self, setup: &Setup, i: usize, input: Input<Small, u8, u8>) {
        let Some(owner) = &mut self.owners[i] else { return };
        let effects = owner.writer.step(input);
        self.carry_out(setup, i, effects);
    }

    fn carry_out(&mut self, setup: &Setup, i: usize, effects: Vec<Effect<Small>>) {
        let end = self.log.len();
        let mut stepped_down = false;
        for effect in effects {
            let Some(owner) = &mut self.owners[i] else { return };
            match effect {
                Effect::Append(entries) => {
                    if setup.mutant == Some(Mutant::AcknowledgeOnAppend) {
                        let early = entries.iter().filter_map(|entry| entry.seq.map(|seq| (entry.writer, entry.seq, seq)));
                        let fence_at = owner.fence_at;
                        owner.reports.extend(early.map(|(writer, seq, at)| (writer, seq, Reported::At(fence_at + 1 + at))));
                    }
                    owner.queue.extend(entries);
                }
                Effect::ReadToEnd => owner.read_to_end = Some(end),
                Effect::Load { aggregates, commands } => owner.load = Some((aggregates, commands)),
                Effect::Serving { offset, .. } => owner.fence_at = offset,
                Effect::OutcomeUnknown { .. } => {}
                Effect::Answer { token, answer } => self.hear(token, answer),
                Effect::StepDown(why) => {
                    let in_flight = owner.writer.in_flight() > 0;
                    self.deposed_in_flight |= in_flight && matches!(why, StepDown::Deposed { .. });
                    if matches!(why, StepDown::Diverged { .. } | StepDown::Gap { .. }) {
                        self.broken = Some("an owner found that it had acknowledged what is not in the log");
                    }
                    stepped_down = true;
                }
            }
        }
        if stepped_down && let Some(owner) = self.owners[i].take() {
            self.zombie.extend(owner.queue);
        }
    }

    fn hear(&mut self, token: u64, answer: Answer<Small>) {
        let command = u8::try_from(token % 2).unwrap_or(0);
        match answer {
            Answer::Done { outcome, .. } => {
                let before = self.acknowledged.insert(command, outcome.clone());
                if before.is_some_and(|before| before != outcome) {
                    self.broken = Some("a command was answered twice, differently");
                }
            }
            Answer::NotFound if self.after_create.contains(&token) => self.broken = Some("404 after the create was acknowledged"),
            Answer::KeyReused => self.broken = Some("the same command was taken for another"),
            _ => {}
        }
    }

    /// The fold of the log below `end`, and what it makes visible.
    fn fold_to(&self, end: usize, setup: &Setup) -> (Fold<Small>, Seen) {
        let (mut fold, mut seen) = (Fold::new(), Seen::default());
        for offset in 0..end {
            let entry = self.as_read(setup, &fold, offset);
            if let Ok(effect) = fold.apply(offset as u64, Ok(entry)) {
                seen.see(effect, offset as u64);
            }
        }
        (fold, seen)
    }

    /// What must hold in every state, told by what does not.
    pub fn broken_promise(&self, setup: &Setup) -> Option<String> {
        if let Some(broken) = self.broken {
            return Some(broken.to_owned());
        }
        let (_, seen) = self.fold_to(self.log.len(), setup);
        if seen.twice {
            return Some("a command is in the log twice".to_owned());
        }
        if seen.gap {
            return Some("an aggregate's versions have a gap".to_owned());
        }
        // What the log says, whatever a mutant reads.
        let (fold, seen_so) = self.fold_to(self.log.len(), &Setup { mutant: None, ..setup.clone() });
        let drained = usize::try_from(fold.head().drained).unwrap_or(usize::MAX);
        if let Some(command) = setup.lane.iter().take(drained).find(|command| !seen_so.outcomes.contains_key(command)) {
            return Some(format!("the lane is drained up to {drained}, and command {command} of it has no outcome"));
        }
        for owner in self.owners.iter().flatten().filter(|owner| owner.writer.lane_open() == 0) {
            let passed = owner.writer.lane_next().and_then(|next| usize::try_from(next).ok()).unwrap_or(0);
            if let Some(command) = setup.lane.iter().take(passed).find(|command| !seen_so.outcomes.contains_key(command)) {
                return Some(format!("an owner has passed command {command} of the lane, and it has no outcome"));
            }
        }
        let missing = self.acknowledged.iter().find(|(command, outcome)| seen.outcomes.get(command) != Some(outcome));
        missing.map(|(command, outcome)| format!("command {command} was acknowledged with {outcome:?} and the log does not say so"))
    }
}

impl Owner {
    fn read(&self) -> usize {
        usize::try_from(self.writer.fold().next_offset()).unwrap_or(usize::MAX)
    }
}

fn recorded(setup: &Setup, command: u8, outcome: &Outcome<Small>) -> Recorded<Small> {
    Recorded { aggregate: aggregate_of(setup, command), fingerprint: command, outcome: outcome.clone() }
}

fn submission(setup: &Setup, token: u64, command: u8) -> Submission<Small, u8> {
    Submission {
        token,
        command,
        aggregate: aggregate_of(setup, command),
        fingerprint: command,
        older_fingerprints: Vec::new(),
        expected: Expected::Anything,
        payload: Ok(Arc::new(if setup.with_lane() { 1 } else { 2 * (1 - command) })),
        caller_key: true,
        fresh: false,
        new_aggregate: false,
        meta: (),
        at: 0,
        deadline_ms: u64::MAX,
        lane: None,
    }
}

fn aggregate_of(setup: &Setup, command: u8) -> u8 {
    if setup.with_lane() { 1 + command } else { 1 }
}

impl Setup {
    fn with_lane(&self) -> bool {
        !self.lane.is_empty()
    }
}

#[derive(Default)]
struct Seen {
    versions: BTreeMap<u8, u64>,
    outcomes: BTreeMap<u8, Outcome<Small>>,
    twice: bool,
    gap: bool,
}

impl Seen {
    fn see(&mut self, effect: fold::Effect<Small>, offset: u64) {
        let end = offset + 1;
        let (command, outcome) = match effect {
            fold::Effect::Commit(commit) => {
                let (command, aggregate) = (commit.events[0].origin.command, commit.events[0].origin.aggregate);
                let version = self.versions.entry(aggregate).or_default();
                for event in &commit.events {
                    self.gap |= event.version != *version + 1;
                    *version = event.version;
                }
                let version = *version;
                let events = commit.events.iter().map(|event| ((), event.version)).collect();
                (command, Outcome::Accepted { version, end, events })
            }
            fold::Effect::Outcome(outcome) => {
                let (command, version) = (outcome.origin.command, outcome.version);
                (command, Outcome::Rejected { version, end, reason: () })
            }
            _ => return,
        };
        self.twice |= self.outcomes.insert(command, outcome).is_some();
    }
}
