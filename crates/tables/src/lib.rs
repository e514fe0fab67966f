//! Highwater's own tables, and how a process reaches the database that they lie in. Who reads or
//! writes them does it by what stands here.
//!
//! | module | what it owns |
//! |---|---|
//! | [`migrations`] | the tables and their versions, and those of an application beside them |
//! | [`postgres`] | connections: bounded, the same in every process |
//! | [`seen`] | which ids have been seen: filters in their stored form |

pub mod migrations;
pub mod postgres;
pub mod seen;
