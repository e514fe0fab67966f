use events::stock::MOST_RESERVATIONS;
use highwater::value::MAX;

use crate::stock::fixtures::*;

#[test]
fn units_are_reserved_and_stay_on_hand() {
    given([received(12, (12, 0))]).when(reserve(1, 3)).then([reserved(1, 3, (12, 3))]);
}

#[test]
fn the_last_unit_can_be_reserved_and_no_further_one() {
    let before = [received(12, (12, 0)), reserved(1, 3, (12, 3))];
    given(before.clone()).when(reserve(2, 9)).then([reserved(2, 9, (12, 12))]);
    given(before.clone()).when(reserve(2, 10)).then_rejected_with(
        "stock.insufficient",
        "available",
        9,
    );
    given(before).when(reserve(2, MAX)).then_rejected_with("stock.insufficient", "available", 9);
    let all = [received(12, (12, 0)), reserved(1, 12, (12, 12))];
    given(all).when(reserve(2, 1)).then_rejected("stock.insufficient");
}

#[test]
fn an_order_has_one_reservation_whatever_it_asks_for() {
    for quantity in [3, 1, 9, 10] {
        let before = [received(12, (12, 0)), reserved(1, 3, (12, 3))];
        given(before).when(reserve(1, quantity)).then_rejected("stock.already-reserved");
    }
}

#[test]
fn an_order_whose_reservation_is_gone_may_reserve_again() {
    let before = [received(12, (12, 0)), reserved(1, 3, (12, 3))];
    let [a, b] = before.clone();
    given([a, b, released(1, 3, (12, 0))]).when(reserve(1, 4)).then([reserved(1, 4, (12, 4))]);
    let [a, b] = before;
    given([a, b, shipped(1, 3, (9, 0))]).when(reserve(1, 4)).then([reserved(1, 4, (9, 4))]);
}

#[test]
fn the_number_of_reservations_is_bounded() {
    let most = i64::try_from(MOST_RESERVATIONS).expect("small");
    let mut before = vec![received(most + 2, (most + 2, 0))];
    before.extend(
        (1..).take(MOST_RESERVATIONS).map(|n: u16| reserved(n, 1, (most + 2, i64::from(n)))),
    );
    given_all(&before).when(reserve(u16::MAX, 1)).then_rejected("stock.too-many-reservations");
    given_all(&before).when(reserve(u16::MAX, 3)).then_rejected("stock.insufficient");
    given_all(&before).when(reserve(7, 1)).then_rejected("stock.already-reserved");
    before.push(released(7, 1, (most + 2, most - 1)));
    given_all(&before).when(reserve(u16::MAX, 1)).then([reserved(u16::MAX, 1, (most + 2, most))]);
}
