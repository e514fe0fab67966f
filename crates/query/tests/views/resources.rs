//! What a reader sees, over HTTP: one resource here, lists and what is kept in memory below.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "views/bulkheads.rs"]
mod bulkheads;
#[path = "views/cache.rs"]
mod cache;
#[path = "views/degraded.rs"]
mod degraded;
#[path = "../../tests/support/documented.rs"]
mod documented;
#[path = "views/full.rs"]
mod full;
#[path = "views/lists.rs"]
mod lists;
#[path = "views/operations.rs"]
mod operations;
#[path = "views_support/own_server.rs"]
mod own_server;
#[path = "views/pooled.rs"]
mod pooled;
#[path = "../../crates/tables/tests/support/postgres.rs"]
mod postgres;
#[path = "views_support/served.rs"]
mod served;

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use serde_json::{Value, json};
use served::{Answer, ORDER, PRODUCT, Served};
use sqlx::Row;
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries of what is answered at once: one that never waits would leave the others no
/// turn.
const AGAIN: Duration = Duration::from_millis(5);

#[tokio::test]
async fn an_order_has_its_fields_its_version_and_its_position() {
    let served = Served::new("an_order", &[]).await;
    let answer = served.get(&format!("/v1/orders/{ORDER}"), &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.body,
        json!({
            "id": ORDER, "version": 2, "status": "cancelled",
            "customer_id": "00000000-0000-0000-0000-0000000000c1", "currency": "USD",
            "placed_at": "2026-11-22T21:34:24.123456Z", "units": 2, "total_minor": 300,
            "lines": [{
                "product_id": PRODUCT, "department": "GROCERY", "quantity": 2,
                "unit_price_minor": 150,
            }],
            "reason": "changed my mind",
        })
    );
    assert_eq!(answer.header("etag"), "\"g1-v2\"");
    assert_eq!(answer.header("highwater-position"), served.position("order", ORDER, 42));
    assert_eq!(answer.header("cache-control"), "private, max-age=0, must-revalidate");
    assert_eq!(answer.header("highwater-stale"), "");
}

#[tokio::test]
async fn connections_are_there_before_a_burst_needs_them() {
    let served = Served::new("connections", &[("DATABASE__CONNECTIONS", "16")]).await;
    all_sessions(&served.owner, 16).await;
}

/// All connections of query-api are there at once, but for those that somebody else in it was just
/// about to make: the pool makes one at a time by itself, and two listen. Then all.
async fn all_sessions(owner: &sqlx::PgPool, wanted: i64) {
    let first = sessions(owner).await;
    assert!((wanted - 3..=wanted).contains(&first), "{first} of {wanted}");
    let complete = async { while sessions(owner).await != wanted {} };
    tokio::time::timeout(PATIENCE, complete).await.expect("all connections are made");
}

/// Of query-api, as the server counts them.
async fn sessions(owner: &sqlx::PgPool) -> i64 {
    let counted = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
                   application_name = 'highwater-query-api'";
    sqlx::query_scalar(counted).fetch_one(owner).await.expect("sessions")
}

#[tokio::test]
async fn a_product_may_be_kept_by_shared_caches() {
    let served = Served::new("a_product", &[]).await;
    let answer = served.get(&format!("/v1/products/{PRODUCT}"), &[]).await;
    let expected = json!({
        "id": PRODUCT, "version": 1, "status": "active", "name": "Milk", "department": "GROCERY",
        "unit_price_minor": 150, "currency": "USD", "brand": "Farm",
    });
    assert_eq!((answer.status, &answer.body), (StatusCode::OK, &expected));
    for name in ["cache-control", "cdn-cache-control"] {
        assert_eq!(answer.header(name), "max-age=5, stale-while-revalidate=30, stale-if-error=300");
    }
    assert_eq!(answer.header("vary"), "highwater-min-position");
}

#[tokio::test]
async fn what_the_reader_has_already_is_not_sent_again() {
    let served = Served::new("conditional", &[]).await;
    let path = format!("/v1/orders/{ORDER}");
    for tags in ["\"g1-v2\"", "W/\"g1-v2\"", "\"g1-v1\", \"g1-v2\"", "*"] {
        let answer = served.get(&path, &[("if-none-match", tags)]).await;
        assert_eq!(
            (answer.status, answer.body, answer.headers.get("etag").map(|tag| tag.as_bytes())),
            (StatusCode::NOT_MODIFIED, Value::Null, Some(&b"\"g1-v2\""[..])),
            "{tags}"
        );
        assert_eq!(answer.headers["highwater-position"], served.position("order", ORDER, 42));
    }
    for tags in ["\"g1-v1\"", "\"v2\"", "\"g2-v2\""] {
        assert_eq!(
            served.get(&path, &[("if-none-match", tags)]).await.status,
            StatusCode::OK,
            "{tags}"
        );
    }
    assert_eq!(
        served.get(&path, &[("if-none-match", "g1-v2")]).await.problem(),
        (400, "header.invalid")
    );
}

