//! `store migrate` as a process, on a throw-away server.

#[path = "../../tests/support/documented.rs"]
mod documented;

use std::process::{Command, Output};

use documented::Row;

use highwater::{cli::postgres::PrivatePostgres, log::LocalReader};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const LOST: Uuid = Uuid::from_u128(0x1057);

fn migrate(server: &PrivatePostgres, more: &[&str]) -> std::io::Result<Output> {
    migrate_at(&server.url(), more)
}

fn migrate_at(url: &str, more: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_store"))
        .args(["migrate", "--database-url", url])
        .args(more)
        .output()
}

async fn identity(connection: &mut PgConnection) -> Result<Uuid, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM database_identity").fetch_one(connection).await
}

#[tokio::test]
async fn migrating_again_changes_nothing_and_only_an_empty_database_replaces_another() -> Outcome {
    let server = PrivatePostgres::temporary().await?;
    let mut connection = PgConnection::connect(&server.url()).await?;
    assert_eq!(migrate(&server, &[])?.status.code(), Some(0));
    let made = identity(&mut connection).await?;
    assert_eq!(migrate(&server, &[])?.status.code(), Some(0));
    assert_eq!(identity(&mut connection).await?, made);

    assert_eq!(migrate(&server, &["--replace", &LOST.to_string()])?.status.code(), Some(0));
    assert_eq!(identity(&mut connection).await?, LOST);

    sqlx::query(
        "INSERT INTO checkpoints (projection, generation, category, partition, next_offset, epoch, \
         next_seq, drained, sealed)
         VALUES ('p', 1, 'c', 0, 1, 1, 0, 0, false)",
    )
    .execute(&mut connection)
    .await?;
    let refused = migrate(&server, &["--replace", &made.to_string()])?;
    assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(identity(&mut connection).await?, LOST);
    Ok(())
}

