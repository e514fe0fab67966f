//! What a stock has come to, as far as decisions ask.

use std::{collections::BTreeMap, sync::Arc};

use events::{
    id::OrderId,
    number::Quantity,
    stock::{Levels, StockEvent},
};
use highwater_protocol::domain::Unreadable;
use serde::{Deserialize, Serialize};

/// Cheap to clone: the writer keeps one for each commit in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stock {
    /// As the last event says.
    pub levels: Levels,
    pub reservations: Reservations,
}

/// What is kept for which order. One block sorted by order: a change copies it at the speed of
/// memory, and at most [`events::stock::MOST_RESERVATIONS`] entries of 24 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(from = "BTreeMap<OrderId, Quantity>", into = "BTreeMap<OrderId, Quantity>")]
pub struct Reservations(Arc<[(OrderId, Quantity)]>);

impl From<BTreeMap<OrderId, Quantity>> for Reservations {
    fn from(reservations: BTreeMap<OrderId, Quantity>) -> Self {
        Self(reservations.into_iter().collect())
    }
}

impl From<Reservations> for BTreeMap<OrderId, Quantity> {
    fn from(reservations: Reservations) -> Self {
        reservations.0.iter().copied().collect()
    }
}

impl Reservations {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn of(&self, order: OrderId) -> Option<Quantity> {
        self.find(order).ok().map(|at| self.0[at].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (OrderId, Quantity)> {
        self.0.iter().copied()
    }

    fn with(&self, order: OrderId, quantity: Quantity) -> Self {
        let (at, rest) = match self.find(order) {
            Ok(at) => (at, at + 1),
            Err(at) => (at, at),
        };
        Self([&self.0[..at], &[(order, quantity)], &self.0[rest..]].concat().into())
    }

    fn without(&self, order: OrderId) -> Self {
        self.find(order).map_or_else(
            |_| self.clone(),
            |at| Self([&self.0[..at], &self.0[at + 1..]].concat().into()),
        )
    }

    fn find(&self, order: OrderId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&order, |(order, _)| *order)
    }
}

impl Stock {
    /// The event is a fact, whatever this release would have decided.
    pub fn after(&self, event: &StockEvent) -> Self {
        let reservations = match event {
            StockEvent::Received(_) | StockEvent::Adjusted(_) => self.reservations.clone(),
            StockEvent::Reserved(event) => self.reservations.with(event.order_id, event.quantity),
            StockEvent::Released(event) => self.reservations.without(event.order_id),
            StockEvent::Shipped(event) => self.reservations.without(event.order_id),
        };
        Self { levels: event.levels(), reservations }
    }
}

/// Applies an event read from the log. A stock begins with `stock.received`.
pub fn evolve(stock: Option<&Stock>, event: &StockEvent) -> Result<Stock, Unreadable> {
    match (stock, event) {
        (Some(stock), event) => Ok(stock.after(event)),
        (None, StockEvent::Received(_)) => Ok(Stock::default().after(event)),
        (None, _) => Err(Unreadable::Malformed {
            what: event.encode().schema.into_owned(),
            why: "there is no stock before it".to_owned(),
        }),
    }
}
