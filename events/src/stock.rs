//! The stock of a product: what its records and its requests say. Each event says what it left
//! behind, so that a reader need not add up.

use highwater::prelude::*;

use crate::order::OrderId;

/// Open reservations of one stock: its state is copied with every one of them.
pub const MOST_RESERVATIONS: usize = 10_000;

#[derive(Event)]
#[event(category = "stock")]
pub enum StockEvent {
    #[event("received")]
    Received(Received),
    #[event("reserved")]
    Reserved(Reserved),
    #[event("released")]
    Released(Released),
    #[event("shipped")]
    Shipped(Shipped),
    #[event("adjusted")]
    Adjusted(Adjusted),
}

#[derive(Command)]
pub enum StockCommand {
    #[command(begins, codes("too-large"))]
    Receive(Receive),
    #[command(codes("already-reserved", "insufficient", "too-many-reservations"))]
    Reserve(Reserve),
    /// Gives an order's whole reservation up. The order may reserve again.
    #[command(codes("not-reserved"))]
    Release(Reservation),
    /// The units reserved for an order leave the house, all of them. The order may reserve again.
    #[command(codes("not-reserved"))]
    Ship(Reservation),
    #[command(codes("insufficient", "too-large"))]
    Adjust(Adjust),
}

#[derive(Copy, Default, Data)]
pub struct Levels {
    /// Units in the house after this, reserved ones included.
    pub on_hand: Count,
    /// Units kept for orders after this.
    pub reserved: Count,
}

/// Units arrived.
#[derive(Data)]
pub struct Received {
    /// How many units.
    pub quantity: Quantity,
    #[data(flatten)]
    pub levels: Levels,
}

/// Units were kept for an order.
#[derive(Data)]
pub struct Reserved {
    /// The order that the units are for.
    pub order_id: OrderId,
    /// How many units.
    pub quantity: Quantity,
    #[data(flatten)]
    pub levels: Levels,
}

/// An order's reservation was given up.
#[derive(Data)]
pub struct Released {
    /// The order that the units are for.
    pub order_id: OrderId,
    /// How many units had been reserved.
    pub quantity: Quantity,
    #[data(flatten)]
    pub levels: Levels,
}

/// The units reserved for an order left the house.
#[derive(Data)]
pub struct Shipped {
    /// The order that the units are for.
    pub order_id: OrderId,
    /// How many units had been reserved, and left.
    pub quantity: Quantity,
    #[data(flatten)]
    pub levels: Levels,
}

/// What is on hand was corrected.
#[derive(Data)]
pub struct Adjusted {
    /// What was added to the units on hand; negative took away. Never 0.
    pub delta: Delta,
    /// Not for personal data.
    pub reason: Text<500>,
    #[data(flatten)]
    pub levels: Levels,
}

/// Units arrive. A product's stock comes into being with the first of them; each command adds.
#[derive(Data)]
pub struct Receive {
    /// How many units.
    pub quantity: Quantity,
}

/// Keeps available units for an order. An order has at most one reservation at a time, a stock at
/// most 10,000.
#[derive(Copy, Data)]
pub struct Reserve {
    /// The order that the units are for. Nothing asks whether it exists.
    pub order_id: OrderId,
    /// How many units.
    pub quantity: Quantity,
}

#[derive(Data)]
pub struct Reservation {
    /// The order that the units are for. Nothing asks whether it exists.
    pub order_id: OrderId,
}

/// Corrects what is on hand, after a count, a loss or a find. What is reserved cannot be taken
/// away. A delta of 0 changes nothing.
#[derive(Data)]
pub struct Adjust {
    /// What is added to the units on hand; negative takes away.
    pub delta: Delta,
    /// Not for personal data.
    pub reason: Text<500>,
}

impl Levels {
    /// What can still be reserved.
    pub fn available(self) -> Count {
        self.on_hand.saturating_minus(self.reserved.get())
    }
}

impl StockEvent {
    /// What the event left behind.
    pub fn levels(&self) -> Levels {
        match self {
            Self::Received(Received { levels, .. })
            | Self::Reserved(Reserved { levels, .. })
            | Self::Released(Released { levels, .. })
            | Self::Shipped(Shipped { levels, .. })
            | Self::Adjusted(Adjusted { levels, .. }) => *levels,
        }
    }
}
