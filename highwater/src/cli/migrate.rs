//! `highwater migrate`.

use std::path::PathBuf;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{End, Error};
use crate::{
    folder::Folder,
    postgres::{PrivatePostgres, Settings},
    up,
};

/// Bring the database's tables to this release.
///
/// Creates or upgrades the tables; safe to run again, and from several places at once. The services refuse to start on tables of an
/// older release; `highwater up` migrates by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the database cannot be reached")]
pub(super) struct Args {
    /// The database, as postgres://user:password@host:port/name; without it the private one of the data folder
    #[arg(long, value_name = "URL", env = "HIGHWATER_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The data folder of `highwater up`, which must not be running
    #[arg(long, value_name = "DIR", default_value = "data", conflicts_with = "database_url")]
    data: PathBuf,
    /// Let this new, empty database take the place of the lost one with this identity: the services name it when they refuse
    #[arg(long, value_name = "UUID")]
    replace: Option<Uuid>,
}

pub(super) async fn run(args: Args) -> Result<End, Error> {
    if let Some(url) = &args.database_url {
        migrate(url, args.replace).await?;
        return Ok(End::Done);
    }
    let folder = Folder::open(&args.data)?;
    let server = PrivatePostgres::start(&folder.postgres(), Settings::default()).await?;
    let migrated = migrate(&server.url(), args.replace).await;
    server.stop().await?;
    migrated.map(|()| End::Done)
}

async fn migrate(url: &str, replace: Option<Uuid>) -> Result<(), Error> {
    let mut connection = up::reach(url).await?;
    let migrated = migrate_in(&mut connection, replace).await;
    connection.close().await?;
    migrated?;
    eprintln!("the tables are those of this release");
    Ok(())
}

async fn migrate_in(connection: &mut PgConnection, replace: Option<Uuid>) -> Result<(), Error> {
    projectors::migrations::migrate(&mut *connection).await?;
    let Some(identity) = replace else { return Ok(()) };
    // With nothing projected yet, every table will be made from the log that the lost database belonged to.
    let replaced = sqlx::query("UPDATE database_identity SET id = $1 WHERE NOT EXISTS (SELECT FROM checkpoints)");
    match replaced.bind(identity).execute(connection).await?.rows_affected() {
        0 => Err(Error::NotEmpty),
        _ => Ok(()),
    }
}
