//! The database of `up`: the private server or the one named, and its tables.

use std::time::Duration;

use highwater_runtime::start::Patience;
use highwater_tables::{migrations, postgres::may_pass};
use sqlx::{Connection, PgConnection};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Error,
    settings::{DATABASES, DatabaseChoice},
};
use crate::{
    folder::Folder,
    postgres::{self, PrivatePostgres},
};

/// How long the database that was named may take to answer at start.
const REACH_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Database {
    /// Of the one that has the tables made.
    url: String,
    /// Whether the services have theirs from the settings.
    in_settings: bool,
    /// With what ends the task that starts it again when it dies.
    private: Option<(PrivatePostgres, DropGuard)>,
}

impl Database {
    /// Starts the private server, unless another one is named.
    pub(super) async fn open(
        named: DatabaseChoice,
        folder: &Folder,
        settings: postgres::Settings,
        patience: Patience,
    ) -> Result<Self, Error> {
        let in_settings = matches!(named, DatabaseChoice::InSettings(_));
        if let DatabaseChoice::Once(url) | DatabaseChoice::InSettings(url) = named {
            patience
                .until("the database", may_pass, async || reach(&url).await?.close().await)
                .await?;
            return Ok(Self { url, in_settings, private: None });
        }
        let private = PrivatePostgres::start(&folder.postgres(), settings).await?;
        let stop = CancellationToken::new();
        tokio::spawn(private.keeper().run(stop.clone()));
        Ok(Self { url: private.url(), in_settings, private: Some((private, stop.drop_guard())) })
    }

    /// What the services' settings do not say about it themselves.
    pub(super) fn flags(&self) -> Vec<(String, String)> {
        if self.in_settings {
            return Vec::new();
        }
        DATABASES.iter().map(|key| ((*key).to_owned(), self.url.clone())).collect()
    }

    /// By what it is named, if it is not private.
    pub(super) fn named_by(&self) -> String {
        if self.in_settings { DATABASES.join(", ") } else { "--database-url".to_owned() }
    }

    pub(super) fn private(&self) -> Option<&PrivatePostgres> {
        self.private.as_ref().map(|(private, _)| private)
    }

    /// Creates or upgrades the tables, and refuses those that do not fit their rows before an owner
    /// appends its first fence. Where they are right, the role of the projectors, which may not
    /// create any, will do.
    pub(super) async fn migrate(&self, application: &migrations::Application) -> Result<(), Error> {
        let mut connection = reach(&self.url).await?;
        if migrations::check(&mut connection, Some(application)).await.is_ok() {
            migrations::check_with_rows(&mut connection, Some(application)).await?;
            return Ok(connection.close().await?);
        }
        let migrated = migrations::migrate(&mut connection, Some(application)).await;
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

/// A pool would only say that it waited in vain; a connection says why. Set up as those of the
/// services.
pub(crate) async fn reach(url: &str) -> Result<PgConnection, sqlx::Error> {
    tokio::time::timeout(REACH_LIMIT, highwater_tables::postgres::connect(url))
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}
