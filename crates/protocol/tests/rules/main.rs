//! One test for each rule of the fold and of the writer, in steps that can be read: what a test
//! says is all that happens.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod command_queue;
mod command_queue_said;
mod decide;
mod fencing;
mod flight;
mod fold;
mod given_up;
mod harness;
mod intake;
mod load;
mod memory;
mod reading;
mod room;
mod small;
mod taken_away;
