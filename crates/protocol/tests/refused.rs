//! What a writer does with records that the log does not take, step by step.
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use highwater_protocol::{
    domain::{Decision, Domain, Unreadable},
    entry::{Body, Entry},
    position::Position,
    vocabulary::{Refusal, Vocabulary},
    writer::{Answer, AppendReport, Busy, Effect, Expected, Input, Limits, Submission, Writer},
};

/// An event is so many bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sized;

impl Vocabulary for Sized {
    type Writer = u32;
    type Command = u64;
    type Aggregate = u64;
    type Time = u8;
    type Fingerprint = ();
    type Meta = ();
    type Event = usize;
    type Reason = ();
    type Summary = ();

    fn size_bytes(body: &Body<Self>) -> usize {
        match body {
            Body::Event(event) => event.event,
            _ => 1,
        }
    }
    fn nothing_to_do() {}
    fn refused(_: &Refusal) {}
    fn summary(_: &usize) {}
}

/// A command is the sizes of its events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Writes;

impl Domain<Sized> for Writes {
    type State = ();
    type Command = Vec<usize>;

    fn must_exist(&self, _: &Vec<usize>) -> bool {
        false
    }

    fn decide(&self, _: Option<&()>, sizes: &Vec<usize>, _: u8) -> Result<Decision<(), usize>, ()> {
        Ok(Decision::Change { events: sizes.clone(), state: () })
    }

    fn evolve(&self, _: Option<&()>, _: &usize) -> Result<(), Unreadable> {
        Ok(())
    }
}

struct Driven {
    writer: Writer<Sized, Writes>,
    out: Vec<Entry<Sized>>,
    read: u64,
    answers: Vec<(u64, Answer<Sized>)>,
    next_writer: u32,
}

impl Driven {
    fn new(limits: Limits) -> Self {
        let (writer, _) = Writer::take_over(Writes, limits, Position::start());
        Self { writer, out: Vec::new(), read: 0, answers: Vec::new(), next_writer: 1 }
    }

    fn step(&mut self, input: Input<Sized, Vec<usize>, ()>) {
        for effect in self.writer.step(input) {
            match effect {
                Effect::Append(entries) => self.out.extend(entries),
                Effect::Answer { token, answer } => self.answers.push((token, answer)),
                Effect::StepDown(why) => panic!("{why}"),
                _ => {}
            }
        }
    }

    fn caught_up(&mut self) {
        let writer = self.next_writer;
        self.next_writer += 1;
        self.step(Input::CaughtUp { writer });
    }

    /// The first that is out reaches the log and is read.
    fn land(&mut self) {
        let entry = self.out.remove(0);
        self.read += 1;
        self.step(Input::Read { offset: self.read - 1, entry: Ok(entry) });
    }

    /// The first that is out is reported so, and never in the log.
    fn report(&mut self, reported: AppendReport) {
        let entry = self.out.remove(0);
        self.step(Input::Report { writer: entry.writer, seq: entry.seq, reported });
    }

    fn submit(&mut self, command: u64, sizes: &[usize]) {
        self.step(Input::Submit(Submission {
            token: command,
            command,
            aggregate: command,
            fingerprint: (),
            older_fingerprints: Vec::new(),
            expected: Expected::Anything,
            payload: Ok(Arc::new(sizes.to_vec())),
            caller_key: true,
            fresh: true,
            new_aggregate: true,
            meta: (),
            at: 0,
            deadline_ms: u64::MAX,
            queued: None,
        }));
    }

    fn serving(limits: Limits) -> Self {
        let mut driven = Self::new(limits);
        driven.caught_up();
        driven.land();
        driven
    }

    fn out(&self) -> Vec<usize> {
        self.out.iter().map(|entry| Sized::size_bytes(&entry.body)).collect()
    }
}

#[test]
fn fences_that_were_not_sent_leave_nothing_behind() {
    let mut driven = Driven::new(Limits::default());
    let before = driven.writer.clone();
    for _ in 0..1_000 {
        driven.caught_up();
        driven.report(AppendReport::Unsent);
    }
    assert!(driven.writer == before, "a thousand attempts are kept");
    // One whose outcome is unknown may still be valid.
    driven.caught_up();
    let late = driven.out[0].clone();
    driven.report(AppendReport::Failed);
    driven.step(Input::Read { offset: 0, entry: Ok(late) });
    assert!(driven.writer.serving().is_some());
}

#[test]
fn what_the_log_refuses_is_answered_after_the_fence_and_not_sent_again_for_a_while() {
    let mut driven = Driven::serving(Limits { refused_ms: 1_000, ..Limits::default() });
    driven.submit(1, &[10]);
    driven.submit(2, &[5, 500, 5]);
    driven.submit(3, &[20]);
    driven.land();
    driven.land();
    driven.report(AppendReport::Refused);
    assert!(
        driven.answers.iter().all(|(token, _)| *token == 1),
        "it may lie in the log all the same: {:?}",
        driven.answers
    );
    // What is out behind it is void.
    driven.out.clear();
    driven.caught_up();
    driven.land();
    assert_eq!(driven.answers.last(), Some(&(2, Answer::Busy(Busy::Refused))));
    assert_eq!(driven.out(), [20], "the third is decided again");
    driven.land();

    driven.answers.clear();
    driven.submit(2, &[5, 500, 5]);
    driven.submit(4, &[499]);
    driven.submit(5, &[501]);
    assert_eq!(
        driven.answers,
        [2, 5].map(|token| (token, Answer::Busy(Busy::Refused))),
        "without an append, larger ones too"
    );
    assert_eq!(driven.out(), [499]);
    driven.land();
    driven.step(Input::Tick { now_ms: 1_000 });
    driven.submit(2, &[5, 500, 5]);
    assert_eq!(driven.out(), [5, 500, 5], "it is tried again");
}

#[test]
fn of_a_batch_that_is_refused_as_a_whole_the_largest_is_the_reason() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(1, &[5]);
    driven.submit(2, &[500]);
    driven.report(AppendReport::Refused);
    driven.report(AppendReport::Refused);
    driven.caught_up();
    driven.land();
    assert_eq!(
        driven.answers,
        [(1, Answer::Busy(Busy::Refused)), (2, Answer::Busy(Busy::Refused))]
    );
    driven.submit(1, &[5]);
    assert_eq!(driven.out(), [5], "the small one goes on");
}

#[test]
fn what_was_refused_and_lies_in_the_log_is_done() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(1, &[500]);
    // It was sent twice: the answer to the first was lost, the second was refused.
    let landed = driven.out[0].clone();
    driven.report(AppendReport::Refused);
    driven.read += 1;
    driven.step(Input::Read { offset: driven.read - 1, entry: Ok(landed) });
    driven.caught_up();
    driven.land();
    assert!(
        matches!(driven.answers[..], [(1, Answer::Done { replayed: false, .. })]),
        "{:?}",
        driven.answers
    );
}

#[test]
fn a_refusal_that_comes_after_its_record_was_read_is_not_put_down_to_the_next() {
    let mut driven = Driven::serving(Limits::default());
    driven.submit(1, &[500]);
    driven.submit(2, &[5]);
    let (writer, seq) = (driven.out[0].writer, driven.out[0].seq);
    driven.land();
    driven.step(Input::Report { writer, seq, reported: AppendReport::Refused });
    driven.land();
    assert_eq!(driven.answers.len(), 2);
    assert!(
        driven.answers.iter().all(|(_, answer)| matches!(answer, Answer::Done { .. })),
        "{:?}",
        driven.answers
    );
    driven.submit(3, &[5]);
    assert_eq!(driven.out(), [5], "nothing was refused");
}
