//! What a writer does with the queued commands, step by step.
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use highwater_protocol::{
    domain::{Decision, Domain, Unreadable},
    entry::{Body, Entry},
    position::Position,
    vocabulary::{Refusal, Vocabulary},
    writer::{
        Answer, AppendReport, Busy, Effect, Expected, Input, Limits, QueuedCommand,
        RecordedOutcome, Submission, Writer,
    },
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Small;

impl Vocabulary for Small {
    type Writer = u8;
    type Command = u64;
    type Aggregate = u64;
    type Time = u8;
    type Fingerprint = ();
    type Meta = ();
    type Event = ();
    type Reason = &'static str;
    type Summary = ();

    fn size_bytes(_: &Body<Self>) -> usize {
        1
    }
    fn nothing_to_do() -> &'static str {
        "nothing"
    }
    fn refused(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Expired => "expired",
            Refusal::VersionMismatch { .. } => "version",
            Refusal::TooLarge { .. } => "size",
        }
    }
    fn summary((): &()) {}
}

/// Adds so many events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Counter;

impl Domain<Small> for Counter {
    type State = u64;
    type Command = usize;

    fn must_exist(&self, _: &usize) -> bool {
        false
    }

    fn decide(
        &self,
        state: Option<&u64>,
        events: &usize,
        _: u8,
    ) -> Result<Decision<u64, ()>, &'static str> {
        Ok(Decision::Change {
            events: vec![(); *events],
            state: state.copied().unwrap_or(0) + *events as u64,
        })
    }

    fn evolve(&self, state: Option<&u64>, (): &()) -> Result<u64, Unreadable> {
        Ok(state.copied().unwrap_or(0) + 1)
    }
}

/// A writer, and a log that takes its records when a test says so.
struct Driven {
    writer: Writer<Small, Counter>,
    /// Appended and not yet in the log.
    out: Vec<Entry<Small>>,
    log: Vec<Entry<Small>>,
    answers: Vec<(u64, Answer<Small>)>,
    next_writer: u8,
}

impl Driven {
    fn serving(limits: Limits) -> Self {
        let (writer, _) = Writer::take_over(Counter, limits, Position::start());
        let mut driven =
            Self { writer, out: Vec::new(), log: Vec::new(), answers: Vec::new(), next_writer: 1 };
        driven.fence();
        driven
    }

    fn fence(&mut self) {
        let writer = self.next_writer;
        self.next_writer += 1;
        self.step(Input::CaughtUp { writer });
        self.land();
        assert!(self.writer.serving().is_some());
    }

    fn step(&mut self, input: Input<Small, usize, u64>) {
        for effect in self.writer.step(input) {
            match effect {
                Effect::Append(entries) => self.out.extend(entries),
                Effect::Answer { token, answer } => self.answers.push((token, answer)),
                Effect::StepDown(why) => panic!("{why}"),
                Effect::ReadToEnd
                | Effect::Load { .. }
                | Effect::Serving { .. }
                | Effect::OutcomeUnknown { .. } => {}
            }
        }
    }

    /// Everything that is out reaches the log and is read.
    fn land(&mut self) {
        while !self.out.is_empty() {
            assert!(self.log.len() < 100, "it appends for ever");
            let entry = self.out.remove(0);
            let offset = self.log.len() as u64;
            self.log.push(entry.clone());
            self.step(Input::Read { offset, entry: Ok(entry) });
        }
    }

    /// The next record of the command queue, if there is room: `command` on an aggregate of the
    /// same number, known to be new.
    fn take(&mut self, submission: Submission<Small, usize>) -> bool {
        let Some(offset) =
            self.writer.command_queue_next().filter(|_| self.writer.command_queue_has_room())
        else {
            return false;
        };
        let queued = Some(QueuedCommand { source: offset, missing: "missing" });
        self.step(Input::Queued {
            offset,
            submission: Some(Submission { queued, token: 1_000 + offset, ..submission }),
        });
        true
    }

    /// What the records that are out say of the command queue.
    fn said(&self) -> Vec<Option<u64>> {
        self.out.iter().map(|entry| entry.drained).collect()
    }
}

fn new(command: u64, aggregate: u64) -> Submission<Small, usize> {
    Submission {
        token: command,
        command,
        aggregate,
        fingerprint: (),
        older_fingerprints: Vec::new(),
        expected: Expected::Anything,
        payload: Ok(Arc::new(1)),
        caller_key: true,
        fresh: true,
        new_aggregate: true,
        meta: (),
        at: 0,
        deadline_ms: u64::MAX,
        queued: None,
    }
}

/// Its look-up gets no answer.
fn slow(command: u64, aggregate: u64) -> Submission<Small, usize> {
    Submission { fresh: false, new_aggregate: false, ..new(command, aggregate) }
}

#[test]
fn a_slow_command_is_overtaken_as_far_as_the_window_and_nothing_says_that_it_is_drained() {
    let mut driven = Driven::serving(Limits { command_queue_window: 4, ..Limits::default() });
    assert!(driven.take(new(1, 1)));
    assert_eq!(driven.said(), [Some(1)]);
    driven.land();
    assert!(driven.take(slow(2, 2)));
    let overtaking = (3..20).take_while(|n| driven.take(new(*n, *n))).count();
    assert_eq!(overtaking, 3, "four above the first that is drained");
    assert_eq!(driven.said(), [None, None, None]);
    driven.land();
    assert_eq!(
        (driven.writer.command_queue_open(), driven.writer.command_queue_has_room()),
        (1, false)
    );
    driven.step(Input::Loaded { checkpoint: 0, aggregates: Vec::new(), outcomes: Vec::new() });
    assert_eq!(driven.said(), [Some(5)]);
    assert!(driven.writer.command_queue_has_room());
}