#[tokio::test]
async fn a_query_of_another_version_than_asked_for_is_412() {
    let served = Served::new("if_match", &[]).await;
    let path = format!("/v1/orders/{ORDER}");
    for tags in ["\"g1-v2\"", "\"v2\"", "W/\"g1-v2--gzip\"", "\"g1-v1\", \"g1-v2\"", "*"] {
        assert_eq!(served.get(&path, &[("if-match", tags)]).await.status, StatusCode::OK, "{tags}");
    }
    for tags in ["\"g1-v1\"", "\"g2-v2\"", "\"v3\"", "\"anything\""] {
        let answer = served.get(&path, &[("if-match", tags), ("if-none-match", "*")]).await;
        assert_eq!(
            (answer.problem(), answer.header("etag")),
            ((412, "etag.mismatch"), "\"g1-v2\""),
            "{tags}"
        );
        assert_eq!(answer.headers["highwater-position"], served.position("order", ORDER, 42));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(
        served.get(&path, &[("if-match", "g1-v2")]).await.problem(),
        (400, "header.invalid")
    );
    // A condition is asked of what is there (RFC 9110, 13.2.1).
    let nothing = "/v1/orders/0000000a-0000-0000-0000-0000000000ff";
    assert_eq!(served.get(nothing, &[("if-match", "*")]).await.problem(), (404, "order.not-found"));
    documented::Row {
        id: "S5c",
        situation: "GET with `If-Match` of another version; of the right one as a proxy made it: \
                    `W/\"g1-v2--gzip\"`",
        answer: "412 `etag.mismatch` with the current `ETag` (RFC 9110 13.1.1); 200",
        test: (file!(), "a_query_of_another_version_than_asked_for_is_412"),
    }
    .check();
}

#[tokio::test]
async fn ids_are_hyphenated_uuids_in_either_case() {
    let served = Served::new("ids", &[]).await;
    let upper = served.get(&format!("/v1/orders/{}", ORDER.to_uppercase()), &[]).await;
    assert_eq!((upper.status, &upper.body["id"]), (StatusCode::OK, &json!(ORDER)));
    for id in [
        "1",
        "0000000000000000000000000000000a",
        "{0000000a-0000-0000-0000-000000000001}",
        "%FF",
        "%00",
        "urn:uuid:0000000a-0000-0000-0000-000000000001",
    ] {
        for collection in ["orders", "products"] {
            assert_eq!(
                served.get(&format!("/v1/{collection}/{id}"), &[]).await.problem(),
                (400, "id.malformed"),
                "{id}"
            );
        }
    }
}

#[tokio::test]
async fn an_unknown_id_is_404_up_to_a_position() {
    let served = Served::new("unknown", &[]).await;
    let unknown = "0000000f-0000-0000-0000-00000000000f";
    let order = served.get(&format!("/v1/orders/{unknown}"), &[]).await;
    assert_eq!(order.problem(), (404, "order.not-found"));
    assert_eq!(order.header("highwater-position"), served.position("order", unknown, 42));
    let product = served.get(&format!("/v1/products/{unknown}"), &[]).await;
    assert_eq!(product.problem(), (404, "product.not-found"));
    // The catalog has no checkpoint there yet.
    assert_eq!(product.header("highwater-position"), served.position("product", unknown, 0));
    assert_eq!(served.get("/v1/nothing", &[]).await.problem(), (404, "route.unknown"));
}

#[tokio::test]
async fn a_position_that_is_reached_is_answered_at_once() {
    let served = Served::new("reached", &[]).await;
    for wanted in [
        served.position("order", ORDER, 42),
        served.position("order", ORDER, 1),
        "order/0@42, order/1@42,order/7@42".to_owned(),
    ] {
        let answer = served
            .get(
                &format!("/v1/orders/{ORDER}"),
                &[("highwater-min-position", &wanted), ("prefer", "wait=20")],
            )
            .await;
        assert_eq!(
            (answer.status, answer.header("preference-applied")),
            (StatusCode::OK, "wait=20"),
            "{wanted}"
        );
    }
}

#[tokio::test]
async fn a_query_waits_for_its_position() {
    let served = Served::new("waits", &[("POSITION_POLL_MS", "60000")]).await;
    let wanted = served.position("order", ORDER, 43);
    let path = format!("/v1/orders/{ORDER}");
    let headers = [("highwater-min-position", wanted.as_str()), ("prefer", "wait=29")];
    let mut waiting = Box::pin(served.get(&path, &headers));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "answered before the position was reached");
    served.project("UPDATE orders SET version = 3", 43, true).await;
    // Far below the interval at which checkpoints are read without a notification.
    let answer = tokio::time::timeout(Duration::from_secs(25), waiting)
        .await
        .expect("woken by the notification");
    assert_eq!((answer.status, &answer.body["version"]), (StatusCode::OK, &json!(3)));
    assert_eq!(answer.header("highwater-position"), wanted);
}

