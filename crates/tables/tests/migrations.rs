//! The tables are made once, by the process that comes first, and no service works on others than
//! its own.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "support/postgres.rs"]
mod postgres;

use highwater_tables::{
    identity::database_identity,
    migrations::{Application, Error, check, check_with_rows},
};
use sqlx::{
    PgPool,
    migrate::{Migration, MigrationType, Migrator},
};

static SYSTEM: Migrator = sqlx::migrate!("./migrations");
static NOTES: Migrator = sqlx::migrate!("tests/notes");

/// With one table of its own.
fn application() -> Application {
    let migrations = NOTES.iter().cloned().collect();
    Application { name: "notes", migrations, rows: Vec::new() }
}

async fn migrate(pool: &PgPool) -> Result<(), Error> {
    highwater_tables::migrations::migrate(pool, Some(&application())).await
}

async fn checked(pool: &PgPool) -> Result<(), Error> {
    check(&mut pool.acquire().await.expect("a connection"), Some(&application())).await
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
    checked(&one).await.expect("the expected tables");
}

#[tokio::test]
async fn a_database_without_tables_is_refused() {
    let refused = checked(&empty("migrations_empty").await).await.expect_err("refused");
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
        set(9_999).execute(&pool).await.expect("newer");
        let refused = checked(&pool).await.expect_err("refused");
        assert!(
            matches!(refused, Error::Newer { found: 9_999, .. })
                && refused.to_string().contains("upgrade this program"),
            "{refused}"
        );
        sqlx::query("DELETE FROM schema_version WHERE component = $1")
            .bind(component)
            .execute(&pool)
            .await
            .expect("older");
        let refused = checked(&pool).await.expect_err("refused");
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

async fn history(pool: &PgPool, table: &str) -> Vec<i64> {
    let sql = format!("SELECT version FROM {table} ORDER BY version");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await.expect("a history")
}

async fn version(pool: &PgPool, component: &str) -> i32 {
    let sql = "SELECT version FROM schema_version WHERE component = $1";
    sqlx::query_scalar(sql).bind(component).fetch_one(pool).await.expect("a version")
}

#[tokio::test]
async fn system_and_application_have_a_history_each() {
    let pool = empty("migrations_histories").await;
    migrate(&pool).await.expect("migrated");
    assert_eq!(history(&pool, "_sqlx_migrations").await, [1, 2, 3, 4, 5]);
    assert_eq!(history(&pool, "application_migrations").await, [1001]);
    assert_eq!(version(&pool, "notes").await, 1001);
}

/// The SHA-384 of each, as sqlx keeps it in every database that has run it. A change goes into a
/// migration of its own.
const RELEASED: [&str; 4] = [
    "ac3ee620a74953cb3fe897208d095dc9361947a9a20969f4660d530173f77ead634dcfc0546603dc025abce24db2d029",
    "cae12635addeaef91aa845947bca02a9ad868ada3cdc786c1dd9a13cb39aa79808cb430d58388b6ec36109695aec77e7",
    "d106e72366936d64af40026feb040de5dd262e97dd57745b38a770a9bd2896b563ed790ed9251d77413272fff47723bb",
    "2f91369d6de59ef374fdd0d2e93695f2a068857499a5bb005ad7ffca4e0d1e1811c80d6056ee07fedbc686f0a6e730eb",
];

#[test]
fn migrations_that_databases_have_run_stay_as_they_are() {
    let hex = |migration: &Migration| {
        migration.checksum.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let found: Vec<String> = SYSTEM.iter().map(hex).collect();
    assert_eq!(found[..RELEASED.len()], RELEASED, "put what is new into the next one");
}

#[tokio::test]
async fn what_was_parked_before_gets_the_offset_from_which_nothing_is_applied() {
    let pool = empty("migrations_parked").await;
    let first_four = SYSTEM.iter().take(4).cloned().collect();
    Migrator::with_migrations(first_four).run(&pool).await.expect("as it was before");
    let statements = [
        "INSERT INTO parked_aggregates SELECT 'p', 1, 'c', 0, id, 's', 1, 'f', 'e', 1, now(), now()
         FROM UNNEST(ARRAY[
             '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002'
         ]::uuid[]) AS id",
        "INSERT INTO parked_commits SELECT 'p', 1, 'c', 0, '00000000-0000-0000-0000-000000000001', \
         first, first + 1, 1, gen_random_uuid(), 0, 1 FROM UNNEST(ARRAY[9, 7, 8]) AS first",
    ];
    for statement in statements {
        sqlx::query(statement).execute(&pool).await.expect("something parked");
    }
    migrate(&pool).await.expect("migrated");
    let sql = "SELECT from_offset FROM parked_aggregates ORDER BY aggregate_id";
    let offsets: Vec<i64> = sqlx::query_scalar(sql).fetch_all(&pool).await.expect("offsets");
    // Of one that was given up nothing is known but that.
    assert_eq!(offsets, [7, 0]);
    let moved = "UPDATE parked_aggregates SET generation = 2";
    sqlx::query(moved).execute(&pool).await.expect("it goes to another generation");
    let sql = "SELECT count(*) FROM parked_commits WHERE generation = 2";
    let went: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.expect("a number");
    assert_eq!(went, 3);
}

#[tokio::test]
async fn an_application_without_a_migration_has_no_version_until_its_first() {
    let pool = empty("migrations_none").await;
    let mut none = Application { migrations: Vec::new(), ..application() };
    for _ in 0..2 {
        highwater_tables::migrations::migrate(&pool, Some(&none)).await.expect("migrated");
    }
    let sql = "SELECT component FROM schema_version";
    let known: Vec<String> = sqlx::query_scalar(sql).fetch_all(&pool).await.expect("components");
    assert_eq!(known, ["system"]);
    let mut connection = pool.acquire().await.expect("a connection");
    check_with_rows(&mut connection, Some(&none)).await.expect("the expected tables");
    let refused = check(&mut connection, Some(&application())).await.expect_err("older");
    assert!(matches!(refused, Error::Older { component: "notes", found: 0, .. }), "{refused}");
    none.migrations = application().migrations;
    highwater_tables::migrations::migrate(&pool, Some(&none)).await.expect("its first");
    check_with_rows(&mut connection, Some(&none)).await.expect("the expected tables");
}

#[tokio::test]
async fn a_history_that_both_had_is_parted_once_and_gone_on_with() {
    let pool = empty("migrations_joint").await;
    let joint = SYSTEM.iter().chain(NOTES.iter()).cloned().collect();
    Migrator::with_migrations(joint).run(&pool).await.expect("as it was before");
    assert_eq!(version(&pool, "notes").await, 1);
    let refused = checked(&pool).await.expect_err("older");
    assert!(matches!(refused, Error::Older { component: "notes", found: 1, .. }), "{refused}");

    // What this release does not know, or knows otherwise, stays as it was.
    for other in [1002, 1001] {
        let sql = sqlx::SqlStr::from_static("SELECT 1");
        let migrations =
            vec![Migration::new(other, "other".into(), MigrationType::Simple, sql, false)];
        let other = Application { migrations, ..application() };
        let refused = highwater_tables::migrations::migrate(&pool, Some(&other)).await;
        assert!(matches!(refused, Err(Error::Newer { .. } | Error::Changed { .. })), "{refused:?}");
        assert_eq!(history(&pool, "_sqlx_migrations").await, [1, 2, 3, 4, 5, 1001]);
    }

    let (one, other) = tokio::join!(migrate(&pool), migrate(&pool));
    one.and(other).expect("migrated, and migrated at once");
    assert_eq!(history(&pool, "_sqlx_migrations").await, [1, 2, 3, 4, 5]);
    assert_eq!(history(&pool, "application_migrations").await, [1001]);
    checked(&pool).await.expect("the expected tables");

    let mut next = application();
    let sql = sqlx::SqlStr::from_static("ALTER TABLE notes ADD text text");
    next.migrations.push(Migration::new(1002, "text".into(), MigrationType::Simple, sql, false));
    highwater_tables::migrations::migrate(&pool, Some(&next)).await.expect("the next one");
    assert_eq!(version(&pool, "notes").await, 1002);
    let refused = migrate(&pool).await.expect_err("the release before");
    let newer = Error::Newer { component: "notes", found: 1002, expected: 1001 };
    assert_eq!(refused.to_string(), newer.to_string());
    assert_eq!(version(&pool, "notes").await, 1002);
}

#[tokio::test]
async fn a_migration_that_was_changed_after_it_ran_is_refused_and_named() {
    let pool = empty("migrations_changed").await;
    migrate(&pool).await.expect("migrated");
    let mut changed = application();
    let sql = sqlx::SqlStr::from_static("CREATE TABLE notes (id uuid PRIMARY KEY, text text)");
    changed.migrations =
        vec![Migration::new(1001, "notes".into(), MigrationType::Simple, sql, false)];
    let refused = highwater_tables::migrations::migrate(&pool, Some(&changed)).await;
    let said = "migration 1001 of `notes` was changed after it ran: take the change back, and put \
                what is new into the next one";
    assert_eq!(refused.expect_err("changed").to_string(), said);
    // Also where the version is the right one, so that nothing would be run.
    let mut connection = pool.acquire().await.expect("a connection");
    let refused = check_with_rows(&mut connection, Some(&changed)).await;
    assert_eq!(refused.expect_err("changed").to_string(), said);
    check_with_rows(&mut connection, Some(&application())).await.expect("as it ran");
    // Those that only read see it, too.
    sqlx::query("SET ROLE highwater_reader").execute(&mut *connection).await.expect("the role");
    let refused = check_with_rows(&mut connection, Some(&changed)).await;
    assert!(matches!(refused, Err(Error::Changed { number: 1001, .. })), "{refused:?}");
}

#[tokio::test]
async fn the_tables_of_another_application_are_refused_by_its_name() {
    let pool = empty("migrations_another").await;
    migrate(&pool).await.expect("migrated");
    let sql = sqlx::SqlStr::from_static("CREATE TABLE goods (id uuid PRIMARY KEY)");
    let goods = Migration::new(1, "goods".into(), MigrationType::Simple, sql, false);
    let shop = Application { name: "shop", migrations: vec![goods], rows: Vec::new() };
    let mut connection = pool.acquire().await.expect("a connection");
    let checked = check(&mut connection, Some(&shop)).await;
    let migrated = highwater_tables::migrations::migrate(&pool, Some(&shop)).await;
    for refused in [checked, migrated] {
        let said = refused.expect_err("of another").to_string();
        assert!(said.contains("of the application `notes`, not those of `shop`"), "{said}");
    }
    // The same application, which has another name by now.
    let memos = Application { name: "memos", ..application() };
    assert!(check(&mut connection, Some(&memos)).await.is_err());
    highwater_tables::migrations::migrate(&pool, Some(&memos)).await.expect("the same history");
    check(&mut connection, Some(&memos)).await.expect("its tables");
}

#[tokio::test]
async fn a_migration_that_fails_is_named_with_its_line() {
    let pool = empty("migrations_failing").await;
    let mut failing = application();
    let sql =
        sqlx::SqlStr::from_static("-- ä\nCREATE TABLE more (id uuid PRIMARY KEY,\n  text txt\n)");
    failing.migrations.push(Migration::new(1002, "more".into(), MigrationType::Simple, sql, false));
    let refused = highwater_tables::migrations::migrate(&pool, Some(&failing)).await;
    assert_eq!(
        refused.expect_err("it fails").to_string(),
        "migration 1002 (more) of `notes`, line 3: type \"txt\" does not exist"
    );
    // Nothing of it is left.
    migrate(&pool).await.expect("the one before it");
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
                            tablename <> ALL('{_sqlx_migrations,application_migrations}')",
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
