//! A stock's events and commands, for tests.

use events::{
    order::OrderId,
    stock::{Adjusted, Levels, Received, Released, Reserved, Shipped, StockCommand, StockEvent},
};
use highwater::{
    Command as _,
    testing::{self, Given, NOW},
};
use serde_json::{Value, json};

use super::Stock;

#[track_caller]
pub fn given<const N: usize>(events: [StockEvent; N]) -> Given<Stock> {
    given_all(&events)
}

#[track_caller]
pub fn given_all(events: &[StockEvent]) -> Given<Stock> {
    testing::given(events.iter().cloned())
}

#[track_caller]
pub fn command(name: &str, body: Value) -> StockCommand {
    StockCommand::parse(name, 1, &body, NOW).expect("a valid body")
}

pub fn receive(quantity: i64) -> StockCommand {
    command("receive", json!({ "quantity": quantity }))
}

pub fn reserve(order: u16, quantity: i64) -> StockCommand {
    command("reserve", json!({ "order_id": order_id(order).to_string(), "quantity": quantity }))
}

pub fn release(order: u16) -> StockCommand {
    command("release", json!({ "order_id": order_id(order).to_string() }))
}

pub fn ship(order: u16) -> StockCommand {
    command("ship", json!({ "order_id": order_id(order).to_string() }))
}

pub fn adjust(delta: i64) -> StockCommand {
    command("adjust", json!({ "delta": delta, "reason": "counted" }))
}

#[track_caller]
pub fn order_id(order: u16) -> OrderId {
    let id = format!("1d0f3a52-6c1b-5e4f-8a90-2b7c4d5e{order:04x}");
    id.as_str().try_into().expect("an id")
}

/// Then so many are on hand, and so many of them reserved.
pub type Left = (i64, i64);

pub fn received(quantity: i64, left: Left) -> StockEvent {
    StockEvent::Received(Received { quantity: number(quantity), levels: levels(left) })
}

pub fn reserved(order: u16, quantity: i64, left: Left) -> StockEvent {
    let order_id = order_id(order);
    StockEvent::Reserved(Reserved { order_id, quantity: number(quantity), levels: levels(left) })
}

pub fn released(order: u16, quantity: i64, left: Left) -> StockEvent {
    let order_id = order_id(order);
    StockEvent::Released(Released { order_id, quantity: number(quantity), levels: levels(left) })
}

pub fn shipped(order: u16, quantity: i64, left: Left) -> StockEvent {
    let order_id = order_id(order);
    StockEvent::Shipped(Shipped { order_id, quantity: number(quantity), levels: levels(left) })
}

pub fn adjusted(delta: i64, left: Left) -> StockEvent {
    let reason = "counted".try_into().expect("short");
    StockEvent::Adjusted(Adjusted { delta: number(delta), reason, levels: levels(left) })
}

#[track_caller]
fn levels((on_hand, reserved): Left) -> Levels {
    Levels { on_hand: number(on_hand), reserved: number(reserved) }
}

#[track_caller]
fn number<T: TryFrom<i64>>(number: i64) -> T {
    T::try_from(number).unwrap_or_else(|_| panic!("{number} is out of bounds"))
}
