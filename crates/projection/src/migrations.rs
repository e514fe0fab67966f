//! The tables: makes them, and refuses to work on any but the expected ones.
//!
//! Two sets of migrations share one history: `migrations/` (what every store needs) and
//! `migrations/store/` (the store's own, numbered from 1001). Each set writes its version into
//! `schema_version`; a service reads that table before it serves.

use std::ops::Deref;

use highwater_runtime::postgres;
use sqlx::{
    Acquire, PgExecutor,
    migrate::{Migrate, MigrateError, Migrator},
};
use uuid::Uuid;

/// Each set of tables with the version that this release works on. Every service keeps its own
/// list: see [`schema_version_check`].
pub const EXPECTED: [(&str, i32); 2] = [("system", 3), ("store", 2)];

static SYSTEM: Migrator = sqlx::migrate!("./migrations");
static STORE: Migrator = sqlx::migrate!("./migrations/store");

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the database's tables are of a newer release (`{component}` is {found}, this release \
         knows {expected}): upgrade this program"
    )]
    Newer { component: &'static str, found: i32, expected: i32 },
    #[error(
        "the database's tables are older than this release (`{component}` is {found}, expected \
         {expected}): run `highwater migrate`"
    )]
    Older { component: &'static str, found: i32, expected: i32 },
    #[error("the database has none of the tables: run `highwater migrate`")]
    Empty,
    #[error("the migrations could not be run: {0}")]
    Migrate(MigrateError),
    #[error("the database cannot be reached: {0}")]
    Database(#[from] sqlx::Error),
}

/// Brings the database to this release. Safe to run from several places at once, and again.
pub async fn migrate<'a, A>(connection: A) -> Result<(), Error>
where
    A: Acquire<'a>,
    <A::Connection as Deref>::Target: Migrate,
{
    let all = Migrator::with_migrations(SYSTEM.iter().chain(STORE.iter()).cloned().collect());
    all.run(connection).await.map_err(|error| match error {
        // Applied, but unknown here.
        MigrateError::VersionMissing(version) => newer(version),
        other => Error::Migrate(other),
    })
}

/// Whether the tables are those that this release works on.
pub async fn schema_version_check(connection: impl PgExecutor<'_>) -> Result<(), Error> {
    let rows = match sqlx::query!("SELECT component, version FROM schema_version")
        .fetch_all(connection)
        .await
    {
        Ok(rows) => rows,
        Err(error) if postgres::is_unmigrated(&error) => return Err(Error::Empty),
        Err(error) => return Err(error.into()),
    };
    for (component, expected) in EXPECTED {
        let found = rows.iter().find(|row| row.component == component).map_or(0, |row| row.version);
        match found.cmp(&expected) {
            std::cmp::Ordering::Less => return Err(Error::Older { component, found, expected }),
            std::cmp::Ordering::Greater => return Err(Error::Newer { component, found, expected }),
            std::cmp::Ordering::Equal => {}
        }
    }
    Ok(())
}

/// The identity that the first migration wrote: names the consumer group, so that two databases
/// never share one.
pub async fn database_identity(connection: impl PgExecutor<'_>) -> Result<Uuid, Error> {
    Ok(sqlx::query_scalar!("SELECT id FROM database_identity").fetch_one(connection).await?)
}

fn newer(version: i64) -> Error {
    let (component, expected) = if version > 1000 { EXPECTED[1] } else { EXPECTED[0] };
    Error::Newer { component, found: i32::try_from(version % 1000).unwrap_or(i32::MAX), expected }
}
