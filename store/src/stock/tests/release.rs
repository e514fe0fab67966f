use crate::stock::fixtures::*;

#[test]
fn what_is_released_can_be_reserved_by_others() {
    let before = [received(12, (12, 0)), reserved(1, 3, (12, 3)), reserved(2, 9, (12, 12))];
    given(before).when(release(1)).then([released(1, 3, (12, 9))]);
    let before = [received(12, (12, 0)), reserved(1, 12, (12, 12)), released(1, 12, (12, 0))];
    given(before).when(reserve(2, 12)).then([reserved(2, 12, (12, 12))]);
}

#[test]
fn nothing_is_released_that_was_not_reserved() {
    let before = [received(12, (12, 0)), reserved(2, 3, (12, 3))];
    given(before).when(release(1)).then_rejected("stock.not-reserved");
}

#[test]
fn what_is_released_is_not_released_again() {
    let before = [received(12, (12, 0)), reserved(1, 3, (12, 3)), released(1, 3, (12, 0))];
    given(before).when(release(1)).then_rejected("stock.not-reserved");
}

#[test]
fn what_is_shipped_is_not_released() {
    let before = [received(12, (12, 0)), reserved(1, 3, (12, 3)), shipped(1, 3, (9, 0))];
    given(before).when(release(1)).then_rejected("stock.not-reserved");
}
