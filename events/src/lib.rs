//! The store's contract as types: every event and command, by version, and what is between
//! versions. `schemas/` is written from them.
//!
//! No rules, no I/O, no clock: whether a command may happen is for `store` to decide.

pub mod order;
pub mod product;
pub mod stock;
