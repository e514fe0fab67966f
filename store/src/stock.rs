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

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

use StockRejection::*;
use events::{
    order::{OrderEvent, OrderId},
    stock::*,
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
            StockCommand::Receive(command) => stock.receive(command),
            StockCommand::Reserve(command) => stock.reserve(command),
            StockCommand::Release(command) => stock.release(command),
            StockCommand::Ship(command) => stock.ship(command),
            StockCommand::Adjust(command) => stock.adjust(command),
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
    /// Units arrive. The first of them begin the stock.
    fn receive(&self, &Receive { quantity }: &Receive) -> Decision<Self> {
        let on_hand = self.levels.on_hand.plus(quantity).ok_or(TooLarge)?;
        accept(Received { quantity, levels: Levels { on_hand, ..self.levels } })
    }

    /// Available units are kept for an order.
    fn reserve(&self, &Reserve { order_id, quantity }: &Reserve) -> Decision<Self> {
        if self.reservations.get(order_id).is_some() {
            return reject(AlreadyReserved(order_id));
        }
        let levels = self.levels;
        let reserved = levels.reserved.plus(quantity).filter(|units| *units <= levels.on_hand);
        let reserved = reserved.ok_or(Insufficient { available: levels.available() })?;
        if self.reservations.len() >= MOST_RESERVATIONS {
            return reject(TooManyReservations);
        }
        accept(Reserved { order_id, quantity, levels: Levels { reserved, ..levels } })
    }

    /// An order's whole reservation is given up.
    fn release(&self, &Reservation { order_id }: &Reservation) -> Decision<Self> {
        let quantity = self.reserved_for(order_id)?;
        let reserved = self.levels.reserved.saturating_minus(quantity.get());
        accept(Released { order_id, quantity, levels: Levels { reserved, ..self.levels } })
    }

    /// The units reserved for an order leave the house, all of them.
    fn ship(&self, &Reservation { order_id }: &Reservation) -> Decision<Self> {
        let quantity = self.reserved_for(order_id)?;
        let on_hand = self.levels.on_hand.saturating_minus(quantity.get());
        let reserved = self.levels.reserved.saturating_minus(quantity.get());
        accept(Shipped { order_id, quantity, levels: Levels { on_hand, reserved } })
    }

    /// What is on hand is corrected. What is reserved is promised, and cannot be taken away.
    fn adjust(&self, Adjust { delta, reason }: &Adjust) -> Decision<Self> {
        let levels = self.levels;
        if delta.get() == 0 {
            return nothing();
        }
        // Within ±2^54: neither is beyond ±(2^53 - 1).
        let on_hand = levels.on_hand.get() + delta.get();
        if delta.get() < 0 && on_hand < levels.reserved.get() {
            return reject(Insufficient { available: levels.available() });
        }
        let on_hand = Count::try_from(on_hand).map_err(|_| TooLarge)?;
        let levels = Levels { on_hand, ..levels };
        accept(Adjusted { delta: *delta, reason: reason.clone(), levels })
    }

    fn reserved_for(&self, order: OrderId) -> Result<Quantity, StockRejection> {
        self.reservations.get(order).copied().ok_or(StockRejection::NotReserved(order))
    }
}
