//! `command-api [FILE]`: takes commands and appends events to Kafka. FILE is the configuration; `highwater.toml` is read when it is there.

use std::process::ExitCode;

use service::process;

#[tokio::main]
async fn main() -> ExitCode {
    process::exit("command-api", command_api::process::run(process::configuration_file().as_deref()).await)
}