#[tokio::test]
async fn without_a_flag_the_database_of_the_settings_is_migrated_and_said() -> Outcome {
    let server = PrivatePostgres::temporary().await?;
    let folder = std::env::temp_dir().join(format!("highwater-migrate-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(
        folder.join("highwater.toml"),
        format!("[projector.database]\nurl = \"{}\"\n", server.url()),
    )?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    let output = command
        .arg("migrate")
        .current_dir(&folder)
        .env_remove("HIGHWATER_DATABASE_URL")
        .output()?;
    let made: Vec<_> = std::fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<std::io::Result<_>>()?;
    std::fs::remove_dir_all(&folder)?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!((output.status.code(), made.len()), (Some(0), 1), "{said} {made:?}");
    assert!(
        said.contains(&format!("at 127.0.0.1:{} (projector.database.url)", server.port())),
        "{said}"
    );
    identity(&mut PgConnection::connect(&server.url()).await?).await?;
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_away_has_exit_code_3_and_its_password_stays_out_of_the_message()
-> Outcome {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let url = format!("postgres://someone:hunter2@{nobody}/none");
    let output = Command::new(env!("CARGO_BIN_EXE_store"))
        .args(["migrate", "--database-url", &url])
        .output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("the database cannot be reached") && !said.contains("hunter2"), "{said}");
    Ok(())
}

/// Of what every service asks before it serves.
async fn refusals(url: &str) -> Vec<String> {
    let of = |url: &str| url.to_owned();
    let owner = highwater::command_service::settings::DatabaseSettings {
        url: of(url),
        ..Default::default()
    };
    let projector =
        highwater::projection::settings::DatabaseSettings { url: of(url), ..Default::default() };
    let query = highwater::query::settings::DatabaseSettings { url: of(url), ..Default::default() };
    let pools = [
        highwater::command_service::pool::pool(&owner),
        highwater::projection::pool::pool(&projector),
        highwater::query::database::pool(&query),
    ];
    let mut refusals = Vec::new();
    for pool in pools {
        let checked = match pool {
            Ok(pool) => {
                highwater::query::database::check_tables(&pool, Some(&store::app().tables()))
                    .await
                    .map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        refusals.extend(checked.err());
    }
    refusals
}

/// A process that is started again and again would fence each time.
#[tokio::test]
async fn tables_that_do_not_fit_are_refused_by_migrate_and_by_up_before_the_log_is_written_to()
-> Outcome {
    let server = PrivatePostgres::temporary().await?;
    assert_eq!(migrate(&server, &[])?.status.code(), Some(0));
    let mut connection = PgConnection::connect(&server.url()).await?;
    sqlx::query("ALTER TABLE orders DROP COLUMN carrier").execute(&mut connection).await?;
    let data = std::env::temp_dir().join(format!("highwater-unfit-{}", std::process::id()));
    let up = Command::new(env!("CARGO_BIN_EXE_store"))
        .args(["up", "--listen", "127.0.0.1:0", "--database-url", &server.url(), "--data"])
        .arg(&data)
        .current_dir("/")
        .output()?;
    let topics = LocalReader::open(data.join("log")).await?.topics().await?;
    std::fs::remove_dir_all(&data)?;
    assert!(topics.is_empty(), "{topics:?}");
    for refused in [migrate(&server, &[])?, up] {
        let said = String::from_utf8(refused.stderr)?;
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(
            said.contains("`orders` does not fit its row: column carrier is missing"),
            "{said}"
        );
        assert!(!said.contains("are those of this release"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused_with_what_to_do() -> Outcome {
    let server = PrivatePostgres::temporary().await?;
    let mut connection = PgConnection::connect(&server.url()).await?;
    sqlx::query("CREATE DATABASE western ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        .execute(&mut connection)
        .await?;
    let url = server.url().replace("/highwater?", "/western?");
    let output = migrate_at(&url, &[])?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("cannot be reached"), "{said}");
    let mut refusals = refusals(&url).await;
    assert_eq!(refusals.len(), 3, "{refusals:?}");
    refusals.push(said);
    for said in refusals {
        assert!(
            said.contains("`western` has the encoding LATIN1")
                && said.contains("ENCODING 'UTF8' TEMPLATE template0"),
            "{said}"
        );
    }
    Row {
        id: "P3",
        situation: "a database with ENCODING LATIN1",
        answer: "`migrate` and every service refuse it, naming the encoding and the statement that \
                 makes another database",
        test: (file!(), "a_database_that_cannot_hold_every_text_is_refused_with_what_to_do"),
    }
    .check();
    Ok(())
}

/// A limit that a database sets for its analysts would end a migration, and an owner's reading,
/// half way.
#[tokio::test]
async fn limits_that_a_database_sets_for_statements_are_for_others() -> Outcome {
    let server = PrivatePostgres::temporary().await?;
    let mut connection = PgConnection::connect(&server.url()).await?;
    sqlx::raw_sql(
        "ALTER DATABASE highwater SET statement_timeout = '7s'; ALTER DATABASE highwater \
                   SET lock_timeout = '7s'",
    )
    .execute(&mut connection)
    .await?;
    assert_eq!(migrate(&server, &[])?.status.code(), Some(0));
    let limits =
        "SELECT current_setting('statement_timeout') || ', ' || current_setting('lock_timeout')";
    let mut tool = highwater::tables::postgres::connect(&server.url()).await?;
    assert_eq!(sqlx::query_scalar::<_, String>(limits).fetch_one(&mut tool).await?, "0, 0");
    let settings = highwater::command_service::settings::DatabaseSettings {
        url: server.url(),
        ..Default::default()
    };
    let owners = highwater::command_service::pool::pool(&settings)?;
    let mut owner = owners.acquire().await?;
    assert_eq!(
        sqlx::query_scalar::<_, String>(limits).fetch_one(&mut *owner).await?,
        "5s, 0",
        "its own, and none of another's"
    );
    Ok(())
}

#[tokio::test]
async fn tables_are_in_one_schema_wherever_a_search_path_leads() -> Outcome {
    let server = PrivatePostgres::temporary().await?;
    let mut connection = PgConnection::connect(&server.url()).await?;
    let astray =
        "CREATE SCHEMA analyst; CREATE TABLE analyst.schema_version (component text, version int);
                  ALTER DATABASE highwater SET search_path = 'analyst'";
    sqlx::raw_sql(astray).execute(&mut connection).await?;
    let migrated = migrate(&server, &[])?;
    assert_eq!(migrated.status.code(), Some(0), "{}", String::from_utf8_lossy(&migrated.stderr));
    assert_eq!(refusals(&server.url()).await, Vec::<String>::new());
    let schemas: Vec<String> = sqlx::query_scalar(
        "SELECT schemaname::text FROM pg_tables WHERE tablename IN \
                            ('checkpoints', '_sqlx_migrations')",
    )
    .fetch_all(&mut connection)
    .await?;
    assert_eq!(schemas, ["public", "public"]);
    Row {
        id: "P4",
        situation: "`ALTER DATABASE d SET search_path = 'analyst'`, with a table of a name of ours \
                    in that schema",
        answer: "`migrate` and every service work on the tables in schema `public`",
        test: (file!(), "tables_are_in_one_schema_wherever_a_search_path_leads"),
    }
    .check();
    Ok(())
}
