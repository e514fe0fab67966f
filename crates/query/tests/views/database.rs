//! The connections that views are read by: how many there are, what they may do, and which tables
//! they are for.

use std::time::Duration;

use highwater_query::database::check_tables;
use sqlx::{PgPool, Row};

use crate::{
    served::{Served, VOUCHER},
    shown,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn connections_are_there_before_a_burst_needs_them() {
    let served = Served::new("connections", &[("DATABASE__CONNECTIONS", "16")]).await;
    all_sessions(&served.owner, 16).await;
}

/// All connections of query-api are there at once, but for those that another task of it was just
/// about to make: two listen. Then all.
pub async fn all_sessions(owner: &PgPool, wanted: i64) {
    let first = sessions(owner).await;
    assert!((wanted - 2..=wanted).contains(&first), "{first} of {wanted}");
    let complete = async { while sessions(owner).await != wanted {} };
    tokio::time::timeout(PATIENCE, complete).await.expect("all connections are made");
}

/// Of query-api, as the server counts them.
async fn sessions(owner: &PgPool) -> i64 {
    let counted = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
                   application_name = 'highwater-query-api'";
    sqlx::query_scalar(counted).fetch_one(owner).await.expect("sessions")
}

#[tokio::test]
async fn without_the_database_the_answer_is_503() {
    let served = Served::new("away", &[]).await;
    served.close_database().await;
    let answer = served.get(&format!("/v1/vouchers/{VOUCHER}"), &[]).await;
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
        "UPDATE vouchers SET version = 9",
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
            "UPDATE schema_version SET version = 9999 WHERE component = 'shown'",
            "upgrade this program",
        ),
        ("DELETE FROM schema_version WHERE component = 'shown'", "run the application's `migrate`"),
        ("DROP TABLE schema_version", "run the application's `migrate`"),
    ] {
        sqlx::query(sql).execute(&served.owner).await.expect(sql);
        let refused = check_tables(&served.reader, Some(&shown::tables())).await.expect_err(sql);
        assert!(refused.to_string().contains(says), "{sql}: {refused}");
    }
}
