//! `highwater migrate` as a process, on a throw-away server.

use std::process::{Command, Output};

use highwater::postgres::PrivatePostgres;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const LOST: Uuid = Uuid::from_u128(0x1057);

fn migrate(server: &PrivatePostgres, more: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_highwater")).args(["migrate", "--database-url", &server.url()]).args(more).output()
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
        "INSERT INTO checkpoints (projection, generation, category, partition, next_offset, epoch, next_seq, drained, sealed)
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
async fn a_database_that_is_away_has_exit_code_3_and_its_password_stays_out_of_the_message() -> Outcome {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let url = format!("postgres://someone:hunter2@{nobody}/none");
    let output = Command::new(env!("CARGO_BIN_EXE_highwater")).args(["migrate", "--database-url", &url]).output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("the database cannot be reached") && !said.contains("hunter2"), "{said}");
    Ok(())
}
