//! HTTP as every process of Highwater speaks it.
//!
//! | module | what it owns |
//! |---|---|
//! | [`server`] | the server and the layers around every route |
//! | [`process`] | a process of its own that serves HTTP |
//! | [`health`] | the routes of liveness, readiness, metrics |
//! | [`problem`] | the one form of an error answer (RFC 9457) |
//! | [`json`], [`body`], [`schema`] | strict JSON, from bytes to checked value |
//! | [`heavy`] | what takes a processor for milliseconds, beside the threads that answer requests |
//! | [`headers`] | parsers of the request headers that we give a meaning |
//! | [`number`] | the one form of an integer |
//! | [`cursor`] | signed positions in lists |
//!
//! No module here knows a route by its meaning.

pub mod body;
pub mod cursor;
pub mod headers;
pub mod health;
pub mod heavy;
pub mod json;
pub mod number;
pub mod problem;
pub mod process;
pub mod schema;
pub mod server;

#[cfg(test)]
#[path = "../../../tests/support/documented.rs"]
mod documented;
