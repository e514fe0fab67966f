//! What hostile and careless clients do on a connection, told by raw sockets: each test says what
//! comes of it, and writes its row of docs/security.md.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where what it needs is missing"
)]

mod bodies;
mod client;
#[path = "../../../../tests/support/documented.rs"]
mod documented;
mod drain;
mod heads;
mod limits;
mod server;
mod streams;
mod unsent;
