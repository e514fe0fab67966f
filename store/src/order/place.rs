//! `place`: an order comes to be. Whether its products exist is not asked.

use std::collections::HashSet;

use events::order::{Confirmed, Place, Placed};
use highwater::prelude::*;

use super::{Order, OrderRejection};

pub fn decide(command: &Place, at: Timestamp) -> Decision<Order> {
    let mut seen = HashSet::with_capacity(command.lines.len());
    if let Some(twice) = command.lines.iter().find(|line| !seen.insert(line.product_id)) {
        return reject(OrderRejection::DuplicateLine(twice.product_id));
    }
    let placed = Placed {
        customer_id: command.customer_id,
        currency: command.currency,
        lines: command.lines.clone(),
        total_minor: command.lines.total_minor(),
        units: command.lines.units(),
        placed_at: command.placed_at.unwrap_or(at),
    };
    if command.confirm == Some(true) {
        // One commit: an order that was to be confirmed at once is never there unconfirmed.
        return accept_all([placed.into(), Confirmed { confirmed_at: at }.into()]);
    }
    accept(placed)
}

#[cfg(test)]
mod tests {
    use events::order::{Confirmed, OrderEvent};
    use serde_json::json;

    use super::*;
    use crate::order::fixtures::*;
    use highwater::testing::NOW;

    #[test]
    fn an_order_is_placed_at_the_time_of_the_decision() {
        given([]).when(place()).then([placed_at(NOW)]);
    }

    #[test]
    fn an_order_is_placed_and_confirmed_at_once() {
        let confirmed = OrderEvent::Confirmed(Confirmed { confirmed_at: NOW });
        given([]).when(place_v2(Some(true))).then([placed_at(NOW), confirmed]);
    }

    #[test]
    fn an_order_is_confirmed_at_once_only_where_that_is_asked_for() {
        for confirm in [None, Some(false)] {
            given([]).when(place_v2(confirm)).then([placed_at(NOW)]);
        }
    }

    #[test]
    fn an_order_that_is_not_placed_is_not_confirmed_either() {
        given([placed()]).when(place_v2(Some(true))).then_rejected("order.already-exists");
    }

    #[test]
    fn an_import_keeps_its_own_time() {
        let mut body = place_body();
        body["placed_at"] = json!("2017-01-01T11:53:26Z");
        let then = Timestamp::try_from("2017-01-01T11:53:26Z").expect("a time");
        given([]).when(command("place", body)).then([placed_at(then)]);
    }

    #[test]
    fn a_product_is_on_one_line_only() {
        let mut body = place_body();
        body["lines"][2]["product_id"] =
            json!(body["lines"][0]["product_id"].as_str().map(str::to_uppercase));
        given([]).when(command("place", body)).then_rejected("order.duplicate-line");
    }

    #[test]
    fn an_order_is_placed_once_whatever_became_of_it() {
        let lives: [&[OrderEvent]; 3] =
            [&[], &[confirmed(), shipped(), delivered(), returned()], &[cancelled()]];
        for life in lives {
            let events: Vec<OrderEvent> = [placed()].iter().chain(life).cloned().collect();
            given_all(&events).when(place()).then_rejected("order.already-exists");
        }
    }

    #[test]
    fn that_the_order_exists_is_said_before_anything_else() {
        let mut body = place_body();
        body["lines"][2]["product_id"] = body["lines"][0]["product_id"].clone();
        given([placed()]).when(command("place", body)).then_rejected("order.already-exists");
    }
}
