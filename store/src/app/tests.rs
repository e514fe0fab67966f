//! The store as a whole, in the process of a test: what its rules decide is what its rows show.

use std::time::Duration;

use events::order::OrderCommand;
use highwater::testing::{NOW, Running, rows_after};
use uuid::Uuid;

use crate::{
    Order, app,
    order::fixtures::{cancel, cancelled_at, confirm, confirmed_at, place, placed_at},
    projections::orders::OrderRow,
};

/// Until it is decided: where the log failed, the command may be in it all the same, and is then
/// refused when it is sent again, or finds nothing to do.
async fn send(app: &Running, id: Uuid, command: OrderCommand) {
    for _ in 0..200 {
        let answer = app.send::<Order>(id, command.clone()).await;
        match (answer.status, answer.code()) {
            (200 | 201, _) | (409, Some("order.already-exists")) => return,
            (503, _) => {}
            (status, _) => panic!("{status} {}", answer.body),
        }
    }
    panic!("the log never takes it");
}

#[tokio::test]
async fn the_row_of_an_order_is_what_its_events_say() {
    let app = Running::start(app()).await.expect("it starts");
    let [kept, given_up] = [1, 2].map(Uuid::from_u128);
    for id in [kept, given_up] {
        send(&app, id, place()).await;
    }
    let again = app.send::<Order>(kept, place()).await;
    assert_eq!((again.status, again.code()), (409, Some("order.already-exists")));

    let hour = Duration::from_secs(60 * 60);
    app.advance(hour);
    send(&app, kept, confirm()).await;
    assert_eq!(app.send::<Order>(given_up, cancel()).await.status, 428);
    assert_eq!(app.send_at::<Order>(given_up, 1, cancel()).await.status, 200);
    let later = NOW.after(hour);
    let confirmed = rows_after::<OrderRow>([placed_at(NOW), confirmed_at(later)]);
    assert_eq!(app.row::<OrderRow>(kept).await, Some(confirmed));
    let cancelled = rows_after::<OrderRow>([placed_at(NOW), cancelled_at(later)]);
    assert_eq!(app.row::<OrderRow>(given_up).await, Some(cancelled));
    app.stop().await.expect("it stops");
}

#[tokio::test]
async fn on_a_log_that_fails_by_a_seed_every_order_has_its_row() {
    let app = Running::start_with_faults(app(), 14).await.expect("it starts");
    let all: Vec<Uuid> = (1..=20).map(Uuid::from_u128).collect();
    for id in &all {
        send(&app, *id, place()).await;
        send(&app, *id, confirm()).await;
    }
    let expected = || -> OrderRow { rows_after([placed_at(NOW), confirmed_at(NOW)]) };
    for id in all {
        assert_eq!(app.row::<OrderRow>(id).await, Some(expected()), "{id}");
    }
    app.stop().await.expect("it stops");
}
