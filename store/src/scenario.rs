//! Given these events, when this command comes, then that happens.

use std::fmt::Debug;

use events::{order::OrderEvent, product::ProductEvent, schemas, stock::StockEvent};
use highwater_protocol::{
    domain::{Decision, Domain},
    time::Micros,
    wire::{Fact, Reason, Wire},
};
use serde_json::Value;

/// When commands are decided, unless a test says otherwise: 2026-11-22T21:34:24Z.
pub const NOW: Micros = Micros(1_795_383_264_000_000);
pub const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

pub struct Given<D: Domain<Wire>> {
    domain: D,
    state: Option<D::State>,
}

pub struct When<D: Domain<Wire>> {
    domain: D,
    before: Option<D::State>,
    decided: Result<Decision<D::State, Fact>, Reason>,
}

/// An event that can be stored.
pub trait Event: Debug {
    fn stored(&self) -> Fact;
}

impl Event for OrderEvent {
    fn stored(&self) -> Fact {
        self.encode()
    }
}

impl Event for ProductEvent {
    fn stored(&self) -> Fact {
        self.encode()
    }
}

impl Event for StockEvent {
    fn stored(&self) -> Fact {
        self.encode()
    }
}

impl<D: Domain<Wire>> Given<D> {
    #[track_caller]
    pub fn new(domain: D, events: &[impl Event]) -> Self {
        let state = evolved(&domain, None, events.iter().map(Event::stored));
        Self { domain, state }
    }

    pub fn when(self, command: D::Command) -> When<D> {
        self.when_at(NOW, command)
    }

    pub fn when_at(self, at: Micros, command: D::Command) -> When<D> {
        let decided = self.domain.decide(self.state.as_ref(), &command, at);
        When { domain: self.domain, before: self.state, decided }
    }
}

impl<D: Domain<Wire>> When<D> {
    /// These events, as their schemas promise them, and the state that readers of the log come to
    /// as well.
    #[track_caller]
    pub fn then<const N: usize>(self, expected: [impl Event; N]) {
        let expected = expected.map(|event| event.stored());
        let Ok(Decision::Change { events, state }) = self.decided else {
            panic!("expected {expected:?}, but it decided {:?}", self.decided);
        };
        assert_eq!(
            events.iter().map(readable).collect::<Vec<_>>(),
            expected.iter().map(readable).collect::<Vec<_>>()
        );
        events.iter().for_each(assert_keeps_its_schema);
        assert_eq!(evolved(&self.domain, self.before, events), Some(state));
    }

    #[track_caller]
    pub fn then_nothing(self) {
        assert_eq!(self.decided, Ok(Decision::Nothing));
    }

    /// The test over the codes in `schemas/` looks for these calls.
    #[track_caller]
    pub fn then_rejected(self, code: &str) {
        self.rejected(code);
    }

    /// A rejection that says more than its code.
    #[track_caller]
    pub fn then_rejected_with(self, code: &str, member: &str, value: impl Into<Value>) {
        assert_eq!(self.rejected(code)[member], value.into());
    }

    #[track_caller]
    fn rejected(self, code: &str) -> Value {
        let Err(Reason(reason)) = self.decided else {
            panic!("expected {code}, but it decided {:?}", self.decided);
        };
        let reason: Value = serde_json::from_slice(&reason).expect("a reason is JSON");
        assert_eq!(reason["code"], code);
        assert!(reason["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        reason
    }
}

#[track_caller]
fn evolved<D: Domain<Wire>>(
    domain: &D,
    state: Option<D::State>,
    events: impl IntoIterator<Item = Fact>,
) -> Option<D::State> {
    let evolve = |state: Option<D::State>, event| {
        Some(domain.evolve(state.as_ref(), &event).expect("the events apply"))
    };
    events.into_iter().fold(state, evolve)
}

fn readable(fact: &Fact) -> (&str, &str) {
    (&fact.schema, std::str::from_utf8(&fact.data).expect("JSON is UTF-8"))
}

#[track_caller]
fn assert_keeps_its_schema(fact: &Fact) {
    let schema = schemas::find(&fact.schema).expect("every event has a schema");
    let schema: Value = serde_json::from_str(schema.text).expect("a schema is JSON");
    let data: Value = serde_json::from_slice(&fact.data).expect("data is JSON");
    jsonschema::validate(&schema, &data).unwrap_or_else(|error| panic!("{}: {error}", fact.schema));
}
