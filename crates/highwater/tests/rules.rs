//! Rules as the protocol asks them, and the module that tests of rules use.

#[path = "support/voucher.rs"]
mod voucher;

use highwater::{
    Rules, Timestamp,
    prelude::*,
    protocol::{
        domain::{self, Decision as Decided, Domain, Durable},
        time::Micros,
        wire::{Meta, Reason},
    },
    testing::{NOW, given, rows_after},
};
use serde_json::{Value, json};
use uuid::Uuid;
use voucher::{
    GiveAway, GivenAway, Holder, Issued, IssuedV1, IssuedV2, Voucher, VoucherCommand, VoucherEvent,
};

#[derive(Row)]
#[row(table = "vouchers")]
pub struct VoucherRow {
    #[filter]
    pub redeemed: bool,
    #[sort]
    pub amount_minor: Money,
    pub holder: Option<Id<Holder>>,
}

impl Fold for VoucherRow {
    type Of = Voucher;

    fn fold(row: Option<Self>, event: &Recorded<VoucherEvent>) -> Result<Self, Unreadable> {
        match (row, &event.event) {
            (None, VoucherEvent::Issued(Issued { worth, .. })) => {
                Ok(Self { redeemed: false, amount_minor: worth.amount_minor, holder: None })
            }
            (Some(row), VoucherEvent::GivenAway(given)) => {
                Ok(Self { holder: Some(given.to), ..row })
            }
            (Some(row), VoucherEvent::Redeemed) => Ok(Self { redeemed: true, ..row }),
            _ => Err(event.unexpected()),
        }
    }
}

const RULES: Rules<Voucher> = Rules::new();

fn issue() -> Issued {
    IssuedV2::from(IssuedV1 { amount_minor: Money::ZERO }).into()
}

fn issued() -> VoucherEvent {
    issue().into()
}

fn give() -> VoucherCommand {
    VoucherCommand::GiveAway(GiveAway { to: Uuid::from_u128(1).into() })
}

#[test]
fn a_life_reads_as_behaviour() {
    given::<Voucher>([]).when(VoucherCommand::Issue(issue())).then([issued()]);
    given::<Voucher>([issued()]).when(VoucherCommand::Redeem).then([VoucherEvent::Redeemed]);
    given::<Voucher>([]).when(VoucherCommand::Look).then_nothing();
    given::<Voucher>([issued(), VoucherEvent::Redeemed])
        .when(VoucherCommand::Redeem)
        .then_rejected_with("voucher.already-redeemed", "redeemed", true);
}

#[test]
fn a_create_finds_nothing_and_what_needs_its_aggregate_finds_it() {
    given::<Voucher>([issued()])
        .when(VoucherCommand::Issue(issue()))
        .then_rejected("voucher.already-exists");
    assert!(RULES.must_exist(&VoucherCommand::Redeem));
    assert!(!RULES.must_exist(&VoucherCommand::Look));
    let Err(Reason(reason)) = RULES.decide(None, &VoucherCommand::Redeem, Micros(0)) else {
        panic!("there is no voucher");
    };
    let text = r#"{"code":"voucher.not-found","detail":"there is no such voucher"}"#;
    assert_eq!(String::from_utf8_lossy(&reason), text);
}

#[test]
fn a_rule_knows_who_asks_and_by_which_command() {
    let (principal, id) = (Uuid::from_u128(2), Uuid::from_u128(3));
    let meta = Meta { actor: principal, ..Meta::default() };
    let context = domain::Context { at: Micros(NOW.micros()), command: id, meta: &meta };
    let state = given::<Voucher>([issued()]).state().cloned();
    let decided = RULES.decide_in(state.as_ref(), &give(), context);
    let Ok(Decided::Change { events, .. }) = decided else { panic!("{decided:?}") };
    let expected =
        GivenAway { to: Uuid::from_u128(1).into(), by: principal.into(), command: id.into() };
    assert_eq!(VoucherEvent::decode(&events[0]), Ok(expected.into()));
    let nobody = GivenAway { by: principal.into(), command: Uuid::nil().into(), ..expected };
    given::<Voucher>([issued()]).when_by(principal, NOW, give()).then([nobody.into()]);
}

#[test]
fn what_is_said_to_people_names_the_fields() {
    let state = given::<Voucher>([issued()]).state().cloned();
    let Err(Reason(reason)) = RULES.decide(state.as_ref(), &VoucherCommand::Look, Micros(0)) else {
        panic!("it is rejected");
    };
    let reason: Value = serde_json::from_slice(&reason).expect("JSON");
    let detail = "no command lists it, but 1970-01-01T00:00:00.000000Z answers {0} with it";
    assert_eq!(reason, json!({ "code": "voucher.forgotten", "detail": detail }));
}

#[test]
#[should_panic(expected = "command look-at does not list voucher.forgotten")]
fn a_code_that_the_command_does_not_list_fails_the_test() {
    given::<Voucher>([issued()]).when(VoucherCommand::Look).then_rejected("voucher.forgotten");
}

