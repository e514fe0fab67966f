//! The frame of a process: its sections of the configuration, its `main`, its exit code. Knows
//! nothing of what the process does.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::telemetry;

/// Every section that any process reads: one file can serve them all.
pub const SECTIONS: [&str; 11] = [
    "http",
    "identity",
    "lane",
    "log",
    "owner",
    "peers",
    "projector",
    "query",
    "start",
    "telemetry",
    "up",
];

/// Read when it is there and no other file is named.
pub const DEFAULT_FILE: &str = "highwater.toml";

/// What an error means to whoever started the process; its number is the exit code.
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
/// sets `insecure_key`.
pub async fn main<E: Exits>(
    name: &str,
    insecure_key: &str,
    run: impl AsyncFnOnce(Option<&Path>, Vec<(String, String)>) -> Result<(), E>,
) -> ExitCode {
    telemetry::log_panics();
    let default = Path::new(DEFAULT_FILE);
    let mut file = default.exists().then(|| default.to_owned());
    let mut flags = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--insecure") => flags.push((insecure_key.to_owned(), "true".to_owned())),
            Some(unknown) if unknown.starts_with('-') => {
                telemetry::last_words(Some(&format!(
                    "{name}: unknown argument {unknown}; usage: {name} [--insecure] [FILE]"
                )));
                return Exit::Usage.into();
            }
            _ => file = Some(PathBuf::from(argument)),
        }
    }
    match run(file.as_deref(), flags).await {
        Ok(()) => {
            telemetry::last_words(None);
            ExitCode::SUCCESS
        }
        Err(error) => failed(name, &error),
    }
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
