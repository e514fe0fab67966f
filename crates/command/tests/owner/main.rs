//! Owners on a log that does what logs do: delays, losses, reports of no use, foreign writers, a
//! predecessor that wakes up.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod accepted;
mod command_queue;
mod command_queue_vectors;
#[path = "../support/counter.rs"]
mod counter;
#[path = "../../../../tests/support/documented.rs"]
mod documented;
mod faults;
mod harness;
mod http;
mod memory;
mod moves;
mod place;
mod refusals;
mod times;
mod ways;
mod zombie;
