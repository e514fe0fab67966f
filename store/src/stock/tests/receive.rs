use highwater::value::MAX;

use crate::stock::fixtures::*;

#[test]
fn a_stock_begins_with_what_is_received() {
    given([]).when(receive(12)).then([received(12, (12, 0))]);
}

#[test]
fn what_is_received_is_added() {
    let before = [received(12, (12, 0)), reserved(1, 3, (12, 3))];
    given(before).when(receive(5)).then([received(5, (17, 3))]);
}

#[test]
fn the_same_again_is_added_again() {
    given([received(12, (12, 0))]).when(receive(12)).then([received(12, (24, 0))]);
}

#[test]
fn no_more_is_received_than_every_reader_can_count() {
    given([]).when(receive(MAX)).then([received(MAX, (MAX, 0))]);
    given([received(MAX - 1, (MAX - 1, 0))]).when(receive(1)).then([received(1, (MAX, 0))]);
    given([received(MAX, (MAX, 0))]).when(receive(1)).then_rejected("stock.too-large");
}
