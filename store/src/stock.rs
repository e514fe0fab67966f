//! The stock of one product, under the product's id: units on hand, and how many of them are kept
//! for which order.
//!
//! | command \ in state | none | no reservation of the order | reserved by the order |
//! |---|---|---|---|
//! | receive | **received** | **received**, or too-large | **received**, or too-large |
//! | reserve | 404 | **reserved**, or insufficient, or too-many-reservations | already-reserved, whatever the quantity |
//! | release | 404 | not-reserved | **released**: the reservation is gone |
//! | ship | 404 | not-reserved | **shipped**: the reservation is gone, its units too |
//! | adjust | 404 | **adjusted**, nothing by 0, insufficient, or too-large | the same |
//!
//! There is no create: a stock begins with its first `receive`, and never ends. An order whose
//! reservation is gone may reserve again. Whether the product or the order exists is not asked.

mod adjust;
#[cfg(test)]
mod fixtures;
mod receive;
mod release;
mod reserve;
mod ship;
mod state;

use events::{
    id::OrderId,
    number::{Count, MAX},
    stock::{Command, MOST_RESERVATIONS, StockEvent},
};
use highwater_protocol::{
    domain::{Decision, Domain, Durable, Unreadable},
    time::Micros,
    wire::{Fact, Reason, Wire},
};
use serde_json::{Map, Value};

use crate::{
    frozen,
    rejection::{self, Rejection as _},
};
pub use state::{Reservations, Stock};

/// The rules of stock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stocks;

/// Every rule that a stock command can break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("{} units are available", .available.get())]
    Insufficient { available: Count },
    #[error("nothing is reserved for order {0}")]
    NotReserved(OrderId),
    #[error("order {0} has a reservation already")]
    AlreadyReserved(OrderId),
    #[error("there are {MOST_RESERVATIONS} reservations already, which is the most")]
    TooManyReservations,
    #[error("more than {MAX} units would be on hand")]
    TooLarge,
    /// For a caller that did not ask [`Domain::must_exist`].
    #[error("there is no such stock")]
    NotFound,
}

impl Domain<Wire> for Stocks {
    type State = Stock;
    type Command = Command;

    fn must_exist(&self, command: &Command) -> bool {
        !matches!(command, Command::Receive(_))
    }

    fn decide(
        &self,
        state: Option<&Stock>,
        command: &Command,
        _at: Micros,
    ) -> Result<Decision<Stock, Fact>, Reason> {
        decide(state, command).map_err(|rejection| rejection.reason())
    }

    fn evolve(&self, state: Option<&Stock>, stored: &Fact) -> Result<Stock, Unreadable> {
        state::evolve(state, &StockEvent::decode(stored)?)
    }
}

impl Durable for Stocks {
    const FORMAT: i16 = 1;

    fn freeze(&self, state: &Stock) -> Vec<u8> {
        frozen::freeze(state)
    }

    fn thaw(&self, frozen: &[u8]) -> Result<Stock, Unreadable> {
        frozen::thaw("stock state", frozen)
    }
}

fn decide(stock: Option<&Stock>, command: &Command) -> Result<Decision<Stock, Fact>, Rejection> {
    let nothing = Stock::default();
    let stock = match command {
        Command::Receive(_) => stock.unwrap_or(&nothing),
        _ => stock.ok_or(Rejection::NotFound)?,
    };
    let event = match command {
        Command::Receive(command) => Some(StockEvent::Received(receive::decide(stock, command)?)),
        Command::Reserve(command) => Some(StockEvent::Reserved(reserve::decide(stock, command)?)),
        Command::Release(command) => Some(StockEvent::Released(release::decide(stock, command)?)),
        Command::Ship(command) => Some(StockEvent::Shipped(ship::decide(stock, command)?)),
        Command::Adjust(command) => adjust::decide(stock, command)?.map(StockEvent::Adjusted),
    };
    Ok(event.map_or(Decision::Nothing, |event| Decision::Change {
        state: stock.after(&event),
        events: vec![event.encode()],
    }))
}

impl rejection::Rejection for Rejection {
    fn code(&self) -> &'static str {
        match self {
            Self::Insufficient { .. } => "stock.insufficient",
            Self::NotReserved(_) => "stock.not-reserved",
            Self::AlreadyReserved(_) => "stock.already-reserved",
            Self::TooManyReservations => "stock.too-many-reservations",
            Self::TooLarge => "stock.too-large",
            Self::NotFound => "stock.not-found",
        }
    }

    fn members(&self) -> Map<String, Value> {
        match self {
            Self::Insufficient { available } => {
                Map::from_iter([("available".to_owned(), available.get().into())])
            }
            _ => Map::new(),
        }
    }
}
