//! The tables: makes them, and refuses to work on any but the expected ones.
//!
//! Two sets of migrations share one history: `migrations/` (what every application needs, numbered
//! from 1) and the application's own, numbered from 1001. Each set writes its version into
//! `schema_version`; a service reads that table before it serves.

use std::{cmp::Ordering, ops::Deref};

use sqlx::{
    Acquire, PgConnection, PgExecutor,
    migrate::{Migrate, MigrateError, Migrator},
};
use uuid::Uuid;

use crate::postgres::{self, Connections};

/// The component of the tables that every application has, in `schema_version`.
pub const SYSTEM: &str = "system";

/// The version of [`SYSTEM`] that this release works on.
pub const SYSTEM_VERSION: i32 = 3;

/// The first number of an application's migrations is the one after this.
const BEFORE_APPLICATION: i64 = 1_000;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The tables of an application, beside the system's.
#[derive(Clone, Copy, Debug)]
pub struct Application {
    /// Its component in `schema_version`: its migrations write it there.
    pub name: &'static str,
    /// Numbered from 1001; the last one makes the version, 1002 makes 2.
    pub migrations: &'static Migrator,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the database's tables are of a newer release (`{component}` is {found}, this release \
         knows {expected}): upgrade this program"
    )]
    Newer { component: &'static str, found: i32, expected: i32 },
    #[error(
        "the database's tables are older than this release (`{component}` is {found}, expected \
         {expected}): run the application's `migrate`"
    )]
    Older { component: &'static str, found: i32, expected: i32 },
    #[error("the database has none of the tables: run the application's `migrate`")]
    Empty,
    #[error("the migrations could not be run: {0}")]
    Migrate(MigrateError),
    #[error("the database cannot be reached: {0}")]
    Database(#[from] sqlx::Error),
}

impl Application {
    /// The version of its tables that this release works on.
    pub fn version(&self) -> i32 {
        let last = self.migrations.iter().map(|migration| migration.version).max();
        number(last.unwrap_or(0))
    }
}

/// Brings the database to this release. Safe to run from several places at once, and again.
pub async fn migrate<'a, A>(connection: A, application: Option<&Application>) -> Result<(), Error>
where
    A: Acquire<'a>,
    <A::Connection as Deref>::Target: Migrate,
{
    let own = application.into_iter().flat_map(|application| application.migrations.iter());
    let all = Migrator::with_migrations(MIGRATIONS.iter().chain(own).cloned().collect());
    all.run(connection).await.map_err(|error| match error {
        // Applied, but unknown here.
        MigrateError::VersionMissing(version) => newer(version, application),
        other => Error::Migrate(other),
    })
}

/// Whether the tables are those that this release works on: the system's, and the application's
/// if one is named.
pub async fn check(
    connection: impl PgExecutor<'_>,
    application: Option<&Application>,
) -> Result<(), Error> {
    let rows = match sqlx::query!("SELECT component, version FROM schema_version")
        .fetch_all(connection)
        .await
    {
        Ok(rows) => rows,
        Err(error) if postgres::is_unmigrated(&error) => return Err(Error::Empty),
        Err(error) => return Err(error.into()),
    };
    let own = application.map(|application| (application.name, application.version()));
    for (component, expected) in [(SYSTEM, SYSTEM_VERSION)].into_iter().chain(own) {
        let found = rows.iter().find(|row| row.component == component).map_or(0, |row| row.version);
        match found.cmp(&expected) {
            Ordering::Less => return Err(Error::Older { component, found, expected }),
            Ordering::Greater => return Err(Error::Newer { component, found, expected }),
            Ordering::Equal => {}
        }
    }
    Ok(())
}

/// A connection of its own, which says why there is none, to tables that this release works on.
pub async fn open(
    pool: &Connections,
    application: Option<&Application>,
) -> Result<PgConnection, Error> {
    let mut connection = match pool.connect().await {
        Ok(connection) => connection,
        // The role that it takes is made with the tables.
        Err(error) if postgres::is_unmigrated(&error) => return Err(Error::Empty),
        Err(error) => return Err(error.into()),
    };
    check(&mut connection, application).await?;
    Ok(connection)
}

/// The identity that the first migration wrote: names the consumer group, so that two databases
/// never share one.
pub async fn database_identity(connection: impl PgExecutor<'_>) -> Result<Uuid, Error> {
    Ok(sqlx::query_scalar!("SELECT id FROM database_identity").fetch_one(connection).await?)
}

impl Error {
    /// Whether the same may succeed later although nothing is changed.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Database(error) if postgres::may_pass(error))
    }
}

fn newer(version: i64, application: Option<&Application>) -> Error {
    let (component, expected) = match application {
        Some(application) if version > BEFORE_APPLICATION => {
            (application.name, application.version())
        }
        _ => (SYSTEM, SYSTEM_VERSION),
    };
    Error::Newer { component, found: number(version), expected }
}

/// As `schema_version` counts it.
fn number(version: i64) -> i32 {
    i32::try_from(version % BEFORE_APPLICATION).unwrap_or(i32::MAX)
}
