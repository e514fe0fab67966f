//! The store's contract as types: every event and command of `schemas/`, by version, and the
//! upcasters between versions.
//!
//! | module | what it owns |
//! |---|---|
//! | [`order`], [`product`], [`stock`] | one aggregate each: its events, how they are read from the log and written, its commands |
//! | [`schemas`] | the JSON Schemas themselves, embedded |
//! | [`invalid`] | what is wrong with a command's body, by JSON Pointer |
//! | [`number`], [`text`], [`id`], [`currency`], [`timestamp`] | values that cannot hold what the schemas refuse |
//!
//! No rules, no I/O, no clock: whether a command may happen is `domain`'s to decide.

mod body;
pub mod currency;
mod fact;
pub mod id;
pub mod invalid;
pub mod number;
pub mod order;
pub mod product;
pub mod schemas;
pub mod stock;
pub mod text;
pub mod timestamp;
