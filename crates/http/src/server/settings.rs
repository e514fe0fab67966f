//! Owns the settings of a listener (a section such as `http`).

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use axum::http::Uri;
use serde::Deserialize;

use super::bulkhead::Limits;
use super::pace::Pace;
use super::peer::Share;
use crate::body::DEFAULT_BODY_LIMIT;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    pub listen: SocketAddr,
    /// Serve other machines without authentication, because something in front protects it.
    pub insecure: bool,
    /// Hosts, with or without port, that requests may be for, and whose pages may send them.
    /// Loopback may always; while it is the only protection, or when any is named here, others are
    /// refused.
    pub allowed_hosts: Vec<String>,
    /// The host at which other instances reach this one. Requests may be for it; it says nothing of
    /// pages.
    #[serde(skip)]
    pub own_host: Option<String>,
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
    /// How much of each limit on requests one peer may have: an IPv4 address, or the /64 network of
    /// an IPv6 one.
    pub peer_share_percent: Share,
    /// Requests that may change something.
    pub commands: BulkheadSettings,
    /// GET and HEAD.
    pub reads: BulkheadSettings,
    /// GET of a path without parameters: of many, which cost more and are larger.
    pub collections: BulkheadSettings,
    /// The longest that a request may take; longer waits asked for by callers are bounded below it.
    pub request_timeout_ms: u64,
    /// Open connections. Beyond it the quietest gives way to a new one; see `health_connections`
    /// for when all are busy.
    pub connection_limit: usize,
    /// Open connections of one address (IPv6: of one /64).
    pub connections_per_peer: usize,
    /// Connections beyond the limits that are answered on health routes only.
    pub health_connections: usize,
    /// Descriptors that connections leave free for the log, the database and other instances.
    pub spare_descriptors: usize,
    /// A connection without a request is closed.
    pub idle_timeout_ms: u64,
    /// From the first byte of a request's head to its last, and from the opening of a connection to
    /// its first head.
    pub head_timeout_ms: u64,
    /// A request's head while it is received, request line included; at least 8,192.
    pub head_limit_bytes: usize,
    /// Requests at once on an HTTP/2 connection.
    pub streams_per_connection: u32,
    /// A connection with an answer of which the client takes less than 16 KiB within this is ended.
    pub write_timeout_ms: u64,
    /// Answers that clients have not taken yet, in the whole process.
    pub unsent_limit_bytes: usize,
    /// The same of one connection.
    pub unsent_per_connection_bytes: usize,
    /// So much of a body that no handler read is read before the answer, so that an HTTP/1
    /// connection can be kept.
    pub unread_body_bytes: usize,
    /// And for so long.
    pub unread_body_wait_ms: u64,
    /// How long a connection that closes behind an answer goes on reading what the client still
    /// sends.
    pub linger_ms: u64,
    /// And how much of it.
    pub linger_bytes: usize,
    /// How long a client that has closed its sending half may wait for its answer.
    pub half_closed_ms: u64,
    /// The least of the `Retry-After` of a 503; up to twice as much is given.
    pub retry_after_ms: u64,
}

/// `http.commands`, `http.reads`, `http.collections`: requests of a kind.
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

impl BulkheadSettings {
    fn of_collections() -> Self {
        let of = |limit: usize| NonZeroUsize::MIN.saturating_add(limit - 1);
        Self { limit: of(256), floor: of(16), waiting: 256, ..Self::default() }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            insecure: false,
            allowed_hosts: Vec::new(),
            own_host: None,
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
            collections: BulkheadSettings::of_collections(),
            request_timeout_ms: 30_000,
            connection_limit: 4_096,
            connections_per_peer: 2_048,
            health_connections: 16,
            spare_descriptors: 512,
            idle_timeout_ms: 75_000,
            head_timeout_ms: 10_000,
            head_limit_bytes: 32 * 1024,
            streams_per_connection: 32,
            write_timeout_ms: 30_000,
            unsent_limit_bytes: 128 * 1024 * 1024,
            unsent_per_connection_bytes: 8 * 1024 * 1024,
            unread_body_bytes: 64 * 1024,
            unread_body_wait_ms: 1_000,
            linger_ms: 2_000,
            linger_bytes: 16 * 1024 * 1024,
            half_closed_ms: 5_000,
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
            latency: Some(Duration::from_millis(of.latency_ms))
                .filter(|latency| !latency.is_zero()),
            waiting: of.waiting,
            waits_for: Duration::from_millis(of.waiting_ms),
            share: self.peer_share_percent,
            retry_after: self.retry_after(),
        }
    }

    /// Whether a request must be for a host that is known here.
    pub fn checks_hosts(&self) -> bool {
        let only_loopback = self.listen.ip().to_canonical().is_loopback() && !self.insecure;
        only_loopback || !self.allowed_hosts.is_empty()
    }

    /// Requests that other instances send on are for the host of `url`.
    pub fn reached_as(&mut self, url: &str) {
        self.own_host = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned));
    }

    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub fn head_timeout(&self) -> Duration {
        Duration::from_millis(self.head_timeout_ms)
    }

    pub fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    pub fn unread_body_wait(&self) -> Duration {
        Duration::from_millis(self.unread_body_wait_ms)
    }

    pub fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }

    pub fn half_closed(&self) -> Duration {
        Duration::from_millis(self.half_closed_ms)
    }

    pub fn retry_after(&self) -> Duration {
        Duration::from_millis(self.retry_after_ms)
    }
}
