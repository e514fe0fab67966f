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
pub(crate) mod fixtures;
mod place;
mod r#return;
mod ship;

use events::{
    order::{Departments, OrderCommand, OrderEvent},
    product::ProductId,
};
use highwater::prelude::*;

/// What an order has come to, as far as decisions ask.
#[derive(State)]
#[state(format = 1)]
pub struct Order {
    pub stage: Stage,
    pub placed_at: Timestamp,
    /// What a cancellation takes back.
    pub departments: Departments,
}

#[derive(Copy, Data)]
pub enum Stage {
    Placed,
    Confirmed,
    Shipped,
    Delivered { delivered_at: Timestamp },
    Returned,
    Cancelled,
}

#[derive(Rejection)]
pub enum OrderRejection {
    #[rejection("duplicate-line", "product {0} is on more than one line")]
    DuplicateLine(ProductId),
    #[rejection("already-cancelled", "the order is cancelled")]
    AlreadyCancelled,
    #[rejection("already-shipped", "the order is shipped")]
    AlreadyShipped,
    #[rejection("not-confirmed", "the order is not confirmed")]
    NotConfirmed,
    #[rejection("not-shipped", "the order is not shipped")]
    NotShipped,
    #[rejection("not-delivered", "the order is not delivered")]
    NotDelivered,
    #[rejection("return-window-closed", "the order could be returned until {0}")]
    ReturnWindowClosed(Timestamp),
}

impl Aggregate for Order {
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Rejection = OrderRejection;

    fn decide(order: Option<&Self>, command: &OrderCommand, context: &Context) -> Decision<Self> {
        let (at, order) = (context.time(), || order.ok_or(Missing));
        match command {
            OrderCommand::Place(command) => place::decide(command, at),
            OrderCommand::Confirm => confirm::decide(order()?, at),
            OrderCommand::Cancel(command) => cancel::decide(order()?, command, at),
            OrderCommand::Ship(command) => ship::decide(order()?, command, at),
            OrderCommand::Deliver => deliver::decide(order()?, at),
            OrderCommand::Return(command) => r#return::decide(order()?, command, at),
        }
    }

    fn evolve(order: Option<&Self>, event: &OrderEvent) -> Result<Self, Unreadable> {
        let stage = match event {
            OrderEvent::Placed(event) if order.is_none() => {
                return Ok(Self {
                    stage: Stage::Placed,
                    placed_at: event.placed_at,
                    departments: event.lines.by_department(),
                });
            }
            OrderEvent::Placed(_) => return Err(event.unexpected("the order was placed before")),
            OrderEvent::Confirmed(_) => Stage::Confirmed,
            OrderEvent::Cancelled(_) => Stage::Cancelled,
            OrderEvent::Shipped(_) => Stage::Shipped,
            OrderEvent::Delivered(event) => Stage::Delivered { delivered_at: event.delivered_at },
            OrderEvent::Returned(_) => Stage::Returned,
        };
        let before = order.ok_or_else(|| event.unexpected("there is no order before it"))?;
        Ok(Self { stage, ..before.clone() })
    }
}
