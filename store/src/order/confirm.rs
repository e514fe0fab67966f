//! `confirm`: the shop will deliver a placed order.

use events::{order::Confirmed, timestamp::Timestamp};

use super::{Order, Rejection, Stage};

pub fn decide(order: &Order, at: Timestamp) -> Result<Option<Confirmed>, Rejection> {
    match order.stage {
        Stage::Placed => Ok(Some(Confirmed { confirmed_at: at })),
        Stage::Confirmed => Ok(None),
        Stage::Shipped | Stage::Delivered { .. } | Stage::Returned => {
            Err(Rejection::AlreadyShipped)
        }
        Stage::Cancelled => Err(Rejection::AlreadyCancelled),
    }
}

#[cfg(test)]
mod tests {
    use events::order::OrderEvent;

    use super::super::fixtures::*;
    use super::*;
    use crate::scenario::NOW;

    #[test]
    fn a_placed_order_is_confirmed() {
        given([placed()])
            .when(confirm())
            .then([OrderEvent::Confirmed(Confirmed { confirmed_at: Timestamp(NOW) })]);
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
