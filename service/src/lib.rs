//! What every process of Highwater needs and no business rule touches.
//!
//! | module | what it owns |
//! |---|---|
//! | [`config`] | layered settings: defaults, file, environment, flags |
//! | [`clock`] | the only readers of the system's clock and randomness |
//! | [`context`] | what is handed to every part of a process |
//! | [`start`] | waiting for the log and the database at the start |
//! | [`shutdown`] | soft and hard cancellation, tracked tasks |
//! | [`telemetry`] | logs and metrics of the process |
//! | [`process`] | the frame of a process of its own |
//! | [`problem`] | the one form of an error answer (RFC 9457) |
//! | [`http`] | the server and the layers around every route |
//! | [`health`] | liveness, readiness, metrics |
//! | [`json`], [`body`], [`schema`] | strict JSON, from bytes to checked value |
//! | [`heavy`] | what takes a processor for milliseconds, beside the threads that answer everybody |
//! | [`headers`] | parsers of the request headers that we give a meaning |
//! | [`seen`] | which ids have been seen: filters |
//! | [`identity`] | deployment keys: ids and fingerprints made from them |
//! | [`cursor`] | signed positions in lists |
//! | [`postgres`] | pools of connections |
//! | [`resilience`] | retries with a bound, waits with jitter |
//!
//! No module here knows an aggregate, an event or a command.

pub mod body;
pub mod clock;
pub mod config;
pub mod context;
pub mod cursor;
pub mod headers;
pub mod health;
pub mod heavy;
pub mod http;
pub mod identity;
pub mod json;
pub mod postgres;
pub mod problem;
pub mod process;
pub mod resilience;
pub mod schema;
pub mod seen;
pub mod shutdown;
pub mod start;
pub mod telemetry;

#[cfg(test)]
#[path = "../../tests/support/documented.rs"]
mod documented;
