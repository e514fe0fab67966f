//! The programs under test. Owns nothing that runs.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// Where the program lies, built from the sources as they are.
pub fn program(name: &str) -> PathBuf {
    static PROGRAMS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(build);
    programs.iter().find(|path| path.file_stem().is_some_and(|stem| stem == name)).cloned().unwrap()
}

fn build() -> Vec<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--quiet", "--bins", "--message-format=json"]);
    if cfg!(debug_assertions) {
        // As a whole: the build that the tests come from.
        cargo.args(["--workspace", "--exclude", "highwater-benches"]);
    } else {
        // What is measured is built as it is deployed, without the features of tests.
        cargo.arg("--release").args(
            ["store", "command-api", "projectors", "query-api"]
                .into_iter()
                .flat_map(|name| ["-p", name]),
        );
    }
    let built = cargo
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8_lossy(&built.stdout).into_owned();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).collect()
}
