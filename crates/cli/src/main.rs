//! Parses the command line, runs one subcommand, and turns its end into an exit code.

use std::process::ExitCode;

use clap::Parser;
use highwater_cli::cli::Cli;

/// Most of a command's cost is many small allocations: measured in docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    highwater_runtime::process::block_on(async {
        let cli = Cli::parse();
        highwater_runtime::telemetry::log_panics();
        cli.run().await
    })
}
