//! Given these events, when this command comes, then that happens. For tests of rules and rows;
//! every expectation panics where the test stands.

#[cfg(feature = "services")]
mod running;
#[cfg(feature = "services")]
mod tables;

#[cfg(feature = "services")]
pub use running::{Error, Response, Running};

use highwater_protocol::{
    domain::{self, Decision, Domain},
    time::Micros,
    wire::{Meta, Reason, RecordedEvent},
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    aggregate::Aggregate,
    command::Command,
    event::{Event, Recorded},
    row::Fold,
    rules::Rules,
    value::Timestamp,
};

/// When commands are decided, unless a test says otherwise: 2026-11-22T21:34:24Z.
pub const NOW: Timestamp = Timestamp::from_micros(1_795_383_264_000_000);

/// An aggregate, as its events left it.
#[derive(Clone, Debug)]
pub struct Given<A: Aggregate> {
    state: Option<A>,
}

/// What became of a command.
#[derive(Clone, Debug)]
#[must_use = "nothing is expected of it yet"]
pub struct When<A: Aggregate> {
    before: Option<A>,
    command: A::Command,
    decided: Result<Decision<A, RecordedEvent>, Reason>,
}

/// An aggregate that these events happened to: `given::<Voucher>([issued()])`.
#[track_caller]
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    Given { state: evolved(None, events.into_iter().map(|event| event.encode())) }
}

/// Makes the application's tables in a temporary database, and compares them with its rows.
#[cfg(feature = "services")]
#[track_caller]
pub fn tables_fit(app: crate::App) {
    if let Err(error) = tables::fit(&app.tables()) {
        panic!("{error}");
    }
}

/// The row that these events leave behind: `rows_after::<VoucherRow>([issued()])`.
#[track_caller]
pub fn rows_after<R: Fold>(events: impl IntoIterator<Item = <R::Of as Aggregate>::Event>) -> R {
    let recorded = (1..).zip(events).map(|(version, event)| Recorded {
        event,
        id: Uuid::nil(),
        version,
        time: Some(NOW),
        partition: Some(0),
        position: Some(version - 1),
    });
    let mut row = None;
    for event in recorded {
        match R::fold(row, &event) {
            Ok(next) => row = Some(next),
            Err(error) => panic!("event {} cannot be applied: {error}", event.version),
        }
    }
    let Some(row) = row else { panic!("there is no row without an event") };
    row
}

impl<A: Aggregate> Given<A> {
    /// At [`NOW`].
    pub fn when(self, command: A::Command) -> When<A> {
        self.when_at(NOW, command)
    }

    /// At another time.
    pub fn when_at(self, at: Timestamp, command: A::Command) -> When<A> {
        self.when_by(Uuid::nil(), at, command)
    }

    /// By this principal.
    pub fn when_by(self, principal: Uuid, at: Timestamp, command: A::Command) -> When<A> {
        let meta = Meta { actor: principal, ..Meta::default() };
        let context =
            domain::Context { at: Micros(at.micros()), command: Uuid::nil(), meta: &meta };
        let decided = Rules::<A>::new().decide_in(self.state.as_ref(), &command, context);
        When { before: self.state, command, decided }
    }

    /// As decisions see it.
    pub fn state(&self) -> Option<&A> {
        self.state.as_ref()
    }
}

impl<A: Aggregate> When<A> {
    /// These events. They are also read back from the log, and lead to the state that was decided.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = A::Event>) {
        let expected: Vec<A::Event> = expected.into_iter().collect();
        let Ok(Decision::Change { events, state }) = self.decided else {
            panic!("expected {expected:?}, but it decided {:?}", said(&self.decided));
        };
        let read: Vec<A::Event> = events
            .iter()
            .map(|stored| match A::Event::decode(stored) {
                Ok(event) => event,
                Err(error) => panic!("what was decided cannot be read back: {error}"),
            })
            .collect();
        assert_eq!(read, expected);
        assert_eq!(evolved::<A>(self.before, events), Some(state), "the log says what was decided");
    }

    /// Nothing to do.
    #[track_caller]
    pub fn then_nothing(self) {
        let found = said(&self.decided);
        assert!(matches!(self.decided, Ok(Decision::Nothing)), "expected nothing: {found}");
    }

    /// This code, as callers see it: `voucher.already-redeemed`. The command must list it.
    #[track_caller]
    pub fn then_rejected(self, code: &str) {
        self.rejected(code);
    }

    /// A rejection that says more than its code.
    #[track_caller]
    pub fn then_rejected_with(self, code: &str, member: &str, value: impl Into<Value>) {
        assert_eq!(self.rejected(code)[member], value.into(), "member {member} of {code}");
    }

    #[track_caller]
    fn rejected(self, code: &str) -> Value {
        let Err(Reason(reason)) = &self.decided else {
            panic!("expected {code}, but it decided {}", said(&self.decided));
        };
        let reason: Value = serde_json::from_slice(reason).unwrap_or_default();
        assert_eq!(reason["code"], code, "{reason}");
        assert!(reason["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{reason}");
        let kind = self.command.kind();
        let listed = kind.codes_of(A::Event::CATEGORY);
        assert!(
            listed.iter().any(|other| other == code),
            "command {} does not list {code}, but {listed:?}",
            kind.name
        );
        reason
    }
}

fn said<A: std::fmt::Debug>(decided: &Result<Decision<A, RecordedEvent>, Reason>) -> String {
    match decided {
        Ok(Decision::Change { events, .. }) => {
            let said = events.iter().map(|stored| {
                format!("{} {}", stored.schema, String::from_utf8_lossy(&stored.data))
            });
            said.collect::<Vec<_>>().join(", ")
        }
        Ok(Decision::Nothing) => "nothing".to_owned(),
        Err(Reason(reason)) => String::from_utf8_lossy(reason).into_owned(),
    }
}

#[track_caller]
fn evolved<A: Aggregate>(
    state: Option<A>,
    events: impl IntoIterator<Item = RecordedEvent>,
) -> Option<A> {
    let rules = Rules::<A>::new();
    let mut state = state;
    for stored in events {
        match rules.evolve(state.as_ref(), &stored) {
            Ok(next) => state = Some(next),
            Err(error) => panic!("the events cannot be applied: {error}"),
        }
    }
    state
}
