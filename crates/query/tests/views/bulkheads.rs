//! A request that waits, or that reads much, keeps no other out.

use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::join_all;

use crate::{
    answers::position,
    documented::Row,
    served::{BOOK, Served, VOUCHER},
};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn slow_lists_leave_connections_for_reads_and_for_readiness() {
    // Nothing ends a list but the lock below, nothing waits long for a connection, and one peer
    // sends all.
    let settings = [
        ("QUERY__LISTS__WAITING", "4"),
        ("QUERY__LISTS__WAITING_MS", "500"),
        ("QUERY__DATABASE__STATEMENT_TIMEOUT_MS", "60000"),
        ("QUERY__DATABASE__ACQUIRE_TIMEOUT_MS", "500"),
        ("HTTP__PEER_SHARE_PERCENT", "100"),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let served = Served::with("slow_lists", settings).await;
    let mut locked = served.owner.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE vouchers IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *locked)
        .await
        .expect("a lock");
    let lists = join_all((0..20).map(|_| served.get("/v1/vouchers", &[])));
    let meanwhile = async {
        // As many lists are in the database as may be.
        tokio::time::timeout(PATIENCE, served.sessions_that_wait(3)).await.expect("in time");
        let book = served.get(&format!("/v1/books/{BOOK}"), &[]).await;
        assert_eq!(book.status, StatusCode::OK, "{}", book.body);
        let report = served.health.report().await;
        assert!(report.ready(), "{report:?}");
        // Those that wait for their turn are told when it does not come.
        tokio::time::sleep(Duration::from_millis(600)).await;
        locked.rollback().await.expect("unlocked");
    };
    let (lists, ()) = tokio::join!(lists, meanwhile);
    let read = lists.iter().filter(|list| list.status == StatusCode::OK).count();
    assert_eq!((read, lists.len()), (3, 20));
    for refused in lists.iter().filter(|list| list.status != StatusCode::OK) {
        assert_eq!(
            (refused.problem(), refused.body["class"].as_str()),
            ((503, "overloaded"), Some("lists")),
            "{}",
            refused.body
        );
        assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    }
    assert_eq!(served.get("/v1/vouchers", &[]).await.status, StatusCode::OK);
    let row = Row {
        id: "W2b",
        situation: "20 lists at once, each of which Postgres does not answer for a while",
        answer: "as many as half of the connections read, some wait their turn, the rest is 503 \
                 `overloaded` with `class` `lists`; a resource \
                 that is not in memory is 200, and the process is ready",
        test: (file!(), "slow_lists_leave_connections_for_reads_and_for_readiness"),
    };
    row.check();
}

#[tokio::test]
async fn who_waits_for_a_position_or_an_outcome_has_no_permit_meanwhile() {
    let one = [
        ("HTTP__READS__LIMIT", "1"),
        ("HTTP__READS__WAITING", "8"),
        ("HTTP__READS__WAITING_MS", "20000"),
    ];
    let served = Served::with(
        "without_permits",
        one.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
    )
    .await;
    let later = position("voucher", VOUCHER, 43);
    let voucher = format!("/v1/vouchers/{VOUCHER}");
    let wait = [("highwater-min-position", later.as_str()), ("prefer", "wait=20")];
    let waiting = [served.get(&voucher, &wait), served.get("/v1/vouchers", &wait)];
    let operation =
        served.get("/v1/operations/0000000f-0000-0000-0000-00000000000f", &[("prefer", "wait=2")]);
    let meanwhile = async {
        // Behind those that wait, and long before they have waited enough.
        let read = tokio::time::timeout(Duration::from_secs(10), served.get(&voucher, &[]))
            .await
            .expect("in time");
        assert_eq!(read.status, StatusCode::OK, "{}", read.body);
        served.project("UPDATE vouchers SET version = 3", 43, true).await;
    };
    let (waited, operation, ()) = tokio::join!(join_all(waiting), operation, meanwhile);
    for waited in &waited {
        assert_eq!(waited.status, StatusCode::OK, "{}", waited.body);
    }
    assert_eq!(operation.problem(), (404, "operation.unknown"));
}

#[tokio::test]
async fn a_list_that_waits_reads_its_rows_when_they_are_there() {
    let served =
        Served::new("lists_that_wait", &[("DATABASE__STATEMENT_TIMEOUT_MS", "60000")]).await;
    let later = position("voucher", VOUCHER, 43);
    let mut locked = served.owner.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE vouchers IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *locked)
        .await
        .expect("a lock");
    let headers = [("highwater-min-position", later.as_str()), ("prefer", "wait=0")];
    let list = served.get("/v1/vouchers", &headers);
    let list = tokio::time::timeout(PATIENCE, list).await.expect("without the rows");
    assert_eq!(list.problem(), (504, "position.not-reached"));
    assert!(
        list.header("highwater-position").contains("42"),
        "{}",
        list.header("highwater-position")
    );
    locked.rollback().await.expect("unlocked");
    let row = Row {
        id: "W3b",
        situation: "lists, as many as come, for a position far in the future",
        answer: "each costs a look at the checkpoints; the rows are read when the position is \
                 reached, or for `Prefer: stale`",
        test: (file!(), "a_list_that_waits_reads_its_rows_when_they_are_there"),
    };
    row.check();
}
