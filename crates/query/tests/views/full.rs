//! What a reader gets while Postgres has no room for all connections that query-api wants, and
//! which requests may be refused by name.

use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::join_all;
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::Instant;

use crate::{
    documented::Row,
    own_server::Server,
    served::{Served, VOUCHER},
};

const PATIENCE: Duration = Duration::from_secs(60);
const ROOM: u32 = 14;
/// For a hundred lists on two connections, on any machine; the other lists wait for their turn
/// meanwhile.
const PATIENT: [(&str, &str); 3] = [
    ("DATABASE__ACQUIRE_TIMEOUT_MS", "30000"),
    ("LISTS__WAITING", "128"),
    ("LISTS__WAITING_MS", "30000"),
];

/// Takes connections until `left` are left, as another application would.
async fn taken(options: &PgConnectOptions, left: usize) -> Vec<PgConnection> {
    let deadline = Instant::now() + PATIENCE;
    let mut taken = Vec::new();
    loop {
        match PgConnection::connect_with(options).await {
            Ok(connection) => taken.push(connection),
            Err(error) if highwater_tables::postgres::is_full(&error) && taken.len() > left => {
                break;
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
    for connection in taken.drain(..left) {
        connection.close().await.expect("it closes");
    }
    taken
}

/// Takes all connections that there are, also those that another client has just for a moment.
async fn all_taken(options: &PgConnectOptions) -> Vec<PgConnection> {
    let deadline = Instant::now() + PATIENCE;
    let mut taken = Vec::new();
    while taken.len() < ROOM as usize {
        match PgConnection::connect_with(options).await {
            Ok(connection) => taken.push(connection),
            Err(error) => {
                assert!(Instant::now() < deadline, "{} of {ROOM}: {error}", taken.len());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    taken
}

/// Lists are never kept in memory: each needs a connection.
async fn all_answered(served: &Served, lists: usize) {
    let answers = join_all((0..lists).map(|_| served.get("/v1/vouchers", &[]))).await;
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != StatusCode::OK)
        .map(|answer| &answer.body)
        .collect();
    assert!(refused.is_empty(), "{} of {lists}: {:?}", refused.len(), refused.first());
}

async fn degraded(served: &Served, wanted: bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = served.health.report().await;
        let said = report.degraded.get("query.connections").cloned();
        if report.missing.is_empty() && said.is_some() == wanted {
            return said.unwrap_or_default();
        }
        assert!(Instant::now() < deadline, "{report:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Until a list is answered.
async fn back(served: &Served) {
    let deadline = Instant::now() + PATIENCE;
    while served.get("/v1/vouchers", &[]).await.status != StatusCode::OK {
        assert!(Instant::now() < deadline, "no list is answered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_without_room_is_read_with_the_connections_that_there_are() {
    let server = Server::with_room("full", ROOM);
    // One is the owner's.
    let served_by = server.options();
    let others = taken(&served_by, 5).await;
    let served =
        Served::on(served_by, &[&PATIENT[..], &[("DATABASE__CONNECTIONS", "16")]].concat()).await;
    back(&served).await;
    all_answered(&served, 100).await;
    let said = degraded(&served, true).await;
    assert!(said.contains("of 16 are open") && said.contains("too many"), "{said}");
    assert_eq!(served.get(&format!("/v1/vouchers/{VOUCHER}"), &[]).await.status, StatusCode::OK);
    for other in others {
        other.close().await.expect("it closes");
    }
    // There is room for fewer than are wanted still, but no request needs more.
    all_answered(&served, 100).await;
    Row {
        id: "P1",
        situation: "query-api wants 16 connections, and the server has room for 4 (SQLSTATE 53300)",
        answer: "100 lists at once are all answered with 200; `/readyz`: `degraded`, \
                 `query.connections` with the server's words",
        test: (file!(), "a_server_without_room_is_read_with_the_connections_that_there_are"),
    }
    .check();
}

/// What is idle is dead, and the server has no room for another: a listener that tries to have one
/// keeps no request from being told so.
#[tokio::test]
async fn a_listener_that_finds_only_dead_connections_keeps_no_request_waiting() {
    let server = Server::with_room("listens", ROOM);
    let options = server.options();
    let mut others = taken(&options, 4).await;
    let url = options.to_url_lossy().to_string();
    let pool = highwater_tables::postgres::Pool {
        url: &url,
        application: "listens",
        session: Vec::new(),
        writes: false,
        connections: 8,
        acquire_timeout: PATIENCE,
    };
    let connections = pool.build().expect("a pool");
    connections.open().await;
    let deadline = Instant::now() + PATIENCE;
    while connections.complete().is_ok() || connections.idle() < 3 {
        assert!(Instant::now() < deadline, "{:?}, {}", connections.complete(), connections.idle());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'listens'",
    )
    .execute(&mut others[0])
    .await
    .expect("terminated");
    let held = others.len();
    while others.len() < held + 4 {
        match PgConnection::connect_with(&options).await {
            Ok(connection) => others.push(connection),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }

    let listening = connections.listener();
    tokio::pin!(listening);
    let acquired = tokio::select! {
        biased;
        _ = &mut listening => panic!("there is no connection, and it is waited for"),
        acquired = connections.acquire() => acquired,
    };
    let error = acquired.expect_err("there is no connection");
    assert!(highwater_tables::postgres::is_full(&error), "{error}");
}

#[tokio::test]
async fn a_server_with_exactly_as_many_places_as_are_wanted_lacks_nothing() {
    let server = Server::with_room("exact", ROOM);
    let options = server.options();
    let url = options.to_url_lossy().to_string();
    let pool = highwater_tables::postgres::Pool {
        url: &url,
        application: "exact",
        session: Vec::new(),
        writes: false,
        connections: 4,
        acquire_timeout: PATIENCE,
    };
    let connections = pool.build().expect("a pool");
    connections.open().await;
    let _others = taken(&options, 0).await;
    // Each waits for half a second, which makes it doubt whether there is room for one more.
    let using = (0..20).map(|_| async {
        for _ in 0..4 {
            let used = connections.acquire().await.expect("one that comes back");
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(used);
            assert_eq!((connections.complete(), connections.size()), (Ok(()), 4));
        }
    });
    join_all(using).await;
}

#[tokio::test]
async fn after_a_restart_whose_room_another_takes_what_is_left_is_used_and_later_all() {
    let mut server = Server::with_room("full_restart", ROOM);
    let served =
        Served::on(server.options(), &[&PATIENT[..], &[("DATABASE__CONNECTIONS", "8")]].concat())
            .await;
    all_answered(&served, 20).await;
    degraded(&served, false).await;
    served.owner.close().await;
    // So that the other is there first, however fast query-api is.
    let elsewhere = server.options().database("template1");
    let mut other = PgConnection::connect_with(&elsewhere).await.expect("a connection");
    sqlx::query("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        .execute(&mut other)
        .await
        .expect("closed");
    other.close().await.expect("it closes");
    server.tell("stop");
    server.tell("start");
    // All of query-api's are dead, and what it tries meanwhile is turned away at the door.
    let mut others = all_taken(&elsewhere).await;
    sqlx::query("ALTER DATABASE postgres ALLOW_CONNECTIONS true")
        .execute(&mut others[0])
        .await
        .expect("open");
    for other in others.drain(1..3) {
        other.close().await.expect("it closes");
    }
    back(&served).await;
    all_answered(&served, 50).await;
    degraded(&served, true).await;
    for other in others {
        other.close().await.expect("it closes");
    }
    degraded(&served, false).await;
    all_answered(&served, 50).await;
    Row {
        id: "P1b",
        situation: "Postgres is restarted, and another application takes all connections but two \
                    before query-api has its 8 again",
        answer: "lists are answered with 200 again, with the connections that are left; `degraded` \
                 until the other leaves, then `ready`",
        test: (
            file!(),
            "after_a_restart_whose_room_another_takes_what_is_left_is_used_and_later_all",
        ),
    }
    .check();
}
