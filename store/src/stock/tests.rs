//! What a stock answers to each command, from each state.

use events::stock::MOST_RESERVATIONS;
use highwater::value::MAX;

use super::fixtures::*;

mod receive {
    use super::*;

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
}

mod reserve {
    use super::*;

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
        given(before).when(reserve(2, MAX)).then_rejected_with(
            "stock.insufficient",
            "available",
            9,
        );
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
        given_all(&before).when(reserve(u16::MAX, 1)).then([reserved(
            u16::MAX,
            1,
            (most + 2, most),
        )]);
    }
}

mod release {
    use super::*;

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
}

mod ship {
    use super::*;

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
}

mod adjust {
    use super::*;

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
}
