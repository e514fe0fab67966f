//! What can go wrong with a transaction of a projection, and what the runner does about it.
//! Decides, does nothing itself.

use std::time::Duration;

use highwater_protocol::domain::Unreadable;
use highwater_runtime::resilience::Backoff;
use highwater_tables::{ReadError, checkpoints};
use sqlx::{error::DatabaseError, postgres::PgDatabaseError};

use super::redaction::redacted;

/// Why a transaction did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The checkpoint was moved: the partition is another runner's, or an earlier commit went
    /// through after all.
    #[error("the checkpoint is not where this runner left it")]
    Conflict,
    /// The database cannot be reached: nothing works for now.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// This connection cannot write, maybe since before the server could: another one may.
    #[error("the database cannot be written to: {0}")]
    ReadOnly(String),
    /// This transaction may work later, or in smaller parts: a deadlock, a lock or a statement that
    /// took too long.
    #[error("the database could not do it now: {0}")]
    Transient(String),
    /// It fails in the same way every time.
    #[error("{0}")]
    Deterministic(String),
    /// Written by a newer release.
    #[error("{0}")]
    Newer(String),
    /// The log cannot be read for now.
    #[error("the log cannot be followed: {0}")]
    Log(String),
}

impl Failure {
    /// Whether the same may work later.
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Failure::Unreachable(_)
                | Failure::ReadOnly(_)
                | Failure::Transient(_)
                | Failure::Log(_)
        )
    }
}

/// The policy, as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The same transaction again.
    RetryAfter(Duration),
    /// In smaller transactions, so that what is sound goes on.
    Split,
    /// This projection follows its partition by itself, and later, so that the others do not wait
    /// for it.
    GoAlone,
    /// The aggregate of the one commit that fails waits, and the partition goes on.
    Park,
    /// Read the checkpoints again and follow from there.
    Reload,
    /// This projection stops on this partition until a restart.
    Halt,
}

/// After so many transient failures in a row a transaction is split: it may be too large for its
/// time-out, or one part of it waits for a lock.
pub const ATTEMPTS_BEFORE_SPLIT: u32 = 3;

/// What to do after the `attempt`-th failure (from 1) of a transaction that `can_split`, or is one
/// commit of an aggregate that `can_park`.
pub fn on_failure(
    failure: &Failure,
    attempt: u32,
    can_split: bool,
    can_park: bool,
    backoff: &Backoff,
) -> OnFailure {
    match failure {
        Failure::Unreachable(_) | Failure::ReadOnly(_) | Failure::Log(_) => {
            OnFailure::RetryAfter(backoff.after(attempt))
        }
        Failure::Transient(_) if attempt < ATTEMPTS_BEFORE_SPLIT => {
            OnFailure::RetryAfter(backoff.after(attempt))
        }
        Failure::Transient(_) if can_split => OnFailure::Split,
        Failure::Transient(_) => OnFailure::GoAlone,
        Failure::Conflict | Failure::Deterministic(_) | Failure::Newer(_) if can_split => {
            OnFailure::Split
        }
        Failure::Conflict => OnFailure::Reload,
        Failure::Deterministic(_) if can_park => OnFailure::Park,
        Failure::Deterministic(_) | Failure::Newer(_) => OnFailure::Halt,
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(reported) => {
                match by_sqlstate(reported.code().as_deref())(text) {
                    Failure::Deterministic(_) => Failure::Deterministic(described(&**reported)),
                    other => other,
                }
            }
            sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::RowNotFound => Failure::Deterministic(text),
            _ => Failure::Unreachable(text),
        }
    }
}

/// A malformed row is read in the same way every time.
impl From<ReadError> for Failure {
    fn from(unread: ReadError) -> Self {
        match unread {
            ReadError::Database(error) => error.into(),
            ReadError::Malformed(malformed) => Failure::Deterministic(malformed.to_string()),
        }
    }
}

/// A position that no columns hold is refused every time.
impl From<checkpoints::Error> for Failure {
    fn from(error: checkpoints::Error) -> Self {
        Failure::Deterministic(error.to_string())
    }
}

impl From<Unreadable> for Failure {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Newer { .. } => Failure::Newer(unreadable.to_string()),
            Unreadable::Malformed { .. } => {
                Failure::Deterministic(redacted(&unreadable.to_string()))
            }
        }
    }
}

