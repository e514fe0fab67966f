//! `query-api [--insecure] [FILE]`: answers queries from Postgres. FILE is the
//! configuration; `highwater.toml` is read when it is there.

use std::process::ExitCode;

/// Most of a command's cost is many small allocations: measured in docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    store::app().query_api()
}
