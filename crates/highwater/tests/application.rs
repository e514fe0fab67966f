//! An application as it is registered: what does not go together is said, and everything else
//! follows from it.

#[path = "support/voucher.rs"]
mod voucher;

use highwater::{
    App,
    audit::projected::{
        item::Event as Read,
        rows::{Rows, Table},
    },
    prelude::*,
    protocol::time::Micros,
    uuid::Uuid,
};
use serde_json::{Value, json};
use voucher::{Holder, Voucher, VoucherEvent};

#[derive(Row)]
#[row(table = "vouchers")]
struct VoucherRow {
    redeemed: bool,
    amount_minor: Money,
    #[json]
    holders: Holders,
    issued_at: Option<Timestamp>,
}

#[derive(Data)]
struct Holders {
    last: Option<Id<Holder>>,
    times: Count,
}

impl Fold for VoucherRow {
    type Of = Voucher;

    fn fold(row: Option<Self>, recorded: &Recorded<VoucherEvent>) -> Result<Self, Unreadable> {
        Ok(match (row, &recorded.event) {
            (None, VoucherEvent::Issued(issued)) => Self {
                redeemed: false,
                amount_minor: issued.worth.amount_minor,
                holders: Holders { last: None, times: Count::ZERO },
                issued_at: recorded.time,
            },
            (Some(row), VoucherEvent::GivenAway(given)) => {
                let times = row.holders.times.plus(Quantity::ONE);
                let times = times.ok_or_else(|| recorded.unexpected())?;
                Self { holders: Holders { last: Some(given.to), times }, ..row }
            }
            (Some(row), VoucherEvent::Redeemed) => Self { redeemed: true, ..row },
            _ => return Err(recorded.unexpected()),
        })
    }
}

fn wrong(app: App) -> String {
    app.build().err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn what_does_not_go_together_is_said_all_at_once() {
    let twice = App::new("system").aggregate::<Voucher>("a").aggregate::<Voucher>("a");
    assert_eq!(
        wrong(twice),
        "the application cannot run: `system` is the name of the library's own tables; category \
         `voucher` is registered twice; collection `a` is registered twice"
    );
    assert_eq!(
        wrong(App::new("shop").row::<VoucherRow>()),
        "the application cannot run: the aggregate of category `voucher` is missing"
    );
    let shown_twice =
        App::new("shop").aggregate::<Voucher>("vouchers").rows::<VoucherRow>().row::<VoucherRow>();
    assert_eq!(
        wrong(shown_twice),
        "the application cannot run: projection `vouchers` is registered twice; two views are \
         shown at /v1/vouchers/{id}"
    );
    // Rows before their aggregate are as good as after it.
    let app = App::new("shop").rows::<VoucherRow>().aggregate::<Voucher>("vouchers");
    assert_eq!(wrong(app), "");
}

#[test]
fn a_first_command_is_made_from_the_first_contract_that_creates() {
    let app = App::new("shop").aggregate::<Voucher>("vouchers").build();
    let command = app.ok().and_then(|app| app.first_command).map(|make| make("http://here"));
    let expected = "curl -i http://here/v1/vouchers -H 'Content-Type: application/json' -H \
                    'Idempotency-Key: first' -d '{\"amount_minor\":1,\"currency\":\"EUR\"}'";
    assert_eq!(command.as_deref(), Some(expected));
}

fn event(version: u64, name: &str, schema: u32, data: Value) -> Read {
    Read {
        aggregate: Uuid::from_u128(7),
        version,
        partition: 3,
        name: format!("voucher.{name}"),
        schema: format!("voucher.{name}.v{schema}"),
        time: Micros(1_795_383_264_000_000).to_text(),
        data,
    }
}

fn lived() -> [Read; 3] {
    let [to, by, command] = [1, 2, 3].map(|n| Uuid::from_u128(n).to_string());
    [
        event(1, "issued", 1, json!({"amount_minor": 5})),
        event(2, "given-away", 1, json!({"to": to, "by": by, "command": command})),
        event(3, "redeemed", 1, json!({})),
    ]
}

/// What an account makes of a life; why it cannot.
fn replayed(account: &dyn Table, events: &[Read]) -> Result<Value, String> {
    let mut rows = Rows::default();
    events.iter().try_for_each(|event| account.apply(&mut rows, event))?;
    Ok(rows.get(&Uuid::from_u128(7).to_string()).unwrap_or_default())
}

#[test]
fn rows_and_states_without_an_account_of_their_own_are_replayed() {
    let app = App::new("shop").aggregate::<Voucher>("vouchers").rows::<VoucherRow>();
    let accounts = app.build().map(|app| (app.audited)()).unwrap_or_default();
    let [states, rows] = &accounts[..] else { panic!("{} accounts", accounts.len()) };
    assert!(states.is_replayed() && rows.is_replayed());

    let holders = json!({"last": Uuid::from_u128(1), "times": 1});
    let expected = json!({"version": 3, "redeemed": true, "amount_minor": 5, "holders": holders,
        "issued_at": "2026-11-22T21:34:24.000000Z"});
    assert_eq!(replayed(&**rows, &lived()), Ok(expected));
    let state = json!({"version": 3, "format": 3, "unreadable": false,
        "state": {"kind": "plain", "redeemed": true}});
    assert_eq!(replayed(&**states, &lived()), Ok(state));

    let misfit = replayed(&**rows, &lived()[1..]).err().unwrap_or_default();
    assert!(misfit.contains("cannot be event 2 of a voucher"), "{misfit}");
    let unread = [lived()[0].clone(), event(2, "redeemed", 2, json!({}))];
    let unread = replayed(&**rows, &unread).err().unwrap_or_default();
    assert!(unread.contains("voucher.redeemed.v2"), "{unread}");
}

/// An account of one's own for the rows of vouchers.
struct Own;

impl Table for Own {
    fn name(&self) -> &'static str {
        "vouchers"
    }

    fn projection(&self) -> &'static str {
        "vouchers"
    }

    fn category(&self) -> &'static str {
        "voucher"
    }

    fn rows(&self) -> String {
        String::new()
    }

    fn apply(&self, _: &mut Rows, _: &Read) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn an_account_of_ones_own_comes_in_place_of_the_replay() {
    let app = App::new("shop")
        .aggregate::<Voucher>("vouchers")
        .rows::<VoucherRow>()
        .audited(|| vec![Box::new(Own)]);
    let accounts = app.build().map(|app| (app.audited)()).unwrap_or_default();
    let names = accounts.iter().map(|account| (account.name(), account.is_replayed()));
    assert_eq!(names.collect::<Vec<_>>(), [("vouchers", false), ("snapshots", true)]);
}
