//! What every process of Highwater needs and no business rule touches.
//!
//! | module | what it owns |
//! |---|---|
//! | [`config`] | layered settings: defaults, file, environment, flags |
//! | [`clock`] | the only readers of the system's clock and randomness |
//! | [`context`] | what is handed to every part of a process |
//! | [`health`] | what is ready, degraded, missing; the text of the metrics |
//! | [`identity`] | deployment keys: ids and fingerprints made from them |
//! | [`process`] | the `main` of a process, and its exit code |
//! | [`resilience`] | retries with a bound, waits with jitter |
//! | [`start`] | waiting for the log and the database at the start |
//! | [`shutdown`] | soft and hard cancellation, tracked tasks |
//! | [`telemetry`] | logs and metrics of the process |
//!
//! No module here knows an aggregate, an event or a command.

pub mod clock;
pub mod config;
pub mod context;
pub mod health;
pub mod identity;
pub mod process;
pub mod resilience;
pub mod shutdown;
pub mod start;
pub mod telemetry;