/// Code and place of what the server refused, without the value.
fn described(reported: &dyn DatabaseError) -> String {
    let code = reported.code().unwrap_or_default();
    let place = reported.try_downcast_ref::<PgDatabaseError>().map_or_else(Vec::new, |reported| {
        [reported.table(), reported.column(), reported.constraint()].into_iter().flatten().collect()
    });
    let place = if place.is_empty() { String::new() } else { format!(" in {}", place.join(".")) };
    format!("SQLSTATE {code}{place}: {}", redacted(reported.message()))
}

/// read_only_sql_transaction: a server that was demoted, or `default_transaction_read_only`, which
/// a session keeps.
const READ_ONLY: &str = "25006";

/// By SQLSTATE and its classes (PostgreSQL documentation, appendix A).
fn by_sqlstate(code: Option<&str>) -> fn(String) -> Failure {
    let Some(code) = code else { return Failure::Transient };
    let is_of = |classes: &[&str]| classes.iter().any(|class| code.starts_with(class));
    if code == READ_ONLY {
        return Failure::ReadOnly;
    }
    // 08 connection, 25 transaction state (cut off after a pause), 28 and 3D who and where (an
    // operator is at it), 53 resources, 55000 takes no connections, 57P shutdown, 58 system.
    if is_of(&["08", "25", "28", "3D", "53", "55000", "57P", "58"]) {
        return Failure::Unreachable;
    }
    // 0A and 26 plans that a migration outdated, 40 rollback (deadlock), 55 locks, 57 time-outs, XX
    // the server's own errors.
    if is_of(&["0A", "26", "40", "55", "57", "XX"]) {
        Failure::Transient
    } else {
        Failure::Deterministic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(5) };

    #[test]
    fn a_transient_failure_waits_longer_each_time_and_then_splits() {
        let (backoff, busy) = (BACKOFF, Failure::Transient("busy".to_owned()));
        assert_eq!(
            on_failure(&busy, 1, true, false, &backoff),
            OnFailure::RetryAfter(backoff.first)
        );
        assert_eq!(
            on_failure(&busy, ATTEMPTS_BEFORE_SPLIT, true, false, &backoff),
            OnFailure::Split
        );
        assert_eq!(
            on_failure(&busy, ATTEMPTS_BEFORE_SPLIT, false, false, &backoff),
            OnFailure::GoAlone
        );
        let away = Failure::Unreachable("away".to_owned());
        assert_eq!(
            on_failure(&away, 99, true, false, &backoff),
            OnFailure::RetryAfter(backoff.longest)
        );
    }

    #[test]
    fn only_what_cannot_be_split_halts_or_reloads() {
        let backoff = BACKOFF;
        let poison = Failure::Deterministic("22P05".to_owned());
        assert_eq!(on_failure(&poison, 1, true, false, &backoff), OnFailure::Split);
        assert_eq!(on_failure(&poison, 1, false, false, &backoff), OnFailure::Halt);
        assert_eq!(on_failure(&Failure::Conflict, 1, true, false, &backoff), OnFailure::Split);
        assert_eq!(on_failure(&Failure::Conflict, 1, false, false, &backoff), OnFailure::Reload);
        assert_eq!(
            on_failure(&Failure::Newer(String::new()), 1, false, false, &backoff),
            OnFailure::Halt
        );
    }

    #[test]
    fn one_commit_that_cannot_be_applied_is_parked_where_it_may_be_and_nothing_else_is() {
        let bad = || Failure::Deterministic("bad".to_owned());
        assert_eq!(on_failure(&bad(), 1, true, true, &BACKOFF), OnFailure::Split);
        assert_eq!(on_failure(&bad(), 1, false, true, &BACKOFF), OnFailure::Park);
        assert_eq!(on_failure(&bad(), 1, false, false, &BACKOFF), OnFailure::Halt);
        let newer = Failure::Newer(String::new());
        assert_eq!(on_failure(&newer, 1, false, true, &BACKOFF), OnFailure::Halt);
        assert_eq!(on_failure(&Failure::Conflict, 1, false, true, &BACKOFF), OnFailure::Reload);
    }

    #[test]
    fn what_cannot_be_reached_is_tried_again_for_ever_and_never_in_parts() {
        for failure in [Failure::Unreachable, Failure::ReadOnly, Failure::Log] {
            for (attempt, wait) in [(1, 50), (2, 100), (3, 200), (4, 400), (99, 5_000)] {
                let expected = OnFailure::RetryAfter(Duration::from_millis(wait));
                assert_eq!(
                    on_failure(&failure("away".to_owned()), attempt, true, false, &BACKOFF),
                    expected
                );
            }
        }
    }

    #[test]
    fn what_is_busy_has_its_attempts_whether_it_can_be_split_or_not() {
        let busy = Failure::Transient("busy".to_owned());
        for can_split in [true, false] {
            let then = if can_split { OnFailure::Split } else { OnFailure::GoAlone };
            assert_eq!(
                on_failure(&busy, 2, can_split, false, &BACKOFF),
                OnFailure::RetryAfter(Duration::from_millis(100))
            );
            for attempt in [3, 4] {
                assert_eq!(on_failure(&busy, attempt, can_split, false, &BACKOFF), then);
            }
        }
    }

    #[test]
    fn what_may_work_later_passes_and_the_rest_does_not() {
        for passes in [Failure::Unreachable, Failure::ReadOnly, Failure::Transient, Failure::Log] {
            assert!(passes(String::new()).passes());
        }
        for stays in [
            Failure::Deterministic(String::new()),
            Failure::Newer(String::new()),
            Failure::Conflict,
        ] {
            assert!(!stays.passes(), "{stays:?}");
        }
    }

    #[test]
    fn an_event_that_cannot_be_read_is_newer_or_fails_each_time() {
        let newer = Unreadable::Newer { what: "an event".to_owned() };
        assert!(matches!(Failure::from(newer), Failure::Newer(_)));
        let malformed =
            Unreadable::Malformed { what: "an event".to_owned(), why: "it is none".to_owned() };
        assert!(matches!(Failure::from(malformed), Failure::Deterministic(_)));
    }

    #[test]
    fn a_row_that_cannot_be_read_fails_each_time_unless_it_was_the_database() {
        let malformed = ReadError::from(checkpoints::Error::HalfWitness);
        assert!(matches!(Failure::from(malformed), Failure::Deterministic(_)));
        let away = ReadError::Database(sqlx::Error::PoolTimedOut);
        assert!(matches!(Failure::from(away), Failure::Unreachable(_)));
        assert!(matches!(Failure::from(checkpoints::Error::Partition), Failure::Deterministic(_)));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("reported")]
    struct ServerError(Option<&'static str>);

    impl sqlx::error::DatabaseError for ServerError {
        fn message(&self) -> &str {
            "reported"
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            self.0.map(Into::into)
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    #[test]
    fn an_error_of_the_driver_is_of_the_connection_unless_the_rows_are_not_as_they_must_be() {
        let reported = |code| Failure::from(sqlx::Error::Database(Box::new(ServerError(code))));
        assert!(matches!(reported(Some("23514")), Failure::Deterministic(_)));
        assert!(matches!(reported(Some("25006")), Failure::ReadOnly(_)));
        assert!(matches!(reported(None), Failure::Transient(_)), "it is not known what it was");
        for away in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, sqlx::Error::WorkerCrashed]
        {
            assert!(matches!(Failure::from(away), Failure::Unreachable(_)));
        }
        let source = || Box::new(ServerError(None));
        for wrong in [
            sqlx::Error::RowNotFound,
            sqlx::Error::ColumnNotFound(String::new()),
            sqlx::Error::TypeNotFound { type_name: String::new() },
            sqlx::Error::Decode(source()),
            sqlx::Error::Encode(source()),
            sqlx::Error::ColumnDecode { index: String::new(), source: source() },
        ] {
            assert!(matches!(Failure::from(wrong), Failure::Deterministic(_)));
        }
    }

    #[test]
    fn what_the_database_reports_is_told_apart() {
        for code in ["57P01", "53300", "08006", "25P03", "28P01", "58030"] {
            assert!(
                matches!(by_sqlstate(Some(code))(String::new()), Failure::Unreachable(_)),
                "{code}"
            );
        }
        assert!(matches!(by_sqlstate(Some("25006"))(String::new()), Failure::ReadOnly(_)));
        for code in ["40P01", "40001", "57014", "55P03", "0A000"] {
            assert!(
                matches!(by_sqlstate(Some(code))(String::new()), Failure::Transient(_)),
                "{code}"
            );
        }
        for code in ["22P05", "23514", "42P01", "21000", "42501"] {
            assert!(
                matches!(by_sqlstate(Some(code))(String::new()), Failure::Deterministic(_)),
                "{code}"
            );
        }
    }
}
