//! `return`: a delivered order comes back, within the window.

use events::{
    order::{Return, Returned},
    timestamp::Timestamp,
};
use highwater_protocol::time::Micros;

use super::{Order, Rejection, Stage};

/// 30 days, the last microsecond included.
const WINDOW_MICROS: i64 = 30 * 24 * 60 * 60 * 1_000_000;

pub fn decide(
    order: &Order,
    command: &Return,
    at: Timestamp,
) -> Result<Option<Returned>, Rejection> {
    match order.stage {
        Stage::Placed | Stage::Confirmed | Stage::Shipped => Err(Rejection::NotDelivered),
        Stage::Delivered { delivered_at } => {
            let until = delivered_at.micros().saturating_add(WINDOW_MICROS);
            if at.micros() > until {
                return Err(Rejection::ReturnWindowClosed(Micros(until)));
            }
            Ok(Some(Returned { reason: command.reason.clone(), returned_at: at }))
        }
        Stage::Returned => Ok(None),
        Stage::Cancelled => Err(Rejection::AlreadyCancelled),
    }
}

#[cfg(test)]
mod tests {
    use events::order::OrderEvent;

    use super::super::fixtures::*;
    use super::*;
    use crate::scenario::DAY_MICROS;

    fn returned_at(at: Micros) -> OrderEvent {
        OrderEvent::Returned(Returned {
            reason: "does not fit".try_into().expect("short"),
            returned_at: Timestamp(at),
        })
    }

    /// The last moment of the window that opens with [`delivered`].
    const LAST: Micros = Micros(EARLIER.0.0 + 30 * DAY_MICROS);

    #[test]
    fn a_delivered_order_comes_back() {
        let life = [placed(), confirmed(), shipped(), delivered()];
        given(life.clone()).when_at(EARLIER.0, take_back()).then([returned_at(EARLIER.0)]);
        given(life).when_at(LAST, take_back()).then([returned_at(LAST)]);
    }

    #[test]
    fn after_30_days_it_does_not() {
        let life = [placed(), confirmed(), shipped(), delivered()];
        given(life)
            .when_at(Micros(LAST.0 + 1), take_back())
            .then_rejected("order.return-window-closed");
    }

    #[test]
    fn returning_twice_changes_nothing_whenever_it_is() {
        let life = [placed(), confirmed(), shipped(), delivered(), returned()];
        given(life).when_at(Micros(LAST.0 + 1), take_back()).then_nothing();
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
