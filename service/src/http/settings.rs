//! Owns the settings of a listener (a section such as `http`).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

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
    /// Requests in flight; the next one is answered 503.
    pub in_flight_limit: usize,
    /// The longest that a request may take; longer waits asked for by callers are bounded below it.
    pub request_timeout_ms: u64,
    /// Open connections; the next one waits until another closes.
    pub connection_limit: usize,
    /// A connection on which nothing moves is closed. Should be longer than `request_timeout_ms`.
    pub idle_timeout_ms: u64,
    /// The least of the `Retry-After` of a 503; up to twice as much is given.
    pub retry_after_ms: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            insecure: false,
            body_limit_bytes: DEFAULT_BODY_LIMIT,
            header_limit_bytes: 16 * 1024,
            header_limit_count: 100,
            in_flight_limit: 1_024,
            request_timeout_ms: 30_000,
            connection_limit: 4_096,
            idle_timeout_ms: 75_000,
            retry_after_ms: 1_000,
        }
    }
}

impl HttpSettings {
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
