//! Which database a subcommand reads: the one named by a flag or the settings, or the private one
//! of the data folder, started if no process runs it. Says which.

use std::path::Path;

use highwater_tables::migrations;
use sqlx::PgConnection;

use super::{
    Error,
    settings::{self, DEFAULT_DATA},
    source::{OpenLog, Source},
};
use crate::{
    application::Application,
    folder::{self, Folder},
    postgres::PrivatePostgres,
    up,
};

#[derive(Debug, clap::Args)]
pub(super) struct Database {
    /// The database, as postgres://user:password@host:port/name [default: the private one of
    /// --data, else `projector.database.url`, if it is set, else the private one of the data
    /// folder]
    #[arg(long, value_name = "URL", env = "HIGHWATER_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

/// Where the tables are.
pub(super) enum Tables {
    At(String),
    /// Started for the reader: no other process has the folder meanwhile.
    Started(Box<PrivatePostgres>, Folder),
    Nowhere(&'static str),
}

impl Database {
    pub(super) async fn find(&self, source: &Source, log: &OpenLog) -> Result<Tables, Error> {
        if let Some(url) = &self.database_url {
            return Ok(at(url.clone(), "--database-url"));
        }
        let own = |data: &&Path| PrivatePostgres::has_data(&folder::postgres_in(data));
        if let Some(data) = source.data.as_deref().filter(own) {
            if let Some(other) = folder::kind_of(data)?.filter(|kind| *kind != log.kind) {
                let (data, other, read) = (data.display(), other.name(), log.kind.name());
                return Err(Error::Usage(format!(
                    "the private Postgres in {data} was made from {other}, and what is read is \
                     {read}"
                )));
            }
            return private(data, log).await;
        }
        if let Some((url, key)) =
            up::database_in_settings(&log.config).map_err(|error| settings::unusable(&error))?
        {
            return Ok(at(url, key));
        }
        let data = Path::new(DEFAULT_DATA);
        match (&source.data, &source.kafka) {
            (Some(_), _) => {
                Ok(Tables::Nowhere("the data folder has no private Postgres, see --database-url"))
            }
            (None, Some(_)) => {
                Ok(Tables::Nowhere("no database is named, see --database-url and --data"))
            }
            (None, None) if !own(&data) => Ok(Tables::Nowhere(
                "no database is named, and the data folder has no private Postgres, see \
                 --database-url",
            )),
            (None, None) if folder::kind_of(data)?.is_some_and(|kind| kind != log.kind) => {
                Ok(Tables::Nowhere(
                    "no database is named, and the private Postgres of the data folder is that of \
                     another log, see --database-url",
                ))
            }
            (None, None) => private(data, log).await,
        }
    }
}

fn at(url: String, by: &str) -> Tables {
    eprintln!("highwater: the tables are in {}", settings::shown(&url, by));
    Tables::At(url)
}

impl Tables {
    /// Where they are; `Err`: why they are nowhere.
    pub(super) fn url(&self) -> Result<String, &'static str> {
        match self {
            Self::At(url) => Ok(url.clone()),
            Self::Started(server, _) => Ok(server.url()),
            Self::Nowhere(why) => Err(why),
        }
    }

    /// Stops what was started.
    pub(super) async fn stop(self) -> Result<(), Error> {
        match self {
            Self::Started(server, _folder) => Ok(server.stop().await?),
            Self::At(_) | Self::Nowhere(_) => Ok(()),
        }
    }
}

/// A connection to tables of this release.
pub(super) async fn connect(url: &str, application: &Application) -> Result<PgConnection, Error> {
    let mut connection = up::reach(url).await?;
    migrations::check(&mut connection, Some(application.projections.tables())).await?;
    Ok(connection)
}

/// The server of the data folder: the one that runs, or, if no process uses the folder, one started
/// now.
async fn private(data: &Path, log: &OpenLog) -> Result<Tables, Error> {
    let server = folder::postgres_in(data);
    let settings =
        up::postgres_settings(&log.config).map_err(|error| settings::unusable(&error))?;
    let shown = std::path::absolute(&server).unwrap_or_else(|_| server.clone());
    eprintln!("highwater: the tables are in the private Postgres in {}", shown.display());
    match Folder::open(data) {
        Ok(folder) => Ok(Tables::Started(
            Box::new(PrivatePostgres::start(&folder.postgres(), settings).await?),
            folder,
        )),
        Err(in_use @ folder::Error::InUse { .. }) => {
            PrivatePostgres::url_of_running(&server).map(Tables::At).ok_or(in_use.into())
        }
        Err(error) => Err(error.into()),
    }
}
