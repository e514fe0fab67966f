//! The tables: makes them, and refuses to work on any but the expected ones.
//!
//! Two sets of migrations have a history each: `migrations/` (what every application needs) in
//! `_sqlx_migrations`, and the application's own in `application_migrations`. The version of each
//! set stands in `schema_version`; a service reads that table before it serves.

use std::{cmp::Ordering, collections::BTreeMap};

use sqlx::{
    Acquire, Connection, PgConnection, Postgres,
    migrate::{Migrate, MigrateError, Migration, Migrator},
    postgres::{PgDatabaseError, PgErrorPosition},
};

use crate::{
    postgres::{self, Connections},
    rows,
};

/// The component of the tables that every application has, in `schema_version`.
pub const SYSTEM: &str = "system";

/// The version of [`SYSTEM`] that this release works on.
pub const SYSTEM_VERSION: i32 = 5;

/// The history of the application's migrations.
const OWN_HISTORY: &str = "application_migrations";

/// Until they had a history of their own, the application's migrations were numbered on from here.
const JOINT_FROM: i64 = 1_001;

/// Held while a joint history is parted.
const PARTING: i64 = 0x6877_7061_7274;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The tables of an application, beside the system's.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its component in `schema_version`; not [`SYSTEM`].
    pub name: &'static str,
    /// The largest number is the version.
    pub migrations: Vec<Migration>,
    /// The tables that its rows describe: they are compared before anything is read or written.
    pub rows: Vec<rows::Table>,
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
    #[error(
        "the database has the tables of the application `{theirs}`, not those of `{ours}`: name \
         another database; where `{theirs}` is called `{ours}` by now, run its `migrate`"
    )]
    Other { ours: &'static str, theirs: String },
    #[error("{0}")]
    Unfit(rows::Error),
    #[error(
        "migration {number} of `{component}` was changed after it ran: take the change back, and \
         put what is new into the next one"
    )]
    Changed { component: &'static str, number: i64 },
    #[error("migration {number} ({name}) of `{component}`{}: {why}", line_of(*line))]
    Failed { component: &'static str, number: i64, name: String, line: Option<usize>, why: String },
    #[error("the migrations could not be run: {0}")]
    Migrate(MigrateError),
    #[error("{what}: {0}", what = postgres::what_failed(.0))]
    Database(#[from] sqlx::Error),
}

impl From<rows::Error> for Error {
    fn from(error: rows::Error) -> Self {
        match error {
            rows::Error::Database(error) => Self::Database(error),
            unfit @ rows::Error::Unfit { .. } => Self::Unfit(unfit),
        }
    }
}

impl Application {
    /// The version of its tables that this release works on.
    pub fn version(&self) -> i32 {
        let last = self.migrations.iter().map(|migration| migration.version).max();
        number(last.unwrap_or_default())
    }
}

/// Brings the database to this release. Safe to run from several places at once, and again. Tables
/// that do not fit their rows afterwards are said here, and not at the next start.
pub async fn migrate<'a, A>(connection: A, application: Option<&Application>) -> Result<(), Error>
where
    A: Acquire<'a, Database = Postgres>,
{
    let mut connection = connection.acquire().await?;
    part(&mut connection, application).await?;
    let system = run(&MIGRATIONS, &mut connection).await;
    system.map_err(|error| refused(error, SYSTEM, SYSTEM_VERSION, MIGRATIONS.iter()))?;
    let Some(application) = application else { return Ok(()) };
    let (name, version) = (application.name, application.version());
    let mut own = Migrator::with_migrations(application.migrations.clone());
    own.dangerous_set_table_name(OWN_HISTORY);
    if let Err(error) = run(&own, &mut connection).await {
        let refused = refused(error, name, version, own.iter());
        let is_history = matches!(refused, Error::Newer { .. } | Error::Changed { .. });
        let theirs = other(&versions(&mut connection).await?, name).filter(|_| is_history);
        return Err(theirs.map_or(refused, |theirs| Error::Other { ours: name, theirs }));
    }
    // Without a migration there is no version, as before the first one, which may write it itself.
    if version > 0 {
        // Beside a newer release that has gone on meanwhile, its version stays.
        sqlx::query!(
            "INSERT INTO schema_version AS known (component, version) VALUES ($1, $2)
         ON CONFLICT (component) DO UPDATE
         SET version = greatest(known.version, excluded.version)",
            name,
            version,
        )
        .execute(&mut *connection)
        .await?;
    }
    for table in &application.rows {
        rows::check(&mut connection, table).await?;
    }
    Ok(())
}

/// A migrator that fails keeps its lock, which is the session's, and a session may be used again.
async fn run(migrator: &Migrator, connection: &mut PgConnection) -> Result<(), MigrateError> {
    let ran = migrator.run(&mut *connection).await;
    if ran.is_err() {
        // A session that cannot even do that has ended, and its lock with it.
        let _ = Migrate::unlock(connection).await;
    }
    ran
}

/// Moves the application's migrations out of a history that the system's share with them; only
/// those that this release knows, so that what it refuses stays as it was.
async fn part(
    connection: &mut PgConnection,
    application: Option<&Application>,
) -> Result<(), Error> {
    let Some(application) = application else { return Ok(()) };
    let mut tx = Connection::begin(connection).await?;
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", PARTING).execute(&mut *tx).await?;
    let is_new: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NULL")
        .fetch_one(&mut *tx)
        .await?;
    if is_new {
        return Ok(tx.rollback().await?);
    }
    // Of tables that sqlx makes, so that no query of them can be checked.
    let joint = "SELECT version, checksum FROM _sqlx_migrations WHERE version >= $1 AND success";
    let joint: Vec<(i64, Vec<u8>)> =
        sqlx::query_as(joint).bind(JOINT_FROM).fetch_all(&mut *tx).await?;
    if joint.is_empty() {
        return Ok(tx.rollback().await?);
    }
    let component = application.name;
    for (version, checksum) in joint {
        match application.migrations.iter().find(|own| own.version == version) {
            None => {
                let (found, expected) = (number(version), application.version());
                return Err(Error::Newer { component, found, expected });
            }
            Some(own) if *own.checksum != *checksum => {
                return Err(Error::Changed { component, number: version });
            }
            Some(_) => {}
        }
    }
    let statements = [
        "CREATE TABLE IF NOT EXISTS application_migrations (LIKE _sqlx_migrations INCLUDING ALL)",
        "INSERT INTO application_migrations SELECT * FROM _sqlx_migrations WHERE version >= 1001",
        "DELETE FROM _sqlx_migrations WHERE version >= 1001",
    ];
    for statement in statements {
        sqlx::query(statement).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

/// Whether the tables are those that this release works on: the system's, and the application's
/// if one is named.
pub async fn check(
    connection: &mut PgConnection,
    application: Option<&Application>,
) -> Result<(), Error> {
    let versions = match versions(&mut *connection).await {
        Ok(versions) => versions,
        Err(error) if postgres::is_unmigrated(&error) => return Err(Error::Empty),
        Err(error) => return Err(error.into()),
    };
    let own = application.map(|application| (application.name, application.version()));
    for (component, expected) in [(SYSTEM, SYSTEM_VERSION)].into_iter().chain(own) {
        let found = versions.get(component).copied().unwrap_or(0);
        if found == 0
            && let Some(theirs) = other(&versions, component).filter(|_| component != SYSTEM)
        {
            return Err(Error::Other { ours: component, theirs });
        }
        match found.cmp(&expected) {
            Ordering::Less => return Err(Error::Older { component, found, expected }),
            Ordering::Greater => return Err(Error::Newer { component, found, expected }),
            Ordering::Equal => {}
        }
    }
    Ok(())
}

/// By component.
async fn versions(connection: &mut PgConnection) -> Result<BTreeMap<String, i32>, sqlx::Error> {
    let rows = sqlx::query!("SELECT component, version FROM schema_version").fetch_all(connection);
    Ok(rows.await?.into_iter().map(|row| (row.component, row.version)).collect())
}

/// The application whose tables are there, where it is another one than `name`.
fn other(versions: &BTreeMap<String, i32>, name: &str) -> Option<String> {
    let applications = || versions.keys().filter(|component| *component != SYSTEM);
    if applications().any(|application| application == name) {
        return None;
    }
    applications().next().cloned()
}

/// The same, and whether the application's tables were made by its migrations and are what its rows
/// say.
pub async fn check_with_rows(
    connection: &mut PgConnection,
    application: Option<&Application>,
) -> Result<(), Error> {
    check(connection, application).await?;
    if let Some(application) = application {
        check_unchanged(connection, application).await?;
    }
    for table in application.into_iter().flat_map(|application| &application.rows) {
        rows::check(connection, table).await?;
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
    check_with_rows(&mut connection, application).await?;
    Ok(connection)
}

impl Error {
    /// Whether the database was not there, or did not let the caller in.
    pub fn is_unreachable(&self) -> bool {
        let away = |error| !postgres::is_refused(error) && !postgres::is_unusable(error);
        self.of_database().is_some_and(away)
    }

    /// Whether what is named is no database that can be worked with.
    pub fn is_unusable(&self) -> bool {
        self.of_database().is_some_and(postgres::is_unusable)
    }

    /// What the database, or the way to it, said itself.
    pub fn of_database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(error)
            | Self::Migrate(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => Some(error),
            _ => None,
        }
    }

    /// Whether the same may succeed later although nothing is changed.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Database(error) if postgres::may_pass(error))
    }
}

fn refused<'a>(
    error: MigrateError,
    component: &'static str,
    expected: i32,
    mut all: impl Iterator<Item = &'a Migration>,
) -> Error {
    match error {
        // Applied, but unknown here.
        MigrateError::VersionMissing(version) => {
            Error::Newer { component, found: number(version), expected }
        }
        MigrateError::VersionMismatch(number) => Error::Changed { component, number },
        MigrateError::ExecuteMigration(sqlx::Error::Database(error), number) => {
            let migration = all.find(|migration| migration.version == number);
            let sql = migration.map(|migration| migration.sql.as_str()).unwrap_or_default();
            let position = error.try_downcast_ref::<PgDatabaseError>().and_then(|it| it.position());
            let line = match position {
                Some(PgErrorPosition::Original(at)) => {
                    let before = sql.chars().take(at.saturating_sub(1));
                    Some(before.filter(|letter| *letter == '\n').count() + 1)
                }
                _ => None,
            };
            let name = migration.map(|migration| migration.description.to_string());
            let (name, why) = (name.unwrap_or_default(), error.message().to_owned());
            Error::Failed { component, number, name, line, why }
        }
        other => Error::Migrate(other),
    }
}

fn line_of(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

/// Refuses an application whose migrations are not those that made its tables. Says nothing where
/// the role may not read their history.
async fn check_unchanged(
    connection: &mut PgConnection,
    application: &Application,
) -> Result<(), Error> {
    // Of a table that sqlx makes, so that no query of it can be checked.
    let applied = "SELECT version, checksum FROM application_migrations ORDER BY version";
    let applied = match sqlx::query_as::<_, (i64, Vec<u8>)>(applied).fetch_all(connection).await {
        Ok(applied) => applied,
        Err(error) if postgres::is_unmigrated(&error) || postgres::is_denied(&error) => {
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let changed = applied.into_iter().find(|(number, checksum)| {
        let own = application.migrations.iter().find(|own| own.version == *number);
        own.is_some_and(|own| *own.checksum != **checksum)
    });
    match changed {
        Some((number, _)) => Err(Error::Changed { component: application.name, number }),
        None => Ok(()),
    }
}

/// As `schema_version` counts it.
fn number(version: i64) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}
