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

use events::{
    order::{OrderEvent, OrderId},
    stock::{Levels, MOST_RESERVATIONS, StockCommand, StockEvent},
};
use highwater::{prelude::*, value::MAX};

/// What a stock has come to, as far as decisions ask.
#[derive(Default, State)]
#[state(format = 1)]
pub struct Stock {
    /// As the last event says.
    pub levels: Levels,
    /// What is kept for which order, at most [`MOST_RESERVATIONS`] times.
    pub reservations: Map<OrderEvent, Quantity>,
}

#[derive(Rejection)]
pub enum StockRejection {
    #[rejection("insufficient", "{available} units are available")]
    Insufficient { available: Count },
    #[rejection("not-reserved", "nothing is reserved for order {0}")]
    NotReserved(OrderId),
    #[rejection("already-reserved", "order {0} has a reservation already")]
    AlreadyReserved(OrderId),
    #[rejection(
        "too-many-reservations",
        "there are {MOST_RESERVATIONS} reservations already, which is the most"
    )]
    TooManyReservations,
    #[rejection("too-large", "more than {MAX} units would be on hand")]
    TooLarge,
}

impl Aggregate for Stock {
    type Command = StockCommand;
    type Event = StockEvent;
    type Rejection = StockRejection;

    fn decide(stock: Option<&Self>, command: &StockCommand, _: &Context) -> Decision<Self> {
        let stock = &stock.cloned().unwrap_or_default();
        match command {
            StockCommand::Receive(command) => receive::decide(stock, command),
            StockCommand::Reserve(command) => reserve::decide(stock, command),
            StockCommand::Release(command) => release::decide(stock, command),
            StockCommand::Ship(command) => ship::decide(stock, command),
            StockCommand::Adjust(command) => adjust::decide(stock, command),
        }
    }

    fn evolve(stock: Option<&Self>, event: &StockEvent) -> Result<Self, Unreadable> {
        let reservations = stock.map(|stock| stock.reservations.clone());
        let reservations = match (reservations, event) {
            (before, StockEvent::Received(_)) => before.unwrap_or_default(),
            (Some(before), StockEvent::Adjusted(_)) => before,
            (Some(before), StockEvent::Reserved(event)) => {
                before.with(event.order_id, event.quantity)
            }
            (Some(before), StockEvent::Released(event)) => before.without(event.order_id),
            (Some(before), StockEvent::Shipped(event)) => before.without(event.order_id),
            (None, _) => return Err(event.unexpected("there is no stock before it")),
        };
        Ok(Self { levels: event.levels(), reservations })
    }
}

impl Stock {
    fn reserved_for(&self, order: OrderId) -> Result<Quantity, StockRejection> {
        self.reservations.get(order).copied().ok_or(StockRejection::NotReserved(order))
    }
}