#[tokio::test]
async fn a_query_gets_its_position_without_notifications_too() {
    let served = Served::new("polls", &[("POSITION_POLL_MS", "50")]).await;
    let wanted = served.position("order", ORDER, 43);
    let path = format!("/v1/orders/{ORDER}");
    let headers = [("highwater-min-position", wanted.as_str()), ("prefer", "wait=20")];
    let mut waiting = Box::pin(served.get(&path, &headers));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err());
    served.project("UPDATE orders SET version = 3", 43, false).await;
    assert_eq!(waiting.await.body["version"], 3);
}

#[tokio::test]
async fn a_position_that_is_not_reached_is_504_or_a_marked_stale_answer() {
    let served = Served::new("stale", &[]).await;
    let path = format!("/v1/orders/{ORDER}");
    let wanted = served.position("order", ORDER, 1_000);
    let late =
        served.get(&path, &[("highwater-min-position", &wanted), ("prefer", "wait=0")]).await;
    assert_eq!(late.problem(), (504, "position.not-reached"));
    assert_eq!(late.header("highwater-position"), served.position("order", ORDER, 42));

    let stale = served
        .get(&path, &[("highwater-min-position", &wanted), ("prefer", "wait=0, stale")])
        .await;
    assert_eq!((stale.status, &stale.body["version"]), (StatusCode::OK, &json!(2)));
    assert_eq!(
        (stale.header("highwater-stale"), stale.header("cache-control")),
        ("true", "no-store")
    );
    assert_eq!(stale.header("preference-applied"), "wait=0, stale");
    assert_eq!(stale.header("highwater-position"), served.position("order", ORDER, 42));

    let unknown = served
        .get(
            "/v1/orders/0000000f-0000-0000-0000-00000000000f",
            &[("highwater-min-position", "order/3@99999"), ("prefer", "wait=0, stale")],
        )
        .await;
    assert_eq!(
        (unknown.problem(), unknown.header("highwater-stale")),
        ((404, "order.not-found"), "true")
    );
}

