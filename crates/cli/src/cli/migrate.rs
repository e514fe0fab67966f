//! `migrate`.

use std::path::{Path, PathBuf};

use highwater_tables::{identity, migrations};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{
    End, Error,
    settings::{self, DEFAULT_DATA},
};
use crate::{application::Application, folder::Folder, postgres::PrivatePostgres, up};

/// Bring the database's tables to this release.
///
/// Creates or upgrades the tables; safe to run again, and from several places at once. The services
/// refuse to start on tables of an older release; `up` migrates by itself.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the database cannot be reached"
)]
pub(super) struct Args {
    /// The database, as postgres://user:password@host:port/name [default: the private one of
    /// --data, else `projector.database.url`, if it is set, else the private one of the data
    /// folder]
    #[arg(long, value_name = "URL", env = "HIGHWATER_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The data folder of `up`, which must not be running [default: data]
    #[arg(long, value_name = "DIR", conflicts_with = "database_url")]
    data: Option<PathBuf>,
    /// Settings, of which the database is read [default: highwater.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Let this new, empty database take the place of the lost one with this identity: the services
    /// name it when they refuse
    #[arg(long, value_name = "UUID")]
    replace: Option<Uuid>,
}

pub(super) async fn run(args: Args, application: &Application) -> Result<End, Error> {
    let config = settings::load(args.config.as_deref(), Vec::new())?;
    let named = match (&args.database_url, &args.data) {
        (Some(url), _) => Some((url.clone(), "--database-url")),
        (None, Some(_)) => None,
        (None, None) => {
            up::database_in_settings(&config).map_err(|error| settings::unusable(&error))?
        }
    };
    if let Some((url, by)) = named {
        migrate(&url, &settings::shown(&url, by), args.replace, application).await?;
        return Ok(End::Done);
    }
    let folder = Folder::open(args.data.as_deref().unwrap_or(Path::new(DEFAULT_DATA)))?;
    let settings = up::postgres_settings(&config).map_err(|error| settings::unusable(&error))?;
    let server = PrivatePostgres::start(&folder.postgres(), settings).await?;
    let migrated = migrate(
        &server.url(),
        &format!("the private Postgres in {}", folder.postgres().display()),
        args.replace,
        application,
    )
    .await;
    server.stop().await?;
    migrated.map(|()| End::Done)
}

async fn migrate(
    url: &str,
    shown: &str,
    replace: Option<Uuid>,
    application: &Application,
) -> Result<(), Error> {
    let mut connection = up::reach(url).await?;
    let migrated = migrate_in(&mut connection, replace, application).await;
    connection.close().await?;
    migrated?;
    eprintln!("highwater: the tables in {shown} are those of this release");
    Ok(())
}

async fn migrate_in(
    connection: &mut PgConnection,
    replace: Option<Uuid>,
    application: &Application,
) -> Result<(), Error> {
    migrations::migrate(&mut *connection, Some(application.projections.tables())).await?;
    let Some(identity) = replace else { return Ok(()) };
    // With nothing projected yet, every table will be made from the log that the lost database
    // belonged to.
    match identity::replace(connection, identity).await? {
        true => Ok(()),
        false => Err(Error::NotEmpty),
    }
}
