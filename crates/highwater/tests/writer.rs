//! The protocol's writer with rules of the facade.
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

#[path = "support/voucher.rs"]
mod voucher;

use std::sync::Arc;

use highwater::{
    Event as _, Id, Money, Rules,
    protocol::{
        entry::{Body, Entry},
        position::Position,
        time::Micros,
        wire::{Fingerprint, Meta, Wire},
        writer::{Answer, Effect, Expected, Input, Limits, Submission, Writer},
    },
};
use uuid::Uuid;
use voucher::{GiveAway, GivenAway, IssuedV1, IssuedV2, Voucher, VoucherCommand, VoucherEvent};

/// A writer whose log takes everything.
struct Driven {
    writer: Writer<Wire, Rules<Voucher>>,
    log: Vec<Entry<Wire>>,
    answers: Vec<Answer<Wire>>,
}

impl Driven {
    fn serving() -> Self {
        let (writer, _) = Writer::take_over(Rules::new(), Limits::default(), Position::start());
        let mut driven = Self { writer, log: Vec::new(), answers: Vec::new() };
        driven.step(Input::CaughtUp { writer: Uuid::from_u128(1) });
        driven
    }

    fn step(&mut self, input: Input<Wire, VoucherCommand, Voucher>) {
        for effect in self.writer.step(input) {
            match effect {
                Effect::Append(entries) => {
                    for entry in entries {
                        let offset = self.log.len() as u64;
                        self.log.push(entry.clone());
                        self.step(Input::Read { offset, entry: Ok(entry) });
                    }
                }
                Effect::Answer { answer, .. } => self.answers.push(answer),
                Effect::StepDown(why) => panic!("{why}"),
                _ => {}
            }
        }
    }

    fn submit(&mut self, id: u128, actor: u128, command: VoucherCommand) {
        self.step(Input::Submit(Submission {
            token: 0,
            command: Uuid::from_u128(id),
            aggregate: Uuid::from_u128(9),
            fingerprint: Fingerprint { key_number: 1, hmac: [0; 32] },
            older_fingerprints: Vec::new(),
            expected: Expected::Anything,
            payload: Ok(Arc::new(command)),
            caller_key: true,
            fresh: true,
            new_aggregate: self.log.len() == 1,
            meta: Meta { actor: Uuid::from_u128(actor), ..Meta::default() },
            at: Micros(0),
            deadline_ms: u64::MAX,
            queued: None,
        }));
    }

    fn events(&self) -> Vec<VoucherEvent> {
        let events = self.log.iter().filter_map(|entry| match &entry.body {
            Body::Event(event) => VoucherEvent::decode(&event.event).ok(),
            _ => None,
        });
        events.collect()
    }
}

#[test]
fn a_rule_hears_of_the_command_what_its_records_say() {
    let mut driven = Driven::serving();
    let issue = IssuedV2::from(IssuedV1 { amount_minor: Money::ZERO });
    driven.submit(2, 3, VoucherCommand::Issue(issue.clone().into()));
    let to = Uuid::from_u128(4).into();
    driven.submit(5, 6, VoucherCommand::GiveAway(GiveAway { to }));
    let id = |id| Id::new(Uuid::from_u128(id));
    let given = GivenAway { to, by: Uuid::from_u128(6).into(), command: id(5) };
    assert_eq!(driven.events(), [VoucherEvent::Issued(issue.into()), given.into()]);
    let done = |answer: &Answer<Wire>| matches!(answer, Answer::Done { replayed: false, .. });
    assert!(driven.answers.len() == 2 && driven.answers.iter().all(done), "{:?}", driven.answers);
}

#[test]
fn a_command_that_needs_its_aggregate_does_not_find_it() {
    let mut driven = Driven::serving();
    driven.submit(2, 3, VoucherCommand::Redeem);
    assert!(matches!(driven.answers[..], [Answer::NotFound]), "{:?}", driven.answers);
}
