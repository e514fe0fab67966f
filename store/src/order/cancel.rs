//! `cancel`: an order that is not shipped is given up.

use events::order::{Cancelled, Reason};
use highwater::prelude::*;

use super::{Order, OrderRejection, Stage};

pub fn decide(order: &Order, command: &Reason, at: Timestamp) -> Decision<Order> {
    match order.stage {
        Stage::Placed | Stage::Confirmed => accept(Cancelled {
            reason: command.reason.clone(),
            cancelled_at: at,
            placed_at: order.placed_at,
            departments: order.departments.clone(),
        }),
        Stage::Shipped | Stage::Delivered { .. } | Stage::Returned => {
            reject(OrderRejection::AlreadyShipped)
        }
        Stage::Cancelled => nothing(),
    }
}

#[cfg(test)]
mod tests {
    use crate::order::fixtures::*;
    use highwater::testing::NOW;

    #[test]
    fn a_placed_order_is_cancelled_and_says_what_was_in_it() {
        given([placed()]).when(cancel()).then([cancelled_at(NOW)]);
    }

    #[test]
    fn a_confirmed_order_is_cancelled_too() {
        given([placed(), confirmed()]).when(cancel()).then([cancelled_at(NOW)]);
    }

    #[test]
    fn cancelling_twice_changes_nothing() {
        given([placed(), cancelled()]).when(cancel()).then_nothing();
    }

    #[test]
    fn a_shipped_order_is_not_cancelled() {
        given([placed(), confirmed(), shipped()])
            .when(cancel())
            .then_rejected("order.already-shipped");
    }

    #[test]
    fn a_delivered_order_is_not_cancelled() {
        given([placed(), confirmed(), shipped(), delivered()])
            .when(cancel())
            .then_rejected("order.already-shipped");
    }

    #[test]
    fn a_returned_order_is_not_cancelled() {
        given([placed(), confirmed(), shipped(), delivered(), returned()])
            .when(cancel())
            .then_rejected("order.already-shipped");
    }
}