#[test]
fn of_a_commit_only_the_last_record_says_that_its_command_is_drained() {
    let mut driven = Driven::serving(Limits::default());
    driven.take(Submission { payload: Ok(Arc::new(3)), ..new(1, 1) });
    assert_eq!(driven.said(), [None, None, Some(1)]);
}

#[test]
fn after_an_unknown_outcome_what_was_said_counts_no_more() {
    let mut driven = Driven::serving(Limits::default());
    driven.take(new(1, 1));
    driven.take(new(2, 2));
    assert_eq!(driven.said(), [Some(1), Some(2)]);
    let (_, writer) = driven.writer.serving().unwrap_or_default();
    // The first reaches the log, the second never does.
    driven.out.truncate(1);
    driven.land();
    driven.step(Input::Report { writer, seq: Some(1), reported: AppendReport::Failed });
    driven.fence();
    assert_eq!(driven.log.iter().filter_map(|entry| entry.drained).collect::<Vec<_>>(), [1, 2]);
    let commands: Vec<_> = driven
        .log
        .iter()
        .filter_map(|entry| entry.body.metadata())
        .map(|metadata| metadata.command)
        .collect();
    assert_eq!(commands, [1, 2], "each once");
}

#[test]
fn a_hot_aggregate_of_the_command_queue_leaves_half_of_its_queue_to_callers() {
    let mut driven = Driven::serving(Limits { aggregate_queue: 4, ..Limits::default() });
    for command in 1..10 {
        assert!(driven.take(new(command, 7)), "the command queue waits, it is not refused");
    }
    assert_eq!(driven.out.len(), 2);
    for command in 100..103 {
        driven.step(Input::Submit(Submission { new_aggregate: false, ..new(command, 7) }));
    }
    assert_eq!(driven.answers, [(102, Answer::Busy(Busy::Aggregate))]);
    for _ in 0..10 {
        driven.land();
    }
    let by_queue = |entry: &&Entry<Small>| {
        entry.body.metadata().is_some_and(|metadata| metadata.source.is_some())
    };
    assert_eq!(driven.log.iter().filter(by_queue).count(), 9);
}

#[test]
fn a_command_that_was_new_when_it_came_is_looked_up_if_somebody_sent_it_since() {
    let mut driven =
        Driven::serving(Limits { cached_aggregates: 0, cached_outcomes: 0, ..Limits::default() });
    driven.step(Input::Submit(new(1, 7)));
    driven.land();
    // The second of the aggregate waits for the first, which waits to be looked up.
    driven.take(slow(2, 7));
    driven.take(Submission { new_aggregate: false, ..new(3, 7) });
    driven.step(Input::Submit(Submission { new_aggregate: false, ..new(3, 7) }));
    driven.land();
    let (_, Answer::Done { outcome, .. }) = driven.answers[1].clone() else {
        panic!("{:?}", driven.answers)
    };
    // Snapshots have it, and the owner forgets it.
    let checkpoint = driven.log.len() as u64;
    driven.step(Input::Checkpoint { offset: checkpoint });
    driven.step(Input::Loaded { checkpoint, aggregates: Vec::new(), outcomes: Vec::new() });
    driven.land();
    driven.step(Input::Loaded {
        checkpoint,
        aggregates: Vec::new(),
        outcomes: vec![(3, RecordedOutcome { aggregate: 7, fingerprint: (), outcome })],
    });
    driven.land();
    let commands: Vec<_> = driven
        .log
        .iter()
        .filter_map(|entry| entry.body.metadata())
        .map(|metadata| metadata.command)
        .collect();
    assert_eq!((commands, driven.writer.command_queue_open()), (vec![1, 3, 2], 0));
}

#[test]
fn what_is_drained_without_a_record_is_said_by_a_barrier_in_time() {
    let mut driven =
        Driven::serving(Limits { command_queue_silence_ms: 60_000, ..Limits::default() });
    driven.step(Input::Tick { now_ms: 1 });
    let offset = driven.writer.command_queue_next().unwrap_or_default();
    driven.step(Input::Queued { offset, submission: None });
    driven.step(Input::Tick { now_ms: 60_000 });
    assert_eq!(driven.out.len(), 0);
    driven.step(Input::Tick { now_ms: 60_001 });
    assert_eq!(driven.said(), [Some(1)]);
    assert!(matches!(driven.out[0].body, Body::Barrier));
}

#[test]
fn a_command_past_its_deadline_is_rejected_and_one_that_was_decided_before_is_not() {
    let mut driven = Driven::serving(Limits::default());
    driven.step(Input::Submit(new(1, 1)));
    driven.land();
    driven.step(Input::Tick { now_ms: 10 });
    driven.take(Submission { deadline_ms: 5, fresh: false, ..new(1, 1) });
    driven.take(Submission { deadline_ms: 5, ..new(2, 2) });
    let reasons: Vec<_> = driven
        .out
        .iter()
        .map(|entry| if let Body::Outcome(outcome) = &entry.body { outcome.reason } else { "" })
        .collect();
    assert_eq!((reasons, driven.said()), (vec!["expired"], vec![Some(2)]));
}
