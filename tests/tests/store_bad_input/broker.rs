//! One real broker, by `bin/kafka`; stopped when this is dropped, however the test ends.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const KAFKA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../bin/kafka");

pub struct Broker {
    folder: PathBuf,
    pub bootstrap: String,
}

impl Broker {
    pub fn start(folder: &Path) -> Self {
        let mut broker = Self { folder: folder.to_owned(), bootstrap: String::new() };
        broker.bootstrap = broker.run(&["start"], &["1"]).trim().to_owned();
        broker
    }

    /// With the settings `name=value`.
    pub fn create_topic(&self, name: &str, partitions: &str, settings: &[&str]) {
        let settings = settings.iter().flat_map(|setting| ["--config", setting]);
        let rest: Vec<_> =
            ["TopicCommand", "--create", "--topic", name, "--partitions", partitions]
                .into_iter()
                .chain(settings)
                .collect();
        self.run(&["tool"], &rest);
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.run(&["kill"], &["1"]);
    }

    /// Returns when it answers.
    pub fn restart(&self) {
        self.run(&["restart"], &["1"]);
    }

    pub fn run(&self, verb: &[&str], rest: &[&str]) -> String {
        let mut command = Command::new(KAFKA);
        command
            .args(verb)
            .arg(&self.folder)
            .args(rest)
            .env("KAFKA_HEAP", "384m")
            .stdin(Stdio::null());
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let pids = Command::new(KAFKA)
            .arg("pids")
            .arg(&self.folder)
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default();
        for pid in String::from_utf8_lossy(&pids).split_whitespace() {
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
    }
}
