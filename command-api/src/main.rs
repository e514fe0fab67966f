//! `command-api [FILE]`: takes commands and appends events to Kafka. FILE is the configuration; `highwater.toml` is read when it is there.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Something could not be reached, or is not what it must be.
const FAILED: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let default = Path::new("highwater.toml");
    let file = std::env::args_os().nth(1).map(PathBuf::from).or_else(|| default.exists().then(|| default.to_owned()));
    match command_api::process::run(file.as_deref()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("command-api: {}", chain(&error));
            ExitCode::from(FAILED)
        }
    }
}

/// An error with its causes; one that its parent quotes already is not said twice.
fn chain(error: &dyn std::error::Error) -> String {
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
