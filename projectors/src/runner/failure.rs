//! What can go wrong with a transaction of a projection, and what the runner does about it. Decides, does nothing itself.

use std::time::Duration;

use protocol::domain::Unreadable;

/// Why a transaction did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Somebody else moved the checkpoint: the partition is theirs, or an earlier commit went through after all.
    #[error("the checkpoint is not where this runner left it")]
    Conflict,
    /// The database cannot be reached or is busy: the same transaction may work later.
    #[error("the database is not available: {0}")]
    Transient(String),
    /// It fails in the same way every time.
    #[error("{0}")]
    Deterministic(String),
    /// Written by a newer release.
    #[error("{0}")]
    Newer(String),
}

/// The policy, as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The same transaction again.
    RetryAfter(Duration),
    /// In smaller transactions, so that what is sound goes on.
    Split,
    /// Read the checkpoints again and follow from there.
    Reload,
    /// This projection stops on this partition until a restart.
    Halt,
}

/// How often and how fast a transient failure is tried again.
#[derive(Clone, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), longest: Duration::from_secs(5) }
    }
}

/// After so many transient failures in a row a transaction that can be split is: it may be too large for its time-out.
const ATTEMPTS_BEFORE_SPLIT: u32 = 4;

/// What to do after the `attempt`-th failure (from 1) of a transaction that `can_split`.
pub fn on_failure(failure: &Failure, attempt: u32, can_split: bool, backoff: &Backoff) -> OnFailure {
    match failure {
        Failure::Transient(_) if can_split && attempt >= ATTEMPTS_BEFORE_SPLIT => OnFailure::Split,
        Failure::Transient(_) => OnFailure::RetryAfter(backoff.after(attempt)),
        Failure::Conflict | Failure::Deterministic(_) | Failure::Newer(_) if can_split => OnFailure::Split,
        Failure::Conflict => OnFailure::Reload,
        Failure::Deterministic(_) | Failure::Newer(_) => OnFailure::Halt,
    }
}

impl Backoff {
    pub fn after(&self, attempt: u32) -> Duration {
        self.first.saturating_mul(1_u32 << attempt.saturating_sub(1).min(16)).min(self.longest)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(reported) if !is_transient(reported.code().as_deref()) => Failure::Deterministic(text),
            sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::RowNotFound => Failure::Deterministic(text),
            _ => Failure::Transient(text),
        }
    }
}

impl From<Unreadable> for Failure {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Newer { .. } => Failure::Newer(unreadable.to_string()),
            Unreadable::Malformed { .. } => Failure::Deterministic(unreadable.to_string()),
        }
    }
}

/// By class of SQLSTATE (PostgreSQL documentation, appendix A).
fn is_transient(code: Option<&str>) -> bool {
    // 08 connection, 40 rollback (deadlock), 53 resources, 55 locks, 57 operator (time-outs, shutdown), 58 system;
    // a read-only transaction (25006) meets a server that was demoted.
    code.is_none_or(|code| code == "25006" || ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transient_failure_waits_longer_each_time_and_then_splits() {
        let (backoff, busy) = (Backoff::default(), Failure::Transient("busy".to_owned()));
        let waits: Vec<_> = (1..=20).map(|attempt| backoff.after(attempt)).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits.last(), Some(&backoff.longest));
        assert_eq!(on_failure(&busy, 1, true, &backoff), OnFailure::RetryAfter(backoff.first));
        assert_eq!(on_failure(&busy, ATTEMPTS_BEFORE_SPLIT, true, &backoff), OnFailure::Split);
        assert_eq!(on_failure(&busy, 99, false, &backoff), OnFailure::RetryAfter(backoff.longest));
    }

    #[test]
    fn only_what_cannot_be_split_halts_or_reloads() {
        let backoff = Backoff::default();
        let poison = Failure::Deterministic("22P05".to_owned());
        assert_eq!(on_failure(&poison, 1, true, &backoff), OnFailure::Split);
        assert_eq!(on_failure(&poison, 1, false, &backoff), OnFailure::Halt);
        assert_eq!(on_failure(&Failure::Conflict, 1, true, &backoff), OnFailure::Split);
        assert_eq!(on_failure(&Failure::Conflict, 1, false, &backoff), OnFailure::Reload);
        assert_eq!(on_failure(&Failure::Newer(String::new()), 1, false, &backoff), OnFailure::Halt);
    }

    #[test]
    fn deadlocks_time_outs_and_shutdowns_pass_and_bad_data_does_not() {
        for code in ["40P01", "57014", "57P01", "53300", "08006", "55P03", "25006"] {
            assert!(is_transient(Some(code)), "{code}");
        }
        for code in ["22P05", "23514", "42P01", "21000", "42501"] {
            assert!(!is_transient(Some(code)), "{code}");
        }
    }
}
