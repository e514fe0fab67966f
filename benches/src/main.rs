//! Measurements, in one run on one machine: Highwater's command API beside the same HTTP stack that only produces (a), and beside
//! an event store in Postgres (b). Prints a markdown table of medians over interleaved rounds.
//!
//! | module | what it owns |
//! |---|---|
//! | [`run`] | the contenders, the rounds, the table |
//! | [`serve`] | the servers, each a process of its own |
//! | [`store`] | the client and the baselines |

mod run;
mod serve;
mod store;

use std::process::ExitCode;

use clap::Parser;

/// Most of a command's cost is many small allocations: measured in docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures Highwater beside its baselines")]
enum Command {
    /// Runs all rounds and prints the table
    Run(run::Options),
    /// One server; `run` starts these by itself
    Serve(serve::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Run(options) => run::run(options).await.map_err(|error| service::process::chain(&error)),
        Command::Serve(options) => serve::run(options).await.map_err(|error| service::process::chain(&error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
