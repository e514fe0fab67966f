//! The stock's commands.

use highwater_protocol::time::Micros;
use serde_json::Value;

use crate::{
    body::Fields,
    id::OrderId,
    invalid::Invalid,
    number::{Delta, Quantity},
    text::Text,
};

/// Open reservations of one stock: its state is copied with every one of them.
pub const MOST_RESERVATIONS: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    Receive(Receive),
    Reserve(Reserve),
    Release(Release),
    Ship(Ship),
    Adjust(Adjust),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receive {
    pub quantity: Quantity,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reserve {
    pub order_id: OrderId,
    pub quantity: Quantity,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    pub order_id: OrderId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ship {
    pub order_id: OrderId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adjust {
    pub delta: Delta,
    pub reason: Text<500>,
}

impl Command {
    /// Reads a body that passed the command's schema; any other body is refused as well. No stock
    /// command looks at `now`.
    pub fn parse(
        name: &str,
        version: u32,
        body: &Value,
        _now: Micros,
    ) -> Result<Command, Vec<Invalid>> {
        match (name, version) {
            ("receive", 1) => Fields::read(body, |fields| {
                Some(Receive { quantity: fields.required("quantity")? })
            })
            .map(Command::Receive),
            ("reserve", 1) => Fields::read(body, reserve).map(Command::Reserve),
            ("release", 1) => Fields::read(body, |fields| {
                Some(Release { order_id: fields.required("order_id")? })
            })
            .map(Command::Release),
            ("ship", 1) => {
                Fields::read(body, |fields| Some(Ship { order_id: fields.required("order_id")? }))
                    .map(Command::Ship)
            }
            ("adjust", 1) => Fields::read(body, adjust).map(Command::Adjust),
            _ => Err(Invalid::unknown("stock", name, version)),
        }
    }
}

fn reserve(fields: &mut Fields<'_>) -> Option<Reserve> {
    let (order_id, quantity) = (fields.required("order_id"), fields.required("quantity"));
    Some(Reserve { order_id: order_id?, quantity: quantity? })
}

fn adjust(fields: &mut Fields<'_>) -> Option<Adjust> {
    let (delta, reason) = (fields.required("delta"), fields.required("reason"));
    Some(Adjust { delta: delta?, reason: reason? })
}
