//! Parses the command line, runs one subcommand, and turns its end into an exit code.

use std::process::ExitCode;

use clap::Parser;
use highwater::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
