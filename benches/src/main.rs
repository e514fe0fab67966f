//! Measurements, in one run on one machine: Highwater's command API beside the same HTTP stack that
//! only produces (a), and beside an event store in Postgres (b). Prints markdown tables.
//!
//! | module | what it owns |
//! |---|---|
//! | [`run`] | the contenders, interleaved rounds, the table |
//! | [`matrix`] | partitions by producers |
//! | [`sustain`] | the highest rate held with the projectors running |
//! | [`visible`] | from a command to its row |
//! | [`history`] | memory and take-over as the log grows |
//! | [`attack`] | what honest callers hear beside a hostile one |
//! | [`contender`] | the stage: folder, Postgres, brokers, servers |
//! | [`cost`] | processor time a command |
//! | [`serve`] | the servers, each a process of its own |
//! | [`store`] | the client and the baselines |

mod attack;
mod contender;
mod cost;
mod history;
mod matrix;
mod run;
mod serve;
mod store;
mod sustain;
mod visible;

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
    /// Partitions by producers
    Matrix(matrix::Options),
    /// The highest rate that is held with the projectors running
    Sustain(sustain::Options),
    /// From a command to its row, with the projectors running
    Visible(visible::Options),
    /// Memory of an owner and time of a take-over as the log grows
    History(history::Options),
    /// What honest callers hear while one hostile client attacks
    Attack(attack::Options),
    /// One server; the others start these by itself
    Serve(serve::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Run(options) => or_stopped(run::run(options)).await,
        Command::Matrix(options) => or_stopped(matrix::run(options)).await,
        Command::Sustain(options) => or_stopped(sustain::run(options)).await,
        Command::Visible(options) => or_stopped(visible::run(options)).await,
        Command::History(options) => or_stopped(history::run(options)).await,
        Command::Attack(options) => or_stopped(attack::run(options)).await,
        // Hears its signals itself.
        Command::Serve(options) => {
            serve::run(options).await.map_err(|error| highwater_runtime::process::chain(&error))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Until it is done, or a signal comes; whatever it started ends when it is dropped.
async fn or_stopped(
    measured: impl Future<Output = Result<(), contender::Error>>,
) -> Result<(), String> {
    tokio::select! {
        result = measured => result.map_err(|error| highwater_runtime::process::chain(&error)),
        () = stopped() => Err("stopped before the end".to_owned()),
    }
}

async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
