//! The frame of a process: its sections of the configuration, its `main`, its exit code. Knows
//! nothing of what the process does.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Arg, ArgAction, value_parser};

use crate::telemetry;

/// Every section that any process reads: one file can serve them all.
pub const SECTIONS: [&str; 11] = [
    "http",
    "identity",
    "log",
    "owner",
    "peers",
    "projector",
    "query",
    "queue",
    "start",
    "telemetry",
    "up",
];

/// Read when it is there and no other file is named.
pub const DEFAULT_FILE: &str = "highwater.toml";

/// What an error means to the caller of the process; its number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Failed = 1,
    /// Other arguments or settings are needed.
    Usage = 2,
    /// The log or the database does not answer.
    Unreachable = 3,
}

/// An error that ends a process.
pub trait Exits: std::error::Error {
    fn exit(&self) -> Exit;
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs a process to its end, and does not wait for calls that block: brokers that do not answer
/// would hold it up for as long as a look-up may take.
pub fn block_on(main: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(main);
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("threads cannot be started: {error}");
            Exit::Failed.into()
        }
    }
}

/// The `main` of a process: `NAME [--insecure] [FILE]`. FILE is the configuration; `--insecure`
/// sets `insecure_key`. Usage and help are answered, and end the process, here.
pub async fn main<E: Exits>(
    name: &'static str,
    insecure_key: &str,
    run: impl AsyncFnOnce(Option<&Path>, Vec<(String, String)>) -> Result<(), E>,
) -> ExitCode {
    telemetry::log_panics();
    let arguments = arguments(name).get_matches();
    let default = Path::new(DEFAULT_FILE);
    let given = arguments.get_one::<PathBuf>("FILE").cloned();
    let file = given.or_else(|| default.exists().then(|| default.to_owned()));
    let insecure = (insecure_key.to_owned(), "true".to_owned());
    let flags: Vec<_> = arguments.get_flag("insecure").then_some(insecure).into_iter().collect();
    match run(file.as_deref(), flags).await {
        Ok(()) => {
            telemetry::last_words(None);
            ExitCode::SUCCESS
        }
        Err(error) => failed(name, &error),
    }
}

fn arguments(name: &'static str) -> clap::Command {
    let file = format!("Settings [default: {DEFAULT_FILE}, if it is there]");
    let insecure = "Listen beyond loopback without authentication";
    clap::Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .after_help("Exit codes: 0 stopped, 1 failed, 2 wrong usage, 3 log or database unreachable")
        .arg(Arg::new("insecure").long("insecure").action(ArgAction::SetTrue).help(insecure))
        .arg(Arg::new("FILE").value_parser(value_parser!(PathBuf)).help(file))
}

/// Says why the process ends; its exit code.
pub fn failed(name: &str, error: &impl Exits) -> ExitCode {
    telemetry::last_words(Some(&format!("{name}: {}", chain(error))));
    error.exit().into()
}

/// An error with its causes; one that its parent quotes already is not said twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
