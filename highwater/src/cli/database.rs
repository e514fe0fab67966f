//! Which database a subcommand reads: the one named, or the private one of the data folder, started if nobody runs it.

use std::path::Path;

use sqlx::PgConnection;

use super::{
    Error,
    source::{DEFAULT_DATA, Source},
};
use crate::{
    folder::{self, Folder},
    postgres::{PrivatePostgres, Settings},
    up,
};

#[derive(Debug, clap::Args)]
pub(super) struct Database {
    /// The database, as postgres://user:password@host:port/name; without it the private one of the data folder
    #[arg(long, value_name = "URL", env = "HIGHWATER_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

/// Where the tables are.
pub(super) enum Tables {
    At(String),
    /// Started for the reader: nobody else has the folder meanwhile.
    Started(Box<PrivatePostgres>, Folder),
    Nowhere(&'static str),
}

impl Database {
    pub(super) async fn find(&self, source: &Source) -> Result<Tables, Error> {
        match &self.database_url {
            Some(url) => Ok(Tables::At(url.clone())),
            None => match (&source.data, &source.kafka) {
                (None, Some(_)) => Ok(Tables::Nowhere("no database is named, see --database-url and --data")),
                (data, _) => private(data.as_deref().unwrap_or(Path::new(DEFAULT_DATA))).await,
            },
        }
    }
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
pub(super) async fn connect(url: &str) -> Result<PgConnection, Error> {
    let mut connection = up::reach(url).await?;
    projectors::schema_version_check(&mut connection).await?;
    Ok(connection)
}

/// The server of the data folder: the one that runs, or, if nobody uses the folder, one started now.
async fn private(data: &Path) -> Result<Tables, Error> {
    let server = folder::postgres_in(data);
    if !PrivatePostgres::has_data(&server) {
        return Ok(Tables::Nowhere("the data folder has no private Postgres, see --database-url"));
    }
    match Folder::open(data) {
        Ok(folder) => Ok(Tables::Started(Box::new(PrivatePostgres::start(&folder.postgres(), Settings::default()).await?), folder)),
        Err(in_use @ folder::Error::InUse { .. }) => PrivatePostgres::url_of_running(&server).map(Tables::At).ok_or(in_use.into()),
        Err(error) => Err(error.into()),
    }
}
