//! The settings that this process reads, with the defaults of production.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use highwater_http::{
    cursor::CursorSecret,
    server::{Limits, Share},
};
use serde::Deserialize;

use crate::circuit;

/// Two of them listen for notifications.
pub(crate) const LEAST_CONNECTIONS: u32 = 3;

const EIGHT: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);

/// Section `log`, as far as it is read here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LogSettings {
    /// Of every `events` topic: says where an aggregate lives.
    pub partitions: NonZeroU32,
}

/// Section `identity`, as far as it is read here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IdentitySettings {
    /// The file of the deployment keys.
    pub keys: Option<PathBuf>,
}

/// Section `query`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerySettings {
    pub listen: SocketAddr,
    /// Listen beyond loopback, because something in front protects it.
    pub insecure: bool,
    pub database: DatabaseSettings,
    /// How long a query waits for its position when the caller does not say.
    pub wait_default_ms: u64,
    /// The longest wait that a caller gets. Must be below `http.request_timeout_ms`.
    pub wait_longest_ms: u64,
    /// Queries that may wait at once; the next one is answered 503.
    pub waiting_limit: usize,
    /// While a request waits, the checkpoints are read at most this often ...
    pub position_interval_ms: u64,
    /// ... and at least this often, also when no notification comes.
    pub position_poll_ms: u64,
    /// The least of the `Retry-After` of a 503; up to twice as much is given.
    pub retry_after_ms: u64,
    /// Signs the cursors of lists: the same for all instances. Not set: a key from `identity.keys`;
    /// without that, a fresh one for each process, so that a cursor ends with the process that gave
    /// it.
    pub cursor_secret: Option<CursorSecret>,
    pub lists: ListSettings,
    pub cache: CacheSettings,
}

/// `query.lists`: lists that read from the database, so that they never have all of its
/// connections.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListSettings {
    /// At once; more than half of `database.connections` are not allowed at once whatever this
    /// says.
    pub limit: u32,
    /// Those that wait for their turn; the next one is answered 503.
    pub waiting: usize,
    /// How long one waits until it is answered 503, too.
    pub waiting_ms: u64,
}

/// `query.cache`: single resources in memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// About so many bytes are kept; 0: nothing is.
    pub bytes: u64,
    /// The longest that an entry is kept, also if nothing is heard of a change.
    pub keep_ms: u64,
    /// Changes of so many keys of a view are remembered one by one; beyond it by partition.
    pub watermarks: usize,
    /// While the database is away, what was read at most so long ago is shown, marked as such; 0:
    /// nothing is.
    pub stale_ms: u64,
    /// About so many bytes are kept for that; bodies that are kept as current too are counted twice
    /// and held once.
    pub stale_bytes: u64,
}

/// `query.database`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseSettings {
    pub url: String,
    pub connections: u32,
    /// How long a connection may be waited for.
    pub acquire_timeout_ms: u64,
    pub statement_timeout_ms: u64,
    /// While the database is away, how often it is tried ...
    pub probe_interval_ms: u64,
    /// ... and how long one try may take. No request waits for it meanwhile.
    pub probe_timeout_ms: u64,
}

/// Limits of [`crate::positions::Positions`].
#[derive(Clone, Debug)]
pub struct PositionSettings {
    pub waiting: usize,
    pub interval: Duration,
    pub poll: Duration,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { partitions: EIGHT }
    }
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            insecure: false,
            database: DatabaseSettings::default(),
            wait_default_ms: 2_000,
            wait_longest_ms: 29_000,
            waiting_limit: 512,
            position_interval_ms: 2,
            position_poll_ms: 200,
            retry_after_ms: 1_000,
            cursor_secret: None,
            lists: ListSettings::default(),
            cache: CacheSettings::default(),
        }
    }
}

