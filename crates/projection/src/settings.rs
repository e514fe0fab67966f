//! The settings that this process reads, with the defaults of production.

use std::{net::SocketAddr, time::Duration};

use highwater_runtime::resilience::Backoff;
use serde::Deserialize;

use crate::runner::Limits;

/// Section `projector`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectorSettings {
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub listen: SocketAddr,
    /// Listen beyond loopback, because something in front protects it.
    pub insecure: bool,
    /// About so many events in one transaction.
    pub batch_events: usize,
    /// About so many bytes of their data.
    pub batch_bytes: usize,
    /// The first and the longest wait before a transaction that failed is tried again.
    pub retry_first_ms: u64,
    pub retry_longest_ms: u64,
    /// A projection that has failed for so long makes the process `degraded`.
    pub degraded_after_ms: u64,
    /// How often the lag is measured.
    pub lag_interval_ms: u64,
    /// How long leaving the consumer group may take.
    pub leave_within_ms: u64,
    /// How long a partition that the group took back is projected further, until its new projector
    /// moves its checkpoints. 0: not at all.
    pub handoff_ms: u64,
    /// So many aggregates of a partition may be parked by a projection, because an event of theirs
    /// cannot be applied; beyond that the projection halts there, and with 0 at the first.
    pub parked_most: u64,
    pub database: DatabaseSettings,
}

/// `projector.database`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseSettings {
    pub url: String,
    pub connections: u32,
    /// How long a connection may be waited for.
    pub acquire_timeout_ms: u64,
    pub statement_timeout_ms: u64,
    /// While one transaction waits for a lock, no other one runs.
    pub lock_timeout_ms: u64,
}

impl Default for ProjectorSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8082)),
            insecure: false,
            batch_events: 5_000,
            batch_bytes: 16 << 20,
            retry_first_ms: 50,
            retry_longest_ms: 5_000,
            degraded_after_ms: 30_000,
            lag_interval_ms: 5_000,
            leave_within_ms: 5_000,
            handoff_ms: 5_000,
            parked_most: 1_000,
            database: DatabaseSettings::default(),
        }
    }
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: "postgres://localhost/highwater".to_owned(),
            connections: 4,
            acquire_timeout_ms: 5_000,
            statement_timeout_ms: 30_000,
            lock_timeout_ms: 1_000,
        }
    }
}

impl ProjectorSettings {
    pub fn limits(&self) -> Limits {
        Limits {
            batch_events: self.batch_events.max(1),
            batch_bytes: self.batch_bytes.max(1),
            backoff: Backoff {
                first: Duration::from_millis(self.retry_first_ms.max(1)),
                longest: Duration::from_millis(self.retry_longest_ms.max(self.retry_first_ms)),
            },
            leave_within: Duration::from_millis(self.leave_within_ms),
            handoff: Duration::from_millis(self.handoff_ms),
            parked_most: self.parked_most,
            ..Limits::default()
        }
    }

    pub fn lag_interval(&self) -> Duration {
        Duration::from_millis(self.lag_interval_ms.max(100))
    }
}
