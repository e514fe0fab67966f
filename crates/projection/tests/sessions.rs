//! What every connection is, whatever database and role say: the same in each service, and none to
//! a database that cannot be used.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "../../../tests/support/documented.rs"]
mod documented;
#[path = "../../tables/tests/support/postgres.rs"]
mod postgres;

use std::time::Duration;

use documented::Row;
use highwater_projection::settings::DatabaseSettings;
use highwater_tables::postgres::Connections;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(120);

/// As the projectors have them.
fn connections(options: &PgConnectOptions) -> Connections {
    within(options, Duration::from_secs(1))
}

fn within(options: &PgConnectOptions, patience: Duration) -> Connections {
    let (url, acquire_timeout_ms) = (
        options.to_url_lossy().to_string(),
        patience.as_millis().try_into().expect("milliseconds"),
    );
    highwater_projection::pool::pool(&DatabaseSettings {
        url,
        acquire_timeout_ms,
        ..DatabaseSettings::default()
    })
    .expect("a pool")
}

async fn run(options: &PgConnectOptions, statement: &str) {
    let mut connection = options.connect().await.expect("a connection");
    let named = statement.replace("$database", options.get_database().expect("a name"));
    sqlx::raw_sql(AssertSqlSafe(named)).execute(&mut connection).await.expect("done");
}

async fn shown(connection: &mut PgConnection, setting: &str) -> String {
    sqlx::query_scalar("SELECT current_setting($1)")
        .bind(setting)
        .fetch_one(connection)
        .await
        .expect("a value")
}

#[tokio::test]
async fn who_writes_connects_to_a_server_that_takes_writes_and_to_no_other() {
    let options = postgres::database("read_only").await;
    let pool = connections(&options);
    let (idle, mut in_use) =
        (pool.acquire().await.expect("a connection"), pool.acquire().await.expect("a connection"));
    let before: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut *in_use)
        .await
        .expect("a number");
    drop(idle);
    run(&options, "ALTER DATABASE $database SET default_transaction_read_only = on").await;
    // As the runner does when the server has refused a write.
    pool.renew().await;
    // It comes back a moment later.
    drop(in_use);
    let deadline = Instant::now() + PATIENCE;
    while pool.idle() == 0 {
        assert!(Instant::now() < deadline, "what was in use does not come back");
        tokio::task::yield_now().await;
    }
    let refused = pool.acquire().await.expect_err("the connections of before are not used");
    assert!(matches!(refused, sqlx::Error::PoolTimedOut), "{refused}");
    let why = pool.why().await.to_string();
    assert!(
        why.contains("takes no writes (default_transaction_read_only is on)")
            && why.contains("name the primary"),
        "{why}"
    );

    run(
        &options,
        "BEGIN READ WRITE; ALTER DATABASE $database RESET default_transaction_read_only; COMMIT",
    )
    .await;
    let deadline = Instant::now() + PATIENCE;
    let after: i32 = loop {
        match pool.acquire().await {
            Ok(mut connection) => {
                break sqlx::query_scalar("SELECT pg_backend_pid()")
                    .fetch_one(&mut *connection)
                    .await
                    .expect("a number");
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    assert_ne!(before, after);
    Row {
        id: "P2b",
        situation: "a server takes no writes for a while (a standby, or \
                    `default_transaction_read_only`)",
        answer: "projectors do not connect to it, and say why; connections of before are closed \
                 when the server has refused a write; \
                 they write again as soon as it takes writes",
        test: (file!(), "who_writes_connects_to_a_server_that_takes_writes_and_to_no_other"),
    }
    .check();
}

#[tokio::test]
async fn what_a_database_sets_for_its_sessions_changes_nothing_that_matters() {
    let options = postgres::database("settings").await;
    for (name, value) in [
        ("search_path", "'analyst'"),
        ("default_transaction_isolation", "'serializable'"),
        ("row_security", "on"),
        // The statement that ends a limit is under it still, so it may not be shorter than that
        // takes on a busy machine.
        ("statement_timeout", "500"),
        ("lock_timeout", "500"),
        ("\"TimeZone\"", "'Asia/Tokyo'"),
        ("\"DateStyle\"", "'German'"),
        ("client_encoding", "'LATIN1'"),
    ] {
        run(
            &options,
            &format!("SET statement_timeout = 0; ALTER DATABASE $database SET {name} = {value}"),
        )
        .await;
    }
    let pool = within(&options, PATIENCE);
    let mut connection = pool.acquire().await.expect("a connection");
    for (name, value) in [
        ("search_path", "public"),
        ("default_transaction_isolation", "read committed"),
        ("row_security", "off"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "1s"),
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, MDY"),
        ("client_encoding", "UTF8"),
    ] {
        assert_eq!(shown(&mut connection, name).await, value, "{name}");
    }
    Row {
        id: "P4b",
        situation: "a database or role sets search_path, isolation, row_security, \
                    statement_timeout, lock_timeout, TimeZone, DateStyle or \
                    client_encoding",
        answer: "every connection sets its own; a row policy is an error and hides nothing in \
                 silence",
        test: (file!(), "what_a_database_sets_for_its_sessions_changes_nothing_that_matters"),
    }
    .check();
}
