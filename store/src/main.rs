//! `store`: the store's program for people, `store up` and the rest.

use std::process::ExitCode;

/// Most of a command's cost is many small allocations: measured in docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    store::app().main()
}