impl Default for ListSettings {
    fn default() -> Self {
        Self { limit: 8, waiting: 64, waiting_ms: 1_000 }
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            keep_ms: 10_000,
            watermarks: 50_000,
            stale_ms: 300_000,
            stale_bytes: 64 << 20,
        }
    }
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: "postgres://localhost/highwater".to_owned(),
            connections: 16,
            acquire_timeout_ms: 2_000,
            statement_timeout_ms: 5_000,
            probe_interval_ms: 200,
            probe_timeout_ms: 1_000,
        }
    }
}

impl QuerySettings {
    pub fn positions(&self) -> PositionSettings {
        PositionSettings {
            waiting: self.waiting_limit,
            interval: Duration::from_millis(self.position_interval_ms.max(1)),
            poll: Duration::from_millis(self.position_poll_ms.max(10)),
        }
    }

    /// Of lists that read at once: single reads and the readiness check always find a connection.
    pub fn lists(&self, share: Share) -> Limits {
        let half = self.database.connections.max(LEAST_CONNECTIONS) / 2;
        let limit = usize::try_from(self.lists.limit.clamp(1, half)).unwrap_or(1);
        Limits {
            limit,
            floor: limit,
            latency: None,
            waiting: self.lists.waiting,
            waits_for: Duration::from_millis(self.lists.waiting_ms),
            share,
            retry_after: Duration::from_millis(self.retry_after_ms),
        }
    }

    /// A query has the time that its connection and its statement have, and a second for the way.
    pub fn circuit(&self) -> circuit::Limits {
        let database = &self.database;
        circuit::Limits {
            within: Duration::from_millis(
                database
                    .acquire_timeout_ms
                    .saturating_add(database.statement_timeout_ms)
                    .saturating_add(1_000),
            ),
            probe_every: Duration::from_millis(database.probe_interval_ms.max(10)),
            probe_within: Duration::from_millis(database.probe_timeout_ms.max(10)),
        }
    }

    /// What the caller asked for, within the limit.
    pub fn wait(&self, asked: Option<Duration>) -> Duration {
        asked
            .unwrap_or(Duration::from_millis(self.wait_default_ms))
            .min(Duration::from_millis(self.wait_longest_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_at_least_one_partition() {
        let said =
            |error: highwater_runtime::config::Error| highwater_runtime::process::chain(&error);
        let of = |partitions: &str| -> Result<LogSettings, String> {
            let flags = vec![("log.partitions".to_owned(), partitions.to_owned())];
            highwater_runtime::config::Config::load_with(None, Some(Vec::new()), flags)
                .map_err(said)?
                .section("log")
                .map_err(said)
        };
        assert!(of("1").is_ok_and(|naming| naming.partitions == NonZeroU32::MIN));
        let refused = of("0");
        assert!(refused.as_ref().is_err_and(|said| said.contains("log.partitions")), "{refused:?}");
    }

    #[test]
    fn lists_read_on_at_most_half_of_the_connections() {
        let limit = |limit: u32, connections: u32| {
            let database = DatabaseSettings { connections, ..DatabaseSettings::default() };
            let lists = ListSettings { limit, ..ListSettings::default() };
            QuerySettings { database, lists, ..QuerySettings::default() }.lists(Share::MOST).limit
        };
        assert_eq!(
            (limit(8, 16), limit(100, 16), limit(2, 16), limit(0, 16), limit(8, 1)),
            (8, 8, 2, 1, 1)
        );
    }

    #[test]
    fn waits_are_bounded() {
        let settings = QuerySettings::default();
        assert_eq!(settings.wait(None), Duration::from_secs(2));
        assert_eq!(settings.wait(Some(Duration::ZERO)), Duration::ZERO);
        assert_eq!(
            settings.wait(Some(Duration::from_secs(u64::from(u32::MAX)))),
            Duration::from_secs(29)
        );
        assert!(
            settings.wait_longest_ms
                < highwater_http::server::HttpSettings::default().request_timeout_ms
        );
    }
}
