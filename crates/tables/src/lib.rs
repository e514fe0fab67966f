//! Highwater's own tables, and how a process reaches the database that they lie in. All code that
//! reads or writes them does it by what stands here.
//!
//! | module | what it owns |
//! |---|---|
//! | [`changes`] | what a transaction changed, as caches hear of it |
//! | [`checkpoints`] | how far a projection is: the codec of a position, generations |
//! | [`migrations`] | the tables and their versions, and those of an application beside them |
//! | [`postgres`] | connections: bounded, the same in every process |
//! | [`rows`] | tables of an application's rows: whether they fit, and what is read of them |
//! | [`dedup_filter`] | which ids have been seen: filters in their stored form |

pub mod changes;
pub mod checkpoints;
pub mod dedup_filter;
pub mod migrations;
pub mod postgres;
pub mod rows;
