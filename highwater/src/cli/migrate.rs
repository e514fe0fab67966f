//! `highwater migrate`.

use std::path::PathBuf;

use sqlx::postgres::PgPoolOptions;

use super::{End, Error};
use crate::{
    folder::Folder,
    postgres::{PrivatePostgres, Settings},
};

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
}

pub(super) async fn run(args: Args) -> Result<End, Error> {
    if let Some(url) = args.database_url {
        migrate(&url).await?;
        return Ok(End::Done);
    }
    let folder = Folder::open(&args.data)?;
    let server = PrivatePostgres::start(&folder.postgres(), Settings::default()).await?;
    let migrated = migrate(&server.url()).await;
    server.stop().await?;
    migrated.map(|()| End::Done)
}

async fn migrate(url: &str) -> Result<(), Error> {
    let pool = PgPoolOptions::new().max_connections(2).connect(url).await?;
    let migrated = projectors::migrations::migrate(&pool).await;
    pool.close().await;
    migrated?;
    eprintln!("the tables are those of this release");
    Ok(())
}
