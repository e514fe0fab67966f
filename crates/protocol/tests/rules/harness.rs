//! A writer, driven step by step, and a log that takes, reports and shows what a test says.

use highwater_protocol::{
    entry::{Body, Entry},
    position::Position,
    wire::Defect,
    writer::{
        Answer, AppendReport, Effect, Input, Limits, RecordedOutcome, Snapshot, StepDown,
        Submission, Writer,
        rules::{AllRules, Rules},
    },
};

use crate::small::{Do, Small, Sums};

pub struct Driven<R: Rules = AllRules> {
    pub writer: Writer<Small, Sums, R>,
    /// Appended, and neither read nor reported yet.
    pub out: Vec<Entry<Small>>,
    /// How it ended.
    pub ended: Option<StepDown>,
    /// How often the end of the log was asked for.
    pub reads_to_end: usize,
    /// The own fences that were found valid: epoch, writer, offset.
    pub fences: Vec<(u64, u32, u64)>,
    /// How many records were out each time that an outcome became unknown.
    pub unknown: Vec<usize>,
    heard: Vec<(u64, Answer<Small>)>,
    asked: Vec<(Vec<u64>, Vec<u64>)>,
    next_writer: u32,
}

impl Driven {
    pub fn new(limits: Limits) -> Self {
        Self::from(limits, Position::start())
    }

    pub fn from(limits: Limits, position: Position<Small>) -> Self {
        Self::by(limits, position)
    }

    /// Its fence lies at offset 0.
    pub fn serving(limits: Limits) -> Self {
        Self::serving_by(limits)
    }
}

/// By whatever rules; what is above is by all of them.
impl<R: Rules> Driven<R> {
    pub fn by(limits: Limits, position: Position<Small>) -> Self {
        let (writer, effects) = Writer::take_over(Sums, limits, position);
        assert_eq!(effects, [Effect::ReadToEnd]);
        Self {
            writer,
            out: Vec::new(),
            ended: None,
            reads_to_end: 1,
            fences: Vec::new(),
            unknown: Vec::new(),
            heard: Vec::new(),
            asked: Vec::new(),
            next_writer: 1,
        }
    }

    pub fn serving_by(limits: Limits) -> Self {
        let mut driven = Self::by(limits, Position::start());
        driven.fence();
        driven
    }

    pub fn step(&mut self, input: Input<Small, Do, usize>) {
        for effect in self.writer.step(input) {
            match effect {
                Effect::Append(entries) => self.out.extend(entries),
                Effect::ReadToEnd => self.reads_to_end += 1,
                Effect::Load { aggregates, commands } => self.asked.push((aggregates, commands)),
                Effect::Answer { token, answer } => self.heard.push((token, answer)),
                Effect::Serving { epoch, writer, offset } => {
                    self.fences.push((epoch, writer, offset))
                }
                Effect::OutcomeUnknown { records } => self.unknown.push(records),
                Effect::StepDown(why) => assert_eq!(self.ended.replace(why), None, "it ends once"),
            }
        }
    }

    /// The reading is at the end; what was out before is lost, unless it was read. The fence is
    /// out.
    pub fn caught_up(&mut self) -> u32 {
        let writer = self.next_writer;
        self.next_writer += 1;
        self.out.clear();
        self.step(Input::CaughtUp { writer });
        writer
    }

    /// A fence, up to where it is read.
    pub fn fence(&mut self) {
        self.caught_up();
        self.land();
        assert!(self.writer.serving().is_some(), "{:?}", self.ended);
    }

    /// The offset of the record that is read next.
    pub fn next_offset(&self) -> u64 {
        self.writer.fold().next_offset()
    }

    /// The next record of the log is read.
    pub fn read(&mut self, entry: Entry<Small>) {
        let offset = self.next_offset();
        self.step(Input::Read { offset, entry: Ok(entry) });
    }

    /// The next record of the log is one that cannot be decoded.
    pub fn read_damaged(&mut self) {
        let offset = self.next_offset();
        self.step(Input::Read { offset, entry: Err(Defect::Value) });
    }

    /// The next record of the log is of a writer that fenced before.
    pub fn read_stale(&mut self) {
        self.read(record(0, 99, 40, Body::Barrier));
    }

    /// The first that is out lies in the log, and is read.
    pub fn land(&mut self) {
        let entry = self.out.remove(0);
        self.read(entry);
    }

    pub fn land_all(&mut self) {
        let end = self.next_offset() + 100;
        while !self.out.is_empty() {
            assert!(self.next_offset() < end, "it appends for ever");
            self.land();
        }
    }

    /// What the log says of the own record `seq`; whatever is out stays so.
    pub fn report(&mut self, seq: u64, reported: AppendReport) {
        let writer = self.next_writer - 1;
        self.step(Input::Report { writer, seq: Some(seq), reported });
    }

    pub fn report_fence(&mut self, writer: u32, reported: AppendReport) {
        self.step(Input::Report { writer, seq: None, reported });
    }

    pub fn submit(&mut self, submission: Submission<Small, Do>) {
        self.step(Input::Submit(submission));
    }

    /// The next record of the command queue; `source` must fit.
    pub fn queued(&mut self, submission: Submission<Small, Do>) {
        let offset = self.writer.command_queue_next().unwrap_or_default();
        assert_eq!(submission.queued.as_ref().map(|queued| queued.source), Some(offset));
        self.step(Input::Queued { offset, submission: Some(submission) });
    }

    pub fn tick(&mut self, now_ms: u64) {
        self.step(Input::Tick { now_ms });
    }

    pub fn checkpoint(&mut self, offset: u64) {
        self.step(Input::Checkpoint { offset });
    }

    /// Snapshots answer that there is nothing.
    pub fn loaded_nothing(&mut self, checkpoint: u64) {
        self.loaded(checkpoint, Vec::new(), Vec::new());
    }

    pub fn loaded(
        &mut self,
        checkpoint: u64,
        aggregates: Vec<(u64, Snapshot<usize>)>,
        outcomes: Vec<(u64, RecordedOutcome<Small>)>,
    ) {
        self.step(Input::Loaded { checkpoint, aggregates, outcomes });
    }

    /// What was answered since this was asked last.
    pub fn heard(&mut self) -> Vec<(u64, Answer<Small>)> {
        std::mem::take(&mut self.heard)
    }

    /// What was asked of snapshots since this was asked last: aggregates and commands of each load.
    pub fn asked(&mut self) -> Vec<(Vec<u64>, Vec<u64>)> {
        std::mem::take(&mut self.asked)
    }

    /// The commands of the records that are out; 0 for a barrier or a fence.
    pub fn commands_out(&self) -> Vec<u64> {
        self.out
            .iter()
            .map(|entry| entry.body.metadata().map_or(0, |metadata| metadata.command))
            .collect()
    }

    /// The versions that the events that are out make.
    pub fn versions_out(&self) -> Vec<u64> {
        self.out
            .iter()
            .filter_map(|entry| {
                if let Body::Event(event) = &entry.body { Some(event.version) } else { None }
            })
            .collect()
    }

    /// What the records that are out say of the command queue.
    pub fn drained_out(&self) -> Vec<Option<u64>> {
        self.out.iter().map(|entry| entry.drained).collect()
    }
}

pub fn fence(epoch: u64, writer: u32) -> Entry<Small> {
    Entry { epoch, writer, seq: None, drained: None, body: Body::Fence }
}

pub fn record(epoch: u64, writer: u32, seq: u64, body: Body<Small>) -> Entry<Small> {
    Entry { epoch, writer, seq: Some(seq), drained: None, body }
}
