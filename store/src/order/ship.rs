//! `ship`: a confirmed order leaves the house.

use events::order::{Ship, Shipped};
use highwater::prelude::*;

use super::{Order, OrderRejection, Stage};

pub fn decide(order: &Order, command: &Ship, at: Timestamp) -> Decision<Order> {
    match order.stage {
        Stage::Placed => reject(OrderRejection::NotConfirmed),
        Stage::Confirmed => {
            let Ship { carrier, tracking } = command.clone();
            accept(Shipped { carrier, tracking, shipped_at: at })
        }
        Stage::Shipped => nothing(),
        Stage::Delivered { .. } | Stage::Returned => reject(OrderRejection::AlreadyShipped),
        Stage::Cancelled => reject(OrderRejection::AlreadyCancelled),
    }
}

#[cfg(test)]
mod tests {
    use events::order::OrderEvent;
    use serde_json::json;

    use super::*;
    use crate::order::fixtures::*;
    use highwater::testing::NOW;

    fn shipped_now(carrier: Option<&str>, tracking: Option<&str>) -> OrderEvent {
        let text = |text: Option<&str>| text.map(|text| text.try_into().expect("short"));
        OrderEvent::Shipped(Shipped {
            carrier: text(carrier),
            tracking: text(tracking),
            shipped_at: NOW,
        })
    }

    #[test]
    fn a_confirmed_order_is_shipped() {
        given([placed(), confirmed()]).when(ship()).then([shipped_now(None, None)]);
    }

    #[test]
    fn carrier_and_tracking_are_kept() {
        let ship = command("ship", json!({ "carrier": "DHL", "tracking": "0034" }));
        given([placed(), confirmed()]).when(ship).then([shipped_now(Some("DHL"), Some("0034"))]);
    }

    #[test]
    fn shipping_twice_changes_nothing_by_whatever_carrier() {
        let ship = command("ship", json!({ "carrier": "DHL" }));
        given([placed(), confirmed(), shipped()]).when(ship).then_nothing();
    }

    #[test]
    fn a_placed_order_is_confirmed_first() {
        given([placed()]).when(ship()).then_rejected("order.not-confirmed");
    }

    #[test]
    fn a_delivered_order_is_not_shipped_again() {
        given([placed(), confirmed(), shipped(), delivered()])
            .when(ship())
            .then_rejected("order.already-shipped");
    }

    #[test]
    fn a_returned_order_is_not_shipped_again() {
        given([placed(), confirmed(), shipped(), delivered(), returned()])
            .when(ship())
            .then_rejected("order.already-shipped");
    }

    #[test]
    fn a_cancelled_order_is_not_shipped() {
        given([placed(), cancelled()]).when(ship()).then_rejected("order.already-cancelled");
    }
}