#[tokio::test]
async fn positions_that_no_wait_can_reach_are_refused() {
    let served = Served::new("refused", &[]).await;
    for (wanted, says) in [
        ("product/1@5", "order"),
        ("order/8@5", "0 to 7"),
        ("order/1", "category/partition@offset"),
        ("order/1@-1", "category/partition@offset"),
        ("order/1@99999999999999999999", "category/partition@offset"),
        ("order/0@1, stock/1@1", "order"),
        ("", "category/partition@offset"),
    ] {
        let answer =
            served.get(&format!("/v1/orders/{ORDER}"), &[("highwater-min-position", wanted)]).await;
        assert_eq!(answer.problem(), (400, "header.invalid"), "{wanted}");
        assert!(
            answer.body["detail"].as_str().is_some_and(|detail| detail.contains(says)),
            "{wanted}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn only_so_many_may_wait() {
    let served = Served::new("full", &[("WAITING_LIMIT", "1")]).await;
    let wanted = served.position("order", ORDER, 1_000_000);
    let path = format!("/v1/orders/{ORDER}");
    let asked =
        |prefer: &'static str| [("highwater-min-position", wanted.as_str()), ("prefer", prefer)];
    let (waits, looks) = (asked("wait=20"), asked("wait=0"));
    {
        let mut waiting = std::pin::pin!(has_the_place(&served, &path, &waits));
        let refused = tokio::select! {
            refused = refused(&served, &path, &looks) => refused,
            () = &mut waiting => unreachable!("it waits for ever"),
        };
        assert!(!refused.header("retry-after").is_empty());
        // One that need not wait is answered.
        assert_eq!(served.get(&path, &[]).await.status, StatusCode::OK);
    }
    assert_eq!(served.get(&path, &looks).await.status, StatusCode::GATEWAY_TIMEOUT);
}

/// Has the one place among those who wait, for as long as this is polled: it comes again where a
/// look had it for a moment, and when it has waited for long.
async fn has_the_place(served: &Served, path: &str, headers: &[(&str, &str)]) {
    loop {
        served.get(path, headers).await;
        tokio::time::sleep(AGAIN).await;
    }
}

/// The answer to the first of these who finds no place.
async fn refused(served: &Served, path: &str, headers: &[(&str, &str)]) -> Answer {
    let refused = async {
        loop {
            let answer = served.get(path, headers).await;
            if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                assert_eq!(answer.problem(), (503, "positions.busy"));
                return answer;
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the place is taken")
}

#[tokio::test]
async fn w3_whoever_waits_for_what_is_far_ahead_keeps_nobody_out() {
    const FAR: usize = 8;
    let served = Arc::new(Served::new("far", &[("WAITING_LIMIT", &FAR.to_string())]).await);
    let (far, near) =
        (served.position("order", ORDER, u64::MAX), served.position("order", ORDER, 43));
    let shared = Arc::clone(&served);
    let get = move |position: &str, prefer: &'static str| {
        let (served, position) = (Arc::clone(&shared), position.to_owned());
        async move {
            let headers = [("highwater-min-position", position.as_str()), ("prefer", prefer)];
            served.get(&format!("/v1/orders/{ORDER}"), &headers).await
        }
    };
    let is_refused = |answer: &Answer| {
        answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.problem().1 == "positions.busy"
    };
    let mut flood = JoinSet::new();
    for _ in 0..FAR {
        let (get, far) = (get.clone(), far.clone());
        flood.spawn(async move {
            loop {
                // Refused when a look below has the last place for a moment.
                let answer = get(&far, "wait=20").await;
                if !is_refused(&answer) {
                    return answer;
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
    let full = async {
        while !is_refused(&get(&far, "wait=0").await) {
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("the places are taken");
    let honest: Vec<_> = (0..4).map(|_| tokio::spawn(get(&near, "wait=20"))).collect();
    for _ in &honest {
        let gave_way = tokio::time::timeout(PATIENCE, flood.join_next())
            .await
            .expect("in time")
            .expect("one")
            .expect("an answer");
        assert_eq!(gave_way.problem(), (504, "position.not-reached"));
    }
    served.project("UPDATE orders SET version = 3", 43, true).await;
    for honest in honest {
        let answer =
            tokio::time::timeout(PATIENCE, honest).await.expect("in time").expect("an answer");
        assert_eq!((answer.status, &answer.body["version"]), (StatusCode::OK, &json!(3)));
    }
    assert!(
        tokio::time::timeout(Duration::from_millis(50), flood.join_next()).await.is_err(),
        "the others wait on"
    );
    documented::Row {
        id: "W3",
        situation: "as many waits as there may be, all for a position far in the future",
        answer: "whoever waits for a nearer one takes the place of the farthest, which is answered \
                 504 `position.not-reached` at once; \
                 reads of what was just written are answered 200",
        test: (file!(), "w3_whoever_waits_for_what_is_far_ahead_keeps_nobody_out"),
    }
    .check();
}

#[tokio::test]
async fn without_the_database_the_answer_is_503() {
    let served = Served::new("away", &[]).await;
    served.close_database().await;
    let answer = served.get(&format!("/v1/orders/{ORDER}"), &[]).await;
    assert_eq!(answer.problem(), (503, "database.unavailable"));
    assert!(!answer.header("retry-after").is_empty());
    assert!(!answer.body.to_string().contains("accepting"), "{}", answer.body);
}

#[tokio::test]
async fn the_connections_cannot_write() {
    let served = Served::new("reader", &[]).await;
    let role = sqlx::query("SELECT current_user::text")
        .fetch_one(&mut *served.reader.acquire().await.expect("a connection"))
        .await
        .expect("a row");
    assert_eq!(role.get::<String, _>(0), "highwater_reader");
    for sql in [
        "UPDATE orders SET version = 9",
        "DELETE FROM checkpoints",
        "CREATE TABLE mine (id int)",
        "UPDATE schema_version SET version = 9",
    ] {
        let mut connection = served.reader.acquire().await.expect("a connection");
        sqlx::query("SET default_transaction_read_only = off")
            .execute(&mut *connection)
            .await
            .expect("a setting");
        let refused = sqlx::query(sql).execute(&mut *connection).await.expect_err(sql);
        let code = refused.as_database_error().and_then(|error| error.code()).map(String::from);
        assert_eq!(code.as_deref(), Some("42501"), "{sql}");
    }
}

#[tokio::test]
async fn tables_of_another_release_are_refused() {
    let served = Served::new("versions", &[]).await;
    for (sql, says) in [
        (
            "UPDATE schema_version SET version = 9999 WHERE component = 'store'",
            "upgrade this program",
        ),
        ("DELETE FROM schema_version WHERE component = 'store'", "run the application's `migrate`"),
        ("DROP TABLE schema_version", "run the application's `migrate`"),
    ] {
        sqlx::query(sql).execute(&served.owner).await.expect(sql);
        let refused =
            highwater::query::database::check_tables(&served.reader, Some(&store::app().tables()))
                .await
                .expect_err(sql);
        assert!(refused.to_string().contains(says), "{sql}: {refused}");
    }
}
