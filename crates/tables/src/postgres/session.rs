//! What every connection is set to, whatever the database, the role or a pooler in front of it
//! says, and which databases are refused.
//!
//! Everything is set by a statement after the connection is made. `PgBouncer` refuses the start
//! parameter `options`, and would not know of `extra_float_digits`; in session mode it keeps what
//! is set so.

use std::str::FromStr;

use sqlx::{
    Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};

/// Where all tables are, of every process: no `search_path` of a database or of a role leads
/// elsewhere.
pub const SCHEMA: &str = "public";

/// What must not depend on the database or the role.
const COMMON: [(&str, &str); 5] = [
    ("search_path", SCHEMA),
    ("default_transaction_isolation", "read committed"),
    // A policy is an error then, and hides no row in silence.
    ("row_security", "off"),
    // A session with a limit of its own sets it after this.
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
];

/// A database that nothing of Highwater works on.
#[derive(Debug, thiserror::Error)]
pub enum UnusableDatabase {
    #[error(
        "the database `{database}` has the encoding {encoding}, which cannot hold every text: it \
         must be UTF8; make another one, \
         for example with CREATE DATABASE highwater ENCODING 'UTF8' TEMPLATE template0, and run \
         the application's `migrate` on it"
    )]
    Encoding { database: String, encoding: String },
    #[error(
        "the database `{database}` has no schema `{SCHEMA}`, where all tables are: CREATE SCHEMA \
         {SCHEMA}"
    )]
    NoSchema { database: String },
    #[error(
        "the server takes no writes ({why}): name the primary, or make this one writable; \
         connections are tried again until it is"
    )]
    ReadOnly { why: &'static str },
}

/// How a connection is made and begun.
#[derive(Clone, Debug)]
pub struct Session {
    options: PgConnectOptions,
    settings: Vec<(&'static str, String)>,
    writes: bool,
}

/// A connection for a tool, set up as those of the services.
pub async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    Session::new(url, "highwater", Vec::new(), false)?.connect().await
}

impl Session {
    /// `settings` of every session, beside those that all have; `writes`: a server that only reads
    /// is refused.
    pub fn new(
        url: &str,
        application: &str,
        settings: Vec<(&'static str, String)>,
        writes: bool,
    ) -> Result<Self, sqlx::Error> {
        let options =
            PgConnectOptions::from_str(url)?.application_name(application).extra_float_digits(None);
        Ok(Self { options, settings, writes })
    }

    /// Of a pool that is there already, as it is.
    pub(super) fn of(options: PgConnectOptions) -> Self {
        Self { options, settings: Vec::new(), writes: false }
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        // Told apart from those of the pool.
        let name = self.options.get_application_name().map(|name| format!("{name} (check)"));
        let options =
            name.iter().fold(self.options.clone(), |options, name| options.application_name(name));
        let mut connection = PgConnection::connect_with(&options).await?;
        self.begin(&mut connection).await?;
        Ok(connection)
    }

    /// Sets a new connection up, or refuses its database. Gives the process that serves it, as
    /// `pg_stat_activity` names it.
    pub(super) async fn begin(&self, connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
        let common = COMMON.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let all = common.chain(self.settings.iter().cloned());
        // Before there are tables there is no role: what is wrong with the database is said first.
        let (role, others): (Vec<_>, Vec<_>) = all.partition(|(name, _)| *name == "role");
        let (names, values): (Vec<&str>, Vec<String>) = others.into_iter().unzip();
        // Statements that are not kept.
        let set_and_ask = "SELECT current_database()::text, current_setting('server_encoding'), \
                           to_regnamespace($1) IS NOT NULL,
                                  pg_is_in_recovery(), current_setting('transaction_read_only') = \
                                  'on',
                                  (SELECT count(set_config(name, value, false)) FROM \
                                  unnest($2::text[], $3::text[]) AS given (name, value)),
                                  pg_backend_pid()";
        let asked =
            sqlx::query(set_and_ask).persistent(false).bind(SCHEMA).bind(names).bind(values);
        let row = asked.fetch_one(&mut *connection).await?;
        self.check(&row)?;
        for (_, role) in role {
            sqlx::query("SELECT set_config('role', $1, false)")
                .persistent(false)
                .bind(role)
                .execute(&mut *connection)
                .await?;
        }
        row.try_get(6)
    }

    fn check(&self, row: &PgRow) -> Result<(), sqlx::Error> {
        let (database, encoding): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (has_schema, recovers, read_only): (bool, bool, bool) =
            (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        let refused = match () {
            () if encoding != "UTF8" => UnusableDatabase::Encoding { database, encoding },
            () if !has_schema => UnusableDatabase::NoSchema { database },
            () if self.writes && recovers => UnusableDatabase::ReadOnly { why: "it is a standby" },
            () if self.writes && read_only => {
                UnusableDatabase::ReadOnly { why: "default_transaction_read_only is on" }
            }
            () => return Ok(()),
        };
        Err(sqlx::Error::Configuration(Box::new(refused)))
    }
}
