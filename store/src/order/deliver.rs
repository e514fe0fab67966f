//! `deliver`: a shipped order has arrived.

use events::order::Delivered;
use highwater::prelude::*;

use super::{Order, OrderRejection, Stage};

pub fn decide(order: &Order, at: Timestamp) -> Decision<Order> {
    match order.stage {
        Stage::Placed | Stage::Confirmed => reject(OrderRejection::NotShipped),
        Stage::Shipped => accept(Delivered { delivered_at: at }),
        Stage::Delivered { .. } | Stage::Returned => nothing(),
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
    fn a_shipped_order_is_delivered() {
        given([placed(), confirmed(), shipped()])
            .when(deliver())
            .then([OrderEvent::Delivered(Delivered { delivered_at: NOW })]);
    }

    #[test]
    fn delivering_twice_changes_nothing() {
        given([placed(), confirmed(), shipped(), delivered()]).when(deliver()).then_nothing();
    }

    #[test]
    fn a_returned_order_was_delivered() {
        given([placed(), confirmed(), shipped(), delivered(), returned()])
            .when(deliver())
            .then_nothing();
    }

    #[test]
    fn a_placed_order_is_shipped_first() {
        given([placed()]).when(deliver()).then_rejected("order.not-shipped");
    }

    #[test]
    fn a_confirmed_order_is_shipped_first() {
        given([placed(), confirmed()]).when(deliver()).then_rejected("order.not-shipped");
    }

    #[test]
    fn a_cancelled_order_is_not_delivered() {
        given([placed(), cancelled()]).when(deliver()).then_rejected("order.already-cancelled");
    }
}
