//! The tables are made once, by whoever comes first, and no service works on others than its own.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "support/postgres.rs"]
mod postgres;

use highwater_tables::migrations::{Application, Error, check, database_identity};
use sqlx::{PgPool, migrate::Migrator};

static NOTES: Migrator = sqlx::migrate!("tests/notes");

/// With one table of its own.
const APPLICATION: Application = Application { name: "notes", migrations: &NOTES };

async fn migrate(pool: &PgPool) -> Result<(), Error> {
    highwater_tables::migrations::migrate(pool, Some(&APPLICATION)).await
}

async fn empty(test: &str) -> PgPool {
    PgPool::connect_with(postgres::database(test).await).await.expect("a connection")
}

#[tokio::test]
async fn migrating_again_and_at_once_changes_nothing() {
    let (one, other) = (empty("migrations_one").await, empty("migrations_other").await);
    // Two on the same database, and another database of the same server: the role is the server's.
    let (a, b, c) = tokio::join!(migrate(&one), migrate(&one), migrate(&other));
    for migrated in [a, b, c] {
        migrated.expect("migrated");
    }
    let identity = database_identity(&one).await.expect("an identity");
    migrate(&one).await.expect("migrated again");
    assert_eq!(database_identity(&one).await.expect("an identity"), identity);
    assert_ne!(database_identity(&other).await.expect("an identity"), identity);
    check(&one, Some(&APPLICATION)).await.expect("the expected tables");
}

#[tokio::test]
async fn a_database_without_tables_is_refused() {
    let refused =
        check(&empty("migrations_empty").await, Some(&APPLICATION)).await.expect_err("refused");
    assert!(matches!(refused, Error::Empty), "{refused}");
    assert!(refused.to_string().contains("run the application's `migrate`"));
}

#[tokio::test]
async fn tables_of_another_release_are_refused_with_what_to_do() {
    for component in ["system", "notes"] {
        let pool = empty("migrations_versions").await;
        migrate(&pool).await.expect("migrated");
        let set = |version: i32| {
            sqlx::query("UPDATE schema_version SET version = $2 WHERE component = $1")
                .bind(component)
                .bind(version)
        };
        set(99).execute(&pool).await.expect("newer");
        let refused = check(&pool, Some(&APPLICATION)).await.expect_err("refused");
        assert!(
            matches!(refused, Error::Newer { found: 99, .. })
                && refused.to_string().contains("upgrade this program"),
            "{refused}"
        );
        sqlx::query("DELETE FROM schema_version WHERE component = $1")
            .bind(component)
            .execute(&pool)
            .await
            .expect("older");
        let refused = check(&pool, Some(&APPLICATION)).await.expect_err("refused");
        assert!(
            matches!(refused, Error::Older { found: 0, .. })
                && refused.to_string().contains("run the application's `migrate`"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn migrations_of_a_newer_release_are_refused() {
    let pool = empty("migrations_newer").await;
    migrate(&pool).await.expect("migrated");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (999, 'newer', true, '', 0)",
    )
    .execute(&pool)
    .await
    .expect("a migration from the future");
    let refused = migrate(&pool).await.expect_err("refused");
    assert!(matches!(refused, Error::Newer { component: "system", .. }), "{refused}");
}

#[tokio::test]
async fn readers_see_every_table_and_change_none() {
    let pool = empty("migrations_reader").await;
    migrate(&pool).await.expect("migrated");
    // Tables that come later are seen, too.
    sqlx::query("CREATE TABLE later (id int)").execute(&pool).await.expect("a table");
    let mut connection = pool.acquire().await.expect("a connection");
    sqlx::query("SET ROLE highwater_reader").execute(&mut *connection).await.expect("the role");
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND \
                            tablename <> '_sqlx_migrations'",
    )
    .fetch_all(&mut *connection)
    .await
    .expect("tables");
    assert!(tables.len() >= 7, "{tables:?}");
    for table in tables {
        let may = |privilege: &str| format!("SELECT has_table_privilege('{table}', '{privilege}')");
        let select: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(may("SELECT")))
            .fetch_one(&mut *connection)
            .await
            .expect("a row");
        let write: bool =
            sqlx::query_scalar(sqlx::AssertSqlSafe(may("INSERT, UPDATE, DELETE, TRUNCATE")))
                .fetch_one(&mut *connection)
                .await
                .expect("a row");
        assert_eq!((select, write), (true, false), "{table}");
    }
}
