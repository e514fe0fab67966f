//! Projections that every application has.
//!
//! | module | what it owns |
//! |---|---|
//! | [`snapshots`] | the state of every aggregate and the outcome of every command, for the owners |
//! | [`operations`] | what the command queue has accepted |
//! | [`aggregates`] | the rules of all categories behind one face |

pub mod aggregates;
pub mod operations;
pub mod snapshots;
