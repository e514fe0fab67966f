//! The order: placed → confirmed → shipped → delivered → returned; cancelled from placed or
//! confirmed.
//!
//! | command \ in state | none | placed | confirmed | shipped | delivered | returned | cancelled |
//! |---|---|---|---|---|---|---|---|
//! | place | **placed**, with `confirm` also **confirmed** | already-exists | already-exists | already-exists | already-exists | already-exists | already-exists |
//! | confirm | 404 | **confirmed** | nothing | already-shipped | already-shipped | already-shipped | already-cancelled |
//! | cancel | 404 | **cancelled** | **cancelled** | already-shipped | already-shipped | already-shipped | nothing |
//! | ship | 404 | not-confirmed | **shipped** | nothing | already-shipped | already-shipped | already-cancelled |
//! | deliver | 404 | not-shipped | not-shipped | **delivered** | nothing | nothing | already-cancelled |
//! | return | 404 | not-delivered | not-delivered | not-delivered | **returned**, or return-window-closed | nothing | already-cancelled |

mod cancel;
mod confirm;
mod deliver;
#[cfg(test)]
mod fixtures;
mod place;
mod r#return;
mod ship;
mod state;

use events::{
    id::ProductId,
    order::{Command, OrderEvent, Place},
    timestamp::Timestamp,
};
use highwater_protocol::{
    domain::{Decision, Domain, Durable, Unreadable},
    time::Micros,
    wire::{Fact, Reason, Wire},
};

use crate::{
    frozen,
    rejection::{self, Rejection as _},
};
pub use state::{Order, Stage};

/// The rules of orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Orders;

/// Every rule that an order command can break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is an order with this id already")]
    AlreadyExists,
    #[error("product {0} is on more than one line")]
    DuplicateLine(ProductId),
    #[error("the order is cancelled")]
    AlreadyCancelled,
    #[error("the order is shipped")]
    AlreadyShipped,
    #[error("the order is not confirmed")]
    NotConfirmed,
    #[error("the order is not shipped")]
    NotShipped,
    #[error("the order is not delivered")]
    NotDelivered,
    #[error("the order could be returned until {}", .0.to_text())]
    ReturnWindowClosed(Micros),
    /// For a caller that did not ask [`Domain::must_exist`].
    #[error("there is no such order")]
    NotFound,
}

impl Domain<Wire> for Orders {
    type State = Order;
    type Command = Command;

    fn must_exist(&self, command: &Command) -> bool {
        !matches!(command, Command::Place(_))
    }

    fn decide(
        &self,
        state: Option<&Order>,
        command: &Command,
        at: Micros,
    ) -> Result<Decision<Order, Fact>, Reason> {
        decide(state, command, Timestamp(at)).map_err(|rejection| rejection.reason())
    }

    fn evolve(&self, state: Option<&Order>, stored: &Fact) -> Result<Order, Unreadable> {
        state::evolve(state, &OrderEvent::decode(stored)?)
    }
}

impl Durable for Orders {
    const FORMAT: i16 = 1;

    fn freeze(&self, state: &Order) -> Vec<u8> {
        frozen::freeze(state)
    }

    fn thaw(&self, frozen: &[u8]) -> Result<Order, Unreadable> {
        frozen::thaw("order state", frozen)
    }
}

fn decide(
    order: Option<&Order>,
    command: &Command,
    at: Timestamp,
) -> Result<Decision<Order, Fact>, Rejection> {
    let Some(order) = order else {
        let Command::Place(command) = command else { return Err(Rejection::NotFound) };
        return begin(command, at);
    };
    let event = match command {
        Command::Place(_) => return Err(Rejection::AlreadyExists),
        Command::Confirm => confirm::decide(order, at)?.map(OrderEvent::Confirmed),
        Command::Cancel(command) => cancel::decide(order, command, at)?.map(OrderEvent::Cancelled),
        Command::Ship(command) => ship::decide(order, command, at)?.map(OrderEvent::Shipped),
        Command::Deliver => deliver::decide(order, at)?.map(OrderEvent::Delivered),
        Command::Return(command) => r#return::decide(order, command, at)?.map(OrderEvent::Returned),
    };
    Ok(event.map_or(Decision::Nothing, |event| Decision::Change {
        state: order.after(&event),
        events: vec![event.encode()],
    }))
}

/// One commit: an order that was to be confirmed at once is never there unconfirmed.
fn begin(command: &Place, at: Timestamp) -> Result<Decision<Order, Fact>, Rejection> {
    let placed = place::decide(command, at)?;
    let mut state = Order::placed(&placed);
    let mut events = vec![OrderEvent::Placed(placed).encode()];
    if command.confirm
        && let Some(confirmed) = confirm::decide(&state, at)?
    {
        let confirmed = OrderEvent::Confirmed(confirmed);
        state = state.after(&confirmed);
        events.push(confirmed.encode());
    }
    Ok(Decision::Change { events, state })
}

impl rejection::Rejection for Rejection {
    fn code(&self) -> &'static str {
        match self {
            Self::AlreadyExists => "order.already-exists",
            Self::DuplicateLine(_) => "order.duplicate-line",
            Self::AlreadyCancelled => "order.already-cancelled",
            Self::AlreadyShipped => "order.already-shipped",
            Self::NotConfirmed => "order.not-confirmed",
            Self::NotShipped => "order.not-shipped",
            Self::NotDelivered => "order.not-delivered",
            Self::ReturnWindowClosed(_) => "order.return-window-closed",
            Self::NotFound => "order.not-found",
        }
    }
}