#[test]
#[should_panic(expected = "voucher.already-redeemed")]
fn a_rejection_that_was_not_expected_fails_the_test() {
    given::<Voucher>([issued(), VoucherEvent::Redeemed]).when(give()).then_nothing();
}

#[test]
#[should_panic(expected = "a voucher is issued first, and once")]
fn events_that_cannot_be_given_fail_the_test() {
    let _ = given::<Voucher>([VoucherEvent::Redeemed]);
}

#[test]
fn a_row_is_what_its_events_leave() {
    let to = Uuid::from_u128(1).into();
    let given_away = GivenAway { to, by: Uuid::nil().into(), command: Uuid::nil().into() };
    let row = rows_after::<VoucherRow>([issued(), given_away.into(), VoucherEvent::Redeemed]);
    let expected = VoucherRow { redeemed: true, amount_minor: Money::ZERO, holder: Some(to) };
    assert_eq!(row, expected);
}

#[test]
fn a_state_survives_its_snapshot() {
    let state = given::<Voucher>([issued()]).state().cloned().expect("a voucher");
    let serialized = RULES.serialize(&state);
    assert_eq!(String::from_utf8_lossy(&serialized), r#"{"kind":"plain","redeemed":false}"#);
    assert_eq!(RULES.deserialize(&serialized), Ok(state));
    assert_eq!(Rules::<Voucher>::FORMAT, 3);
    for damaged in ["", "[]", "{}", r#"{"kind":"plain","redeemed":false,"more":1}"#] {
        assert!(matches!(RULES.deserialize(damaged.as_bytes()), Err(Unreadable::Malformed { .. })));
    }
}

/// A counter whose rules decide what they cannot apply.
mod faulty {
    use super::*;

    #[derive(Event)]
    #[event(category = "counter")]
    pub enum CounterEvent {
        #[event("counted")]
        Counted,
    }

    #[derive(Command)]
    pub enum CounterCommand {
        #[command(begins)]
        Count,
    }

    #[derive(Rejection)]
    pub enum CounterRejection {
        #[rejection("full", "it is full")]
        Full,
    }

    #[derive(State)]
    #[state(format = 1)]
    pub struct Counter {}

    impl Aggregate for Counter {
        type Command = CounterCommand;
        type Event = CounterEvent;
        type Rejection = CounterRejection;

        fn decide(counter: Option<&Self>, _: &CounterCommand, _: &Context) -> Decision<Self> {
            if counter.is_some() {
                return reject(CounterRejection::Full);
            }
            accept_all([CounterEvent::Counted, CounterEvent::Counted])
        }

        fn evolve(counter: Option<&Self>, event: &CounterEvent) -> Result<Self, Unreadable> {
            match counter {
                None => Ok(Self {}),
                Some(_) => Err(event.unexpected("once is enough")),
            }
        }
    }
}

#[test]
fn what_rules_cannot_apply_is_refused_before_it_is_written() {
    let rules = Rules::<faulty::Counter>::new();
    let decided = rules.decide(None, &faulty::CounterCommand::Count, Micros(0));
    let Err(Reason(reason)) = decided else { panic!("{decided:?}") };
    let reason: Value = serde_json::from_slice(&reason).expect("JSON");
    assert_eq!(reason["code"], "counter.inconsistent");
}

#[test]
fn a_time_can_be_moved() {
    let later = NOW.after(std::time::Duration::from_micros(1));
    assert_eq!(later, Timestamp::from_micros(NOW.micros() + 1));
    assert_eq!(NOW.after(std::time::Duration::MAX), Timestamp::from_micros(i64::MAX));
}

/// A bell is hung once, and can be rung at any time.
#[derive(State)]
#[state(format = 1)]
struct Bell {
    rung: Quantity,
}

#[derive(Event)]
#[event(category = "bell")]
enum BellEvent {
    /// The bell was rung.
    #[event("rung")]
    Rung,
}

#[derive(Command)]
enum BellCommand {
    /// Rings it.
    #[command(begins)]
    Ring,
}

#[derive(Rejection)]
enum Never {}

impl Aggregate for Bell {
    type Command = BellCommand;
    type Event = BellEvent;
    type Rejection = Never;

    fn decide(_: Option<&Self>, command: &BellCommand, _: &Context) -> Decision<Self> {
        match command {
            BellCommand::Ring => accept(BellEvent::Rung),
        }
    }

    fn evolve(bell: Option<&Self>, event: &BellEvent) -> Result<Self, Unreadable> {
        match (bell, event) {
            (_, BellEvent::Rung) => Ok(bell.cloned().unwrap_or(Self { rung: Quantity::ONE })),
        }
    }
}

#[test]
fn an_aggregate_whose_commands_break_no_rule_has_an_empty_rejection() {
    assert_eq!(highwater::Category::of::<Bell>("bells").codes, [""; 0]);
    given::<Bell>([]).when(BellCommand::Ring).then([BellEvent::Rung]);
    given::<Bell>([BellEvent::Rung]).when(BellCommand::Ring).then([BellEvent::Rung]);
}
