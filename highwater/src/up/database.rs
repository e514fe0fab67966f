//! The database of `up`: the private server or the one named, its tables, and the connections of each part.

use sqlx::{PgPool, postgres::PgPoolOptions};

use super::{Error, settings::Settings};
use crate::{
    folder::Folder,
    postgres::{self, PrivatePostgres},
};

pub(super) struct Database {
    url: String,
    private: Option<PrivatePostgres>,
}

impl Database {
    /// Starts the private server, unless `url` names one.
    pub(super) async fn open(url: Option<&str>, folder: &Folder, settings: postgres::Settings) -> Result<Self, Error> {
        if let Some(url) = url {
            return Ok(Self { url: url.to_owned(), private: None });
        }
        let private = PrivatePostgres::start(&folder.postgres(), settings).await?;
        Ok(Self { url: private.url(), private: Some(private) })
    }

    /// What the services' settings say about it.
    pub(super) fn flags(&self) -> Vec<(String, String)> {
        ["owner", "projector", "query"].iter().map(|section| (format!("{section}.database.url"), self.url.clone())).collect()
    }

    pub(super) fn private(&self) -> Option<&PrivatePostgres> {
        self.private.as_ref()
    }

    /// Creates or upgrades the tables.
    pub(super) async fn migrate(&self) -> Result<(), Error> {
        let pool = PgPoolOptions::new().max_connections(1).connect(&self.url).await?;
        let migrated = projectors::migrations::migrate(&pool).await;
        pool.close().await;
        Ok(migrated?)
    }

    pub(super) fn projections(&self, settings: &Settings) -> Result<PgPool, Error> {
        let settings: projectors::settings::ProjectorSettings = settings.config.section("projector")?;
        Ok(projectors::pool::pool(&settings.database)?)
    }

    pub(super) fn queries(&self, settings: &Settings) -> Result<PgPool, Error> {
        let settings: query_api::settings::QuerySettings = settings.config.section("query")?;
        Ok(query_api::database::pool(&settings.database)?)
    }

    pub(super) async fn stop(self) -> Result<(), Error> {
        match self.private {
            Some(private) => Ok(private.stop().await?),
            None => Ok(()),
        }
    }
}
