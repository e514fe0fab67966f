//! The runner on a log and a database, with an application of its own: vouchers, their holders, and
//! counters.
//!
//! | module | what it tests |
//! |---|---|
//! | [`replay`] | that tables are the fold of the log, whatever happened meanwhile |
//! | [`failures`] | that what fails stops as little as possible, and that of two runners one wins |
//! | [`rebuild`] | that tables made anew beside the live ones are the same, and take their place |
//! | [`command_queue`] | the projection of what was accepted |
//! | [`start`] | the projectors as a whole |
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

mod command_queue;
mod deaths;
mod domain;
mod failures;
mod forgetting;
mod lives;
mod parked;
mod poisonous;
#[path = "../../../tables/tests/support/postgres.rs"]
mod postgres;
mod rebuild;
mod replay;
mod start;
mod tables;
#[path = "../support/world.rs"]
mod world;

/// What an application is written with.
mod library {
    pub use highwater_log as log;
    pub use highwater_projection as projection;
    pub use highwater_protocol as protocol;
}
