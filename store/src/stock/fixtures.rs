//! A stock's events and commands, for tests.

use events::{
    id::OrderId,
    stock::{Adjusted, Command, Received, Released, Reserved, Shipped, StockEvent},
};
use serde_json::{Value, json};

use super::Stocks;
use crate::scenario::{Given, NOW};

#[track_caller]
pub fn given<const N: usize>(events: [StockEvent; N]) -> Given<Stocks> {
    given_all(&events)
}

#[track_caller]
pub fn given_all(events: &[StockEvent]) -> Given<Stocks> {
    Given::new(Stocks, events)
}

#[track_caller]
pub fn command(name: &str, body: Value) -> Command {
    Command::parse(name, 1, &body, NOW).expect("a valid body")
}

pub fn receive(quantity: i64) -> Command {
    command("receive", json!({ "quantity": quantity }))
}

pub fn reserve(order: u16, quantity: i64) -> Command {
    command("reserve", json!({ "order_id": order_id(order).to_string(), "quantity": quantity }))
}

pub fn release(order: u16) -> Command {
    command("release", json!({ "order_id": order_id(order).to_string() }))
}

pub fn ship(order: u16) -> Command {
    command("ship", json!({ "order_id": order_id(order).to_string() }))
}

pub fn adjust(delta: i64) -> Command {
    command("adjust", json!({ "delta": delta, "reason": "counted" }))
}

#[track_caller]
pub fn order_id(order: u16) -> OrderId {
    OrderId(
        events::id::parse(&format!("1d0f3a52-6c1b-5e4f-8a90-2b7c4d5e{order:04x}")).expect("an id"),
    )
}

/// Then so many are on hand, and so many of them reserved.
pub type Left = (i64, i64);

pub fn received(quantity: i64, (on_hand, reserved): Left) -> StockEvent {
    StockEvent::Received(Received {
        quantity: number(quantity),
        on_hand: number(on_hand),
        reserved: number(reserved),
    })
}

pub fn reserved(order: u16, quantity: i64, (on_hand, reserved): Left) -> StockEvent {
    let order_id = order_id(order);
    StockEvent::Reserved(Reserved {
        order_id,
        quantity: number(quantity),
        on_hand: number(on_hand),
        reserved: number(reserved),
    })
}

pub fn released(order: u16, quantity: i64, (on_hand, reserved): Left) -> StockEvent {
    let order_id = order_id(order);
    StockEvent::Released(Released {
        order_id,
        quantity: number(quantity),
        on_hand: number(on_hand),
        reserved: number(reserved),
    })
}

pub fn shipped(order: u16, quantity: i64, (on_hand, reserved): Left) -> StockEvent {
    let order_id = order_id(order);
    StockEvent::Shipped(Shipped {
        order_id,
        quantity: number(quantity),
        on_hand: number(on_hand),
        reserved: number(reserved),
    })
}

pub fn adjusted(delta: i64, (on_hand, reserved): Left) -> StockEvent {
    let reason = "counted".try_into().expect("short");
    StockEvent::Adjusted(Adjusted {
        delta: number(delta),
        reason,
        on_hand: number(on_hand),
        reserved: number(reserved),
    })
}

#[track_caller]
fn number<T: TryFrom<i64>>(number: i64) -> T {
    T::try_from(number).unwrap_or_else(|_| panic!("{number} is out of bounds"))
}
