//! An order's events and commands, for tests.

use events::order::{
    Cancelled, Confirmed, Delivered, DepartmentSum, OrderCommand, OrderEvent, Placed, Returned,
    Shipped,
};
use highwater::{
    Command as _, Timestamp,
    testing::{self, Given, NOW},
};
use serde_json::{Value, json};

use super::Order;

pub const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// Before [`NOW`], when commands are decided.
pub const EARLIER: Timestamp = Timestamp::from_micros(NOW.micros() - DAY_MICROS);

#[track_caller]
pub fn given<const N: usize>(events: [OrderEvent; N]) -> Given<Order> {
    given_all(&events)
}

#[track_caller]
pub fn given_all(events: &[OrderEvent]) -> Given<Order> {
    testing::given(events.iter().cloned())
}

#[track_caller]
pub fn command(name: &str, body: Value) -> OrderCommand {
    OrderCommand::parse(name, 1, &body, NOW).expect("a valid body")
}

pub fn place() -> OrderCommand {
    command("place", place_body())
}

pub fn place_v2(confirm: Option<bool>) -> OrderCommand {
    let mut body = place_body();
    if let Some(confirm) = confirm {
        body["confirm"] = json!(confirm);
    }
    OrderCommand::parse("place", 2, &body, NOW).expect("a valid body")
}

pub fn confirm() -> OrderCommand {
    command("confirm", json!({}))
}

pub fn cancel() -> OrderCommand {
    command("cancel", json!({ "reason": "out of stock" }))
}

pub fn ship() -> OrderCommand {
    command("ship", json!({}))
}

pub fn deliver() -> OrderCommand {
    command("deliver", json!({}))
}

pub fn take_back() -> OrderCommand {
    command("return", json!({ "reason": "does not fit" }))
}

/// Two departments, three lines, six units, 748 in all.
pub fn place_body() -> Value {
    let line = |n: u8, department: &str, quantity: u8, unit_price_minor: u16| {
        let product_id = format!("5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a{n:02}");
        json!({
            "product_id": product_id, "department": department, "quantity": quantity,
            "unit_price_minor": unit_price_minor,
        })
    };
    json!({
        "customer_id": "0b8d2c3e-9a41-5f2b-8c77-3d1e5a9b7c10",
        "currency": "USD",
        "lines": [line(1, "GROCERY", 2, 199), line(2, "DRUG GM", 3, 0), line(3, "GROCERY", 1, 350)],
    })
}

pub fn placed() -> OrderEvent {
    placed_at(EARLIER)
}

pub fn placed_at(at: Timestamp) -> OrderEvent {
    let OrderCommand::Place(place) = place() else { unreachable!("place() is a place command") };
    let units = place
        .lines
        .iter()
        .map(|line| line.quantity)
        .reduce(|sum, quantity| sum.plus(quantity).expect("small"));
    OrderEvent::Placed(Placed {
        customer_id: place.customer_id,
        currency: place.currency,
        lines: place.lines,
        total_minor: 748.try_into().expect("small"),
        units: units.expect("there are lines"),
        placed_at: at,
    })
}

pub fn confirmed() -> OrderEvent {
    confirmed_at(EARLIER)
}

pub fn confirmed_at(at: Timestamp) -> OrderEvent {
    OrderEvent::Confirmed(Confirmed { confirmed_at: at })
}

pub fn cancelled() -> OrderEvent {
    cancelled_at(EARLIER)
}

pub fn cancelled_at(at: Timestamp) -> OrderEvent {
    let sum = |department: &str, lines: i64, units: i64, total_minor: i64| DepartmentSum {
        department: department.try_into().expect("short"),
        lines: lines.try_into().expect("small"),
        units: units.try_into().expect("small"),
        total_minor: total_minor.try_into().expect("small"),
    };
    OrderEvent::Cancelled(Cancelled {
        reason: "out of stock".try_into().expect("short"),
        cancelled_at: at,
        placed_at: EARLIER,
        departments: vec![sum("DRUG GM", 1, 3, 0), sum("GROCERY", 2, 3, 748)]
            .try_into()
            .expect("few"),
    })
}

pub fn shipped() -> OrderEvent {
    OrderEvent::Shipped(Shipped { carrier: None, tracking: None, shipped_at: EARLIER })
}

pub fn delivered() -> OrderEvent {
    OrderEvent::Delivered(Delivered { delivered_at: EARLIER })
}

pub fn returned() -> OrderEvent {
    OrderEvent::Returned(Returned {
        reason: "does not fit".try_into().expect("short"),
        returned_at: EARLIER,
    })
}
