//! `projectors [--insecure] [FILE]`: projects the log on Kafka into Postgres. FILE is the configuration; `highwater.toml` is read when it is there.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

const WRONG_USAGE: u8 = 2;
/// Something could not be reached, or is not what it must be.
const FAILED: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let default = Path::new("highwater.toml");
    let mut file = default.exists().then(|| default.to_owned());
    let mut flags = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--insecure" => flags.push(("projector.insecure".to_owned(), "true".to_owned())),
            unknown if unknown.starts_with('-') => {
                eprintln!("projectors: unknown argument {unknown}; usage: projectors [--insecure] [FILE]");
                return ExitCode::from(WRONG_USAGE);
            }
            path => file = Some(PathBuf::from(path)),
        }
    }
    match projectors::process::run(file.as_deref(), flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("projectors: {error}");
            ExitCode::from(FAILED)
        }
    }
}
