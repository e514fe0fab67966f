//! Connections to Postgres: bounded in number and in waiting, open before a burst needs them, the
//! same in every process, and with a cause where there is none.
//!
//! | module | what it owns |
//! |---|---|
//! | `session` | what every connection is set to, and which databases are refused |
//! | `connections` | the connections of a process: what is open is used when no more can be had |

mod connections;
mod session;

use std::{sync::Arc, time::Duration};

use sqlx::postgres::PgPoolOptions;

pub use self::{
    connections::Connections,
    session::{SCHEMA, Session, UnusableDatabase, connect},
};

/// What the connections of a process are made from.
pub struct Pool<'a> {
    pub url: &'a str,
    /// As `pg_stat_activity` shows it.
    pub application: &'a str,
    /// Of every session, such as `statement_timeout`.
    pub session: Vec<(&'static str, String)>,
    /// Whether they write: then a server that only reads is refused.
    pub writes: bool,
    pub connections: u32,
    /// How long a connection may be waited for.
    pub acquire_timeout: Duration,
}

impl Pool<'_> {
    /// Opens no connection yet: see [`Connections::open`]. Fails if the URL is not usable.
    pub fn build(self) -> Result<Connections, sqlx::Error> {
        let session =
            Arc::new(Session::new(self.url, self.application, self.session, self.writes)?);
        let connections = self.connections.max(1);
        let options = PgPoolOptions::new()
            .max_connections(connections)
            // Those that are open stay so: see `Connections::open`. Not by `min_connections`: the
            // pool would try for five minutes to replace each one that is closed, and count what
            // it tries to open as open.
            .idle_timeout(None)
            .acquire_timeout(self.acquire_timeout);
        Ok(Connections::lazy(options, session))
    }
}

/// Neither tables nor role of Highwater are there: 42P01 no such table, 22023 or 42704 no such
/// role.
pub fn is_unmigrated(error: &sqlx::Error) -> bool {
    has_code(error, &["42P01", "22023", "42704"])
}

/// The role may not do it: 42501.
pub fn is_denied(error: &sqlx::Error) -> bool {
    has_code(error, &["42501"])
}

/// The server has no room for one more connection: 53300, and how `PgBouncer` says it. It answers
/// those that it has.
pub fn is_full(error: &sqlx::Error) -> bool {
    let said = |reported: &dyn sqlx::error::DatabaseError| {
        reported.message().contains("no more connections allowed")
    };
    has_code(error, &["53300"]) || error.as_database_error().is_some_and(said)
}

/// The server takes no writes, at present or for good: 25006.
pub fn is_read_only(error: &sqlx::Error) -> bool {
    has_code(error, &["25006"])
}

fn has_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    let code = error.as_database_error().and_then(|reported| reported.code());
    code.is_some_and(|code| codes.contains(&&*code))
}

/// Whether a database may answer later although nothing is changed: it is away, starts, stops, or
/// has no room.
pub fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        // Classes of SQLSTATE: connection, resources; and starting (57P03), stopping (57P01,
        // 57P02).
        sqlx::Error::Database(reported) => reported
            .code()
            .is_some_and(|code| ["08", "53", "57P"].iter().any(|class| code.starts_with(class))),
        _ => false,
    }
}

/// Whether the database was there and let the caller in, and it is the statement that it refused,
/// or its answer that could not be read: another schema, a missing right, a broken row.
pub fn is_refused(error: &sqlx::Error) -> bool {
    match error {
        // Beside what may pass: who may come in (28), and which database there is (3D).
        sqlx::Error::Database(reported) => !reported.code().is_some_and(|code| {
            ["08", "53", "57P", "28", "3D"].iter().any(|class| code.starts_with(class))
        }),
        sqlx::Error::RowNotFound
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_) => true,
        _ => false,
    }
}

/// Whether what is named is no database that can be worked with, whatever it answers: a URL that is
/// none, another encoding, no schema.
pub fn is_unusable(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Configuration(_))
}

/// The three things that go wrong with a database, in words; the error itself says more.
pub fn what_failed(error: &sqlx::Error) -> &'static str {
    if is_refused(error) {
        "the database refuses a statement, or its tables are not those of this release"
    } else if is_unusable(error) {
        "the database cannot be used"
    } else {
        "the database cannot be reached"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_is_no_database_that_is_away() {
        let missing = sqlx::Error::ColumnNotFound("amount_minor".to_owned());
        assert!(is_refused(&missing) && !may_pass(&missing));
        assert!(!is_refused(&sqlx::Error::PoolTimedOut));
    }

    #[test]
    fn what_failed_is_said_of_the_three_kinds() {
        for (error, said) in [
            (sqlx::Error::PoolTimedOut, "the database cannot be reached"),
            (sqlx::Error::Configuration("no url".into()), "the database cannot be used"),
            (sqlx::Error::RowNotFound, "the database refuses a statement"),
        ] {
            assert!(what_failed(&error).starts_with(said), "{error}");
        }
    }

    #[test]
    fn a_database_that_is_away_may_come() {
        let io = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert!(may_pass(&io) && may_pass(&sqlx::Error::PoolTimedOut));
        assert!(
            !may_pass(&sqlx::Error::RowNotFound)
                && !may_pass(&sqlx::Error::Configuration("no url".into()))
        );
    }
}
