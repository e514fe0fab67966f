//! A whole application in the process of a test.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "support/voucher.rs"]
mod voucher;

use std::time::Duration;

use highwater::{
    App, Migration,
    prelude::*,
    testing::{NOW, Running},
    uuid::Uuid,
};
use voucher::{
    GiveAway, Holder, Issued, Kind, Parts, Voucher, VoucherCommand, VoucherEvent, Worth,
};

#[derive(Row)]
#[row(table = "vouchers")]
struct VoucherRow {
    redeemed: bool,
    holder: Option<Id<Holder>>,
    #[json]
    kind: Kind,
    issued_at: Timestamp,
}

impl Fold for VoucherRow {
    type Of = Voucher;

    fn fold(row: Option<Self>, recorded: &Recorded<VoucherEvent>) -> Result<Self, Unreadable> {
        Ok(match (row, &recorded.event) {
            (None, VoucherEvent::Issued(issued)) => Self {
                redeemed: false,
                holder: None,
                kind: issued.kind.clone(),
                issued_at: recorded.time.ok_or_else(|| recorded.unexpected())?,
            },
            (Some(row), VoucherEvent::GivenAway(given)) => Self { holder: Some(given.to), ..row },
            (Some(row), VoucherEvent::Redeemed) => Self { redeemed: true, ..row },
            _ => return Err(recorded.unexpected()),
        })
    }
}

const TABLE: &[Migration] = &[Migration {
    number: 1,
    name: "vouchers",
    sql: "CREATE TABLE vouchers (
        id uuid PRIMARY KEY,
        partition integer NOT NULL,
        version bigint NOT NULL,
        redeemed boolean NOT NULL,
        holder uuid,
        kind jsonb NOT NULL,
        issued_at timestamptz NOT NULL
    )",
}];

fn app() -> App {
    App::new("vouchers").aggregate::<Voucher>("vouchers").rows::<VoucherRow>().migrations(TABLE)
}

fn issue() -> VoucherCommand {
    VoucherCommand::Issue(Issued {
        worth: Worth { amount_minor: Money::ZERO, currency: "EUR".try_into().expect("a currency") },
        note: None,
        parts: Parts::one(),
        kind: Kind::Gift("ribbon"[..5].try_into().expect("a text")),
    })
}

fn row(issued_at: Timestamp) -> VoucherRow {
    let kind = Kind::Gift("ribbo".try_into().expect("a text"));
    VoucherRow { redeemed: false, holder: None, kind, issued_at }
}

#[tokio::test]
async fn commands_are_sent_and_rows_read_as_types_while_the_test_moves_the_clock() {
    let app = Running::start(app()).await.expect("it starts");
    let [first, second] = [1, 2].map(Uuid::from_u128);
    assert_eq!(app.row::<VoucherRow>(first).await, None);
    assert_eq!(app.send::<Voucher>(first, issue()).await.status, 201);
    let again = app.send::<Voucher>(first, issue()).await;
    assert_eq!((again.status, again.code()), (409, Some("voucher.already-exists")));

    let to = Id::new(Uuid::from_u128(7));
    let given = app.send::<Voucher>(first, VoucherCommand::GiveAway(GiveAway { to })).await;
    assert_eq!((given.status, given.version()), (200, Some(2)));
    assert_eq!(app.send::<Voucher>(first, VoucherCommand::Redeem).await.status, 428);
    let stale = app.send_at::<Voucher>(first, 1, VoucherCommand::Redeem).await;
    assert_eq!((stale.status, stale.version()), (412, Some(2)));
    assert_eq!(app.send_at::<Voucher>(first, 2, VoucherCommand::Redeem).await.status, 200);
    let expected = VoucherRow { redeemed: true, holder: Some(to), ..row(NOW) };
    assert_eq!(app.row::<VoucherRow>(first).await, Some(expected));

    let day = Duration::from_secs(24 * 60 * 60);
    app.advance(day);
    assert_eq!(app.send::<Voucher>(second, issue()).await.status, 201);
    assert_eq!(app.row::<VoucherRow>(second).await, Some(row(NOW.after(day))));
    app.stop().await.expect("it stops");
}

#[tokio::test]
async fn on_a_log_that_fails_by_a_seed_nothing_is_lost_or_done_twice() {
    let app = Running::start_with_faults(app(), 7).await.expect("it starts");
    let all: Vec<Uuid> = (1..=20).map(Uuid::from_u128).collect();
    for id in &all {
        loop {
            let answered = app.send::<Voucher>(*id, issue()).await;
            match answered.status {
                201 => break,
                409 if answered.code() == Some("voucher.already-exists") => break,
                503 => {}
                other => panic!("{other} {}", answered.body),
            }
        }
    }
    for id in &all {
        assert!(app.row::<VoucherRow>(*id).await.is_some(), "{id}");
    }
    app.stop().await.expect("it stops");
}
