//! What a reader gets while Postgres is really stopped, and after it was started again.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;

use crate::{
    answers::{Answer, position},
    database::all_sessions,
    own_server::Server,
    served::{BOOK, Served, VOUCHER},
};

const PATIENCE: Duration = Duration::from_secs(120);
const DOWN: &str = "query-api; hit; detail=db-down";
/// Far above what the test allows: only an answer that waits for no connection is in time.
const ENDLESS: (&str, &str) = ("DATABASE__ACQUIRE_TIMEOUT_MS", "600000");

async fn until(served: &Served, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let asking = async {
        loop {
            let answer = served.get(path, &[]).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("in time")
}

#[tokio::test]
async fn what_was_read_last_is_shown_while_postgres_is_away_and_replaced_when_it_is_back() {
    let mut server = Server::start("degraded");
    // So that all connections are opened in time on any machine; much less than the patience below.
    let patient = ("DATABASE__PROBE_TIMEOUT_MS", "30000");
    let served =
        Served::on(server.options(), &[ENDLESS, patient, ("DATABASE__CONNECTIONS", "16")]).await;
    let (voucher, book) = (format!("/v1/vouchers/{VOUCHER}"), format!("/v1/books/{BOOK}"));
    until(&served, &voucher, |answer| answer.header("cache-status") == "query-api; hit").await;
    assert_eq!(served.get(&book, &[]).await.status, StatusCode::OK);
    // No connection of the owner may keep the server from stopping, or be dead after it.
    served.owner.close().await;
    server.tell("stop");

    let kept = until(&served, &voucher, |answer| answer.header("cache-status") == DOWN).await;
    assert_eq!((kept.status, kept.body["version"].as_i64()), (StatusCode::OK, Some(2)));
    assert_eq!(kept.header("highwater-position"), position("voucher", VOUCHER, 42));
    assert_eq!((kept.header("cache-control"), kept.header("etag")), ("no-store", "\"g1-v2\""));
    assert!(kept.header("age").parse::<u64>().is_ok_and(|age| age < 60), "{:?}", kept.headers);
    let public = served.get(&book, &[]).await;
    assert_eq!(
        (public.status, public.header("cache-status"), public.header("cdn-cache-control")),
        (StatusCode::OK, DOWN, "")
    );
    let known = served.get(&voucher, &[("if-none-match", "\"g1-v2\"")]).await;
    assert_eq!((known.status, known.header("cache-status")), (StatusCode::NOT_MODIFIED, DOWN));

    // What is in it already is shown, what is newer is not: unless the reader takes what there is.
    let (old, new) = (position("voucher", VOUCHER, 42), position("voucher", VOUCHER, 43));
    assert_eq!(
        served.get(&voucher, &[("highwater-min-position", &old)]).await.status,
        StatusCode::OK
    );
    let began = Instant::now();
    let newer =
        served.get(&voucher, &[("highwater-min-position", &new), ("prefer", "wait=29")]).await;
    assert_eq!(newer.problem(), (503, "database.unavailable"));
    let stale = served
        .get(&voucher, &[("highwater-min-position", &new), ("prefer", "wait=29, stale")])
        .await;
    assert_eq!(
        (stale.status, stale.header("highwater-stale"), stale.header("cache-status")),
        (StatusCode::OK, "true", DOWN)
    );

    // What was never read, and lists: 503, at once.
    for path in ["/v1/vouchers/0000000f-0000-0000-0000-00000000000f", "/v1/vouchers", "/v1/days"] {
        let away = served.get(path, &[]).await;
        assert_eq!(away.problem(), (503, "database.unavailable"), "{path}");
        assert!(
            away.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0),
            "{path}"
        );
    }
    for _ in 0..200 {
        assert_eq!(served.get(&voucher, &[]).await.header("cache-status"), DOWN);
    }
    // One that waited as long as it may would take this long alone.
    assert!(
        began.elapsed() < Duration::from_secs(29),
        "answers wait for the database: {:?}",
        began.elapsed()
    );

    server.tell("start");
    let owner = sqlx::PgPool::connect_with(server.options()).await.expect("it is back");
    // Nothing tells query-api: it has to read anew by itself.
    sqlx::query("UPDATE vouchers SET version = 3").execute(&owner).await.expect("a change");
    sqlx::query("UPDATE checkpoints SET next_offset = 43")
        .execute(&owner)
        .await
        .expect("checkpoints");
    let fresh = until(&served, &voucher, |answer| answer.header("cache-status") != DOWN).await;
    assert_eq!(fresh.header("highwater-stale"), "");
    // Those of before are dead, and a request that comes now need not make new ones.
    all_sessions(&owner, 16).await;
    let newer = until(&served, &voucher, |answer| answer.body["version"] == 3).await;
    assert_eq!((newer.header("age"), newer.header("highwater-position")), ("", new.as_str()));
    assert_eq!(served.get(&voucher, &[("highwater-min-position", &new)]).await.body["version"], 3);
    until(&served, &voucher, |answer| {
        answer.header("cache-status") == "query-api; hit" && answer.body["version"] == 3
    })
    .await;
    owner.close().await;
}

#[tokio::test]
async fn what_was_read_too_long_ago_is_not_shown() {
    let mut server = Server::start("stale");
    let served = Served::on(server.options(), &[ENDLESS, ("CACHE__STALE_MS", "0")]).await;
    let voucher = format!("/v1/vouchers/{VOUCHER}");
    until(&served, &voucher, |answer| answer.header("cache-status") == "query-api; hit").await;
    served.owner.close().await;
    server.tell("stop");
    let away = until(&served, &voucher, |answer| answer.status != StatusCode::OK).await;
    assert_eq!(away.problem(), (503, "database.unavailable"));
}

#[tokio::test]
async fn who_waits_for_the_database_when_it_goes_away_is_answered_then() {
    let mut server = Server::start("waiting");
    let served = Served::on(server.options(), &[ENDLESS, ("DATABASE__CONNECTIONS", "3")]).await;
    let voucher = format!("/v1/vouchers/{VOUCHER}");
    until(&served, &voucher, |answer| answer.header("cache-status") == "query-api; hit").await;
    // Two of the three listen. With the last one busy, a list waits for a connection.
    let busy = served.reader.acquire().await.expect("the last connection");
    let mut waiting = Box::pin(served.get("/v1/vouchers", &[]));
    assert!(
        tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err(),
        "there was a connection"
    );
    served.owner.close().await;
    server.tell("stop");
    let answer = tokio::time::timeout(PATIENCE, waiting).await.expect("it waits on");
    assert_eq!(answer.problem(), (503, "database.unavailable"));
    drop(busy);
}
