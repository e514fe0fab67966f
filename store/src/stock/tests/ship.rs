use crate::stock::fixtures::*;

#[test]
fn what_is_reserved_is_shipped_as_a_whole() {
    let before = [received(12, (12, 0)), reserved(1, 3, (12, 3)), reserved(2, 9, (12, 12))];
    given(before).when(ship(1)).then([shipped(1, 3, (9, 9))]);
}

#[test]
fn a_stock_that_is_empty_is_still_there() {
    let before = [received(12, (12, 0)), reserved(1, 12, (12, 12)), shipped(1, 12, (0, 0))];
    given(before.clone()).when(receive(1)).then([received(1, (1, 0))]);
    given(before).when(reserve(2, 1)).then_rejected_with("stock.insufficient", "available", 0);
}

#[test]
fn nothing_is_shipped_that_was_not_reserved() {
    let before = [received(12, (12, 0)), reserved(2, 3, (12, 3))];
    given(before).when(ship(1)).then_rejected("stock.not-reserved");
}

#[test]
fn what_is_shipped_is_not_shipped_again() {
    let before = [received(12, (12, 0)), reserved(1, 3, (12, 3)), shipped(1, 3, (9, 0))];
    given(before).when(ship(1)).then_rejected("stock.not-reserved");
}

#[test]
fn what_is_released_is_not_shipped() {
    let before = [received(12, (12, 0)), reserved(1, 3, (12, 3)), released(1, 3, (12, 0))];
    given(before).when(ship(1)).then_rejected("stock.not-reserved");
}
