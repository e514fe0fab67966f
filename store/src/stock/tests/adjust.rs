use highwater::value::MAX;

use crate::stock::fixtures::*;

#[test]
fn units_are_added_and_taken_away() {
    let before = [received(12, (12, 0)), reserved(1, 3, (12, 3))];
    given(before.clone()).when(adjust(5)).then([adjusted(5, (17, 3))]);
    given(before).when(adjust(-5)).then([adjusted(-5, (7, 3))]);
}

#[test]
fn everything_that_is_available_can_be_taken_away_and_nothing_that_is_reserved() {
    let before = [received(12, (12, 0)), reserved(1, 3, (12, 3))];
    given(before.clone()).when(adjust(-9)).then([adjusted(-9, (3, 3))]);
    given(before.clone()).when(adjust(-10)).then_rejected_with(
        "stock.insufficient",
        "available",
        9,
    );
    given(before).when(adjust(-MAX)).then_rejected("stock.insufficient");
}

#[test]
fn by_nothing_nothing_changes() {
    given([received(12, (12, 0))]).when(adjust(0)).then_nothing();
}

#[test]
fn no_more_comes_to_be_on_hand_than_every_reader_can_count() {
    given([received(12, (12, 0))]).when(adjust(MAX - 12)).then([adjusted(MAX - 12, (MAX, 0))]);
    given([received(12, (12, 0))]).when(adjust(MAX - 11)).then_rejected("stock.too-large");
    given([received(MAX, (MAX, 0))]).when(adjust(MAX)).then_rejected("stock.too-large");
}
