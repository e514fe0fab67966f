//! Highwater's own tables, and how a process reaches the database that they lie in. All code that
//! reads or writes them does it by what stands here: each statement and each codec stands once.
//! Only `highwater-audit` has its own, because it checks what these have written.
//!
//! | module | what it owns |
//! |---|---|
//! | [`changes`] | what a transaction changed, as caches hear of it |
//! | [`checkpoints`] | how far a projection is: the codec of a position, generations, moves |
//! | [`dedup_filter`] | which ids have been seen: filters in memory and in `seen_filters` |
//! | [`generations`] | the tables beside those that are live, and the switch between them |
//! | [`identity`] | who the database is |
//! | [`migrations`] | the tables and their versions, and those of an application beside them |
//! | [`operations`] | what the command queue has accepted, and what is known of a command |
//! | [`outcomes`] | what each command came to: the codec of an outcome |
//! | [`parked`] | aggregates that a projection could not go on with, and what waits behind that |
//! | [`postgres`] | connections: bounded, the same in every process |
//! | [`rows`] | tables of an application's rows: whether they fit, and what is read of them |
//! | [`runs`] | which runner projects a partition, and what it is about to apply |
//! | [`snapshots`] | the state of every aggregate, and what an owner loads |
//! | `columns` | why a row is refused |

pub mod changes;
pub mod checkpoints;
mod columns;
pub mod dedup_filter;
pub mod generations;
pub mod identity;
pub mod migrations;
pub mod operations;
pub mod outcomes;
pub mod parked;
pub mod postgres;
pub mod rows;
pub mod runs;
pub mod snapshots;

pub use columns::{Malformed, ReadError};
