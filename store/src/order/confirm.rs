//! `confirm`: the shop will deliver a placed order.

use events::order::Confirmed;
use highwater::prelude::*;

use super::{Order, OrderRejection, Stage};

pub fn decide(order: &Order, at: Timestamp) -> Decision<Order> {
    match order.stage {
        Stage::Placed => accept(Confirmed { confirmed_at: at }),
        Stage::Confirmed => nothing(),
        Stage::Shipped | Stage::Delivered { .. } | Stage::Returned => {
            reject(OrderRejection::AlreadyShipped)
        }
        Stage::Cancelled => reject(OrderRejection::AlreadyCancelled),
    }
}

#[cfg(test)]
mod tests {
    use events::order::OrderEvent;

    use super::*;
    use crate::order::fixtures::*;
    use highwater::testing::NOW;

    #[test]
    fn a_placed_order_is_confirmed() {
        given([placed()])
            .when(confirm())
            .then([OrderEvent::Confirmed(Confirmed { confirmed_at: NOW })]);
    }

    #[test]
    fn confirming_twice_changes_nothing() {
        given([placed(), confirmed()]).when(confirm()).then_nothing();
    }

    #[test]
    fn a_shipped_order_is_not_confirmed() {
        given([placed(), confirmed(), shipped()])
            .when(confirm())
            .then_rejected("order.already-shipped");
    }

    #[test]
    fn a_delivered_order_is_not_confirmed() {
        given([placed(), confirmed(), shipped(), delivered()])
            .when(confirm())
            .then_rejected("order.already-shipped");
    }

    #[test]
    fn a_returned_order_is_not_confirmed() {
        given([placed(), confirmed(), shipped(), delivered(), returned()])
            .when(confirm())
            .then_rejected("order.already-shipped");
    }

    #[test]
    fn a_cancelled_order_is_not_confirmed() {
        given([placed(), cancelled()]).when(confirm()).then_rejected("order.already-cancelled");
    }
}
