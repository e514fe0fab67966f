//! Owns the settings of a listener (a section such as `http`).

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Deserialize;

use super::bulkhead::Limits;
use super::peer::Share;
use super::receiving::Pace;
use crate::body::DEFAULT_BODY_LIMIT;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    pub listen: SocketAddr,
    /// Serve other machines without authentication, because something in front protects it.
    pub insecure: bool,
    pub body_limit_bytes: usize,
    /// Names and values of all headers together.
    pub header_limit_bytes: usize,
    pub header_limit_count: usize,
    /// A body must be complete within this.
    pub body_timeout_ms: u64,
    /// After so long a body must have come, from then on, at ...
    pub body_grace_ms: u64,
    /// ... so many bytes a second.
    pub body_rate_bytes_s: u64,
    /// Bytes of bodies that are not complete, of all requests; the next one is answered 503.
    pub receiving_limit_bytes: usize,
    /// How much of each limit on requests one peer may have: an IPv4 address, or the /64 network of an IPv6 one.
    pub peer_share_percent: Share,
    /// Requests that may change something.
    pub commands: BulkheadSettings,
    /// GET and HEAD.
    pub reads: BulkheadSettings,
    /// The longest that a request may take; longer waits asked for by callers are bounded below it.
    pub request_timeout_ms: u64,
    /// Open connections; the next one waits until another closes.
    pub connection_limit: usize,
    /// A connection on which nothing moves is closed. Should be longer than `request_timeout_ms`.
    pub idle_timeout_ms: u64,
    /// The least of the `Retry-After` of a 503; up to twice as much is given.
    pub retry_after_ms: u64,
}

/// `http.commands`, `http.reads`: requests of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BulkheadSettings {
    /// Answered at once, at most.
    pub limit: NonZeroUsize,
    /// While most answers take longer than this, the limit falls; 0: it stays.
    pub latency_ms: u64,
    /// It falls no lower.
    pub floor: NonZeroUsize,
    /// Requests that wait for their turn; the next one is answered 503.
    pub waiting: usize,
    /// How long one waits until it is answered 503, too.
    pub waiting_ms: u64,
}

impl Default for BulkheadSettings {
    fn default() -> Self {
        let of = |limit: usize| NonZeroUsize::MIN.saturating_add(limit - 1);
        Self { limit: of(1_024), latency_ms: 200, floor: of(64), waiting: 512, waiting_ms: 1_000 }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            insecure: false,
            body_limit_bytes: DEFAULT_BODY_LIMIT,
            header_limit_bytes: 16 * 1024,
            header_limit_count: 100,
            body_timeout_ms: 5_000,
            body_grace_ms: 3_000,
            body_rate_bytes_s: 1_024,
            receiving_limit_bytes: 64 << 20,
            peer_share_percent: Share::MOST,
            commands: BulkheadSettings::default(),
            reads: BulkheadSettings::default(),
            request_timeout_ms: 30_000,
            connection_limit: 4_096,
            idle_timeout_ms: 75_000,
            retry_after_ms: 1_000,
        }
    }
}

impl HttpSettings {
    pub(super) fn pace(&self) -> Pace {
        Pace {
            within: Duration::from_millis(self.body_timeout_ms),
            grace: Duration::from_millis(self.body_grace_ms),
            rate: self.body_rate_bytes_s,
        }
    }

    pub(super) fn limits(&self, of: &BulkheadSettings) -> Limits {
        Limits {
            limit: of.limit.get(),
            floor: of.floor.get(),
            latency: Some(Duration::from_millis(of.latency_ms)).filter(|latency| !latency.is_zero()),
            waiting: of.waiting,
            waits_for: Duration::from_millis(of.waiting_ms),
            share: self.peer_share_percent,
            retry_after: self.retry_after(),
        }
    }

    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub fn retry_after(&self) -> Duration {
        Duration::from_millis(self.retry_after_ms)
    }
}
