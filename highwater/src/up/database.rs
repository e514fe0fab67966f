//! The database of `up`: the private server or the one named, and its tables.

use std::time::Duration;

use service::start::{Patience, database_may_pass};
use sqlx::{Connection, PgConnection};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Error;
use crate::{
    folder::Folder,
    postgres::{self, PrivatePostgres},
};

/// How long the database that was named may take to answer at start.
const REACH_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Database {
    url: String,
    /// With what ends the task that starts it again when it dies.
    private: Option<(PrivatePostgres, DropGuard)>,
}

impl Database {
    /// Starts the private server, unless `url` names one.
    pub(super) async fn open(url: Option<&str>, folder: &Folder, settings: postgres::Settings, patience: Patience) -> Result<Self, Error> {
        if let Some(url) = url {
            patience.until("the database", database_may_pass, async || reach(url).await?.close().await).await?;
            return Ok(Self { url: url.to_owned(), private: None });
        }
        let private = PrivatePostgres::start(&folder.postgres(), settings).await?;
        let stop = CancellationToken::new();
        tokio::spawn(private.keeper().run(stop.clone()));
        Ok(Self { url: private.url(), private: Some((private, stop.drop_guard())) })
    }

    /// What the services' settings say about it.
    pub(super) fn flags(&self) -> Vec<(String, String)> {
        ["owner", "projector", "query"].iter().map(|section| (format!("{section}.database.url"), self.url.clone())).collect()
    }

    pub(super) fn private(&self) -> Option<&PrivatePostgres> {
        self.private.as_ref().map(|(private, _)| private)
    }

    /// Creates or upgrades the tables.
    pub(super) async fn migrate(&self) -> Result<(), Error> {
        let mut connection = reach(&self.url).await?;
        let migrated = projectors::migrations::migrate(&mut connection).await;
        connection.close().await?;
        Ok(migrated?)
    }

    pub(super) async fn stop(self) -> Result<(), Error> {
        match self.private {
            Some((private, _keeping)) => Ok(private.stop().await?),
            None => Ok(()),
        }
    }
}

/// A pool would only say that it waited in vain; a connection says why. Set up as those of the services.
pub(crate) async fn reach(url: &str) -> Result<PgConnection, sqlx::Error> {
    tokio::time::timeout(REACH_LIMIT, service::postgres::connect(url)).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}
