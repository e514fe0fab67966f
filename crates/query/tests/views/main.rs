//! What a reader sees, over HTTP: single resources, lists, operations, and what is kept in memory;
//! of vouchers, books and rooms, which are there for these tests alone.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "../support/answers.rs"]
mod answers;
mod bulkheads;
mod cache;
mod database;
mod degraded;
#[path = "../../../../tests/support/documented.rs"]
mod documented;
mod full;
mod generations;
mod lists;
mod operations;
mod own_server;
mod parked;
mod pooled;
mod positions;
#[path = "../../../tables/tests/support/postgres.rs"]
mod postgres;
mod resources;
mod served;
mod shown;

/// As tests of an application have it all from the facade.
mod library {
    pub use highwater_protocol as protocol;
}
