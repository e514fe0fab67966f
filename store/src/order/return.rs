//! `return`: a delivered order comes back, within the window.

use std::time::Duration;

use events::order::{Reason, Returned};
use highwater::prelude::*;

use super::{Order, OrderRejection, Stage};

/// 30 days, the last microsecond included.
const WINDOW: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub fn decide(order: &Order, command: &Reason, at: Timestamp) -> Decision<Order> {
    match order.stage {
        Stage::Placed | Stage::Confirmed | Stage::Shipped => reject(OrderRejection::NotDelivered),
        Stage::Delivered { delivered_at } => {
            let until = delivered_at.after(WINDOW);
            if at > until {
                return reject(OrderRejection::ReturnWindowClosed(until));
            }
            accept(Returned { reason: command.reason.clone(), returned_at: at })
        }
        Stage::Returned => nothing(),
        Stage::Cancelled => reject(OrderRejection::AlreadyCancelled),
    }
}

#[cfg(test)]
mod tests {
    use events::order::OrderEvent;

    use super::*;
    use crate::order::fixtures::*;

    fn returned_at(at: Timestamp) -> OrderEvent {
        OrderEvent::Returned(Returned {
            reason: "does not fit".try_into().expect("short"),
            returned_at: at,
        })
    }

    /// The last moment of the window that opens with [`delivered`].
    const LAST: Timestamp = Timestamp::from_micros(EARLIER.micros() + 30 * DAY_MICROS);

    #[test]
    fn a_delivered_order_comes_back() {
        let life = [placed(), confirmed(), shipped(), delivered()];
        given(life.clone()).when_at(EARLIER, take_back()).then([returned_at(EARLIER)]);
        given(life).when_at(LAST, take_back()).then([returned_at(LAST)]);
    }

    #[test]
    fn after_30_days_it_does_not() {
        let life = [placed(), confirmed(), shipped(), delivered()];
        given(life)
            .when_at(LAST.after(Duration::from_micros(1)), take_back())
            .then_rejected("order.return-window-closed");
    }

    #[test]
    fn returning_twice_changes_nothing_whenever_it_is() {
        let life = [placed(), confirmed(), shipped(), delivered(), returned()];
        given(life).when_at(LAST.after(Duration::from_micros(1)), take_back()).then_nothing();
    }

    #[test]
    fn a_placed_order_is_delivered_first() {
        given([placed()]).when(take_back()).then_rejected("order.not-delivered");
    }

    #[test]
    fn a_confirmed_order_is_delivered_first() {
        given([placed(), confirmed()]).when(take_back()).then_rejected("order.not-delivered");
    }

    #[test]
    fn a_shipped_order_is_delivered_first() {
        given([placed(), confirmed(), shipped()])
            .when(take_back())
            .then_rejected("order.not-delivered");
    }

    #[test]
    fn a_cancelled_order_does_not_come_back() {
        given([placed(), cancelled()]).when(take_back()).then_rejected("order.already-cancelled");
    }
}
