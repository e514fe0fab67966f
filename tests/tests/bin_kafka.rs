//! `bin/kafka`, which starts brokers for tests and trials: it leaves nothing behind, and touches
//! only what is its own.
#![expect(clippy::unwrap_used, reason = "whatever cannot be set up must fail the test")]

#[path = "../support/documented.rs"]
mod documented;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use documented::Row;
use highwater_runtime::clock::{Ids, SystemIds};

const KAFKA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../bin/kafka");

/// Removed at the end, with every broker that still runs in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path =
            std::env::temp_dir().join(format!("highwater-bin-kafka-{}", SystemIds.v4().simple()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        kafka(arguments[0], &self.0, &arguments[1..]).output().unwrap()
    }

    /// The processes whose arguments name this folder as a broker's.
    fn brokers(&self) -> Vec<u32> {
        let settings = format!("{}/", self.0.display());
        let of = |pid: &u32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            arguments.contains("kafka.Kafka") && arguments.contains(&settings)
        };
        let all = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        all.filter(of).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for pid in self.brokers() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kafka(verb: &str, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(KAFKA);
    command.arg(verb).arg(folder).args(arguments).env("KAFKA_HEAP", "256m").stdin(Stdio::null());
    command
}

/// A process that is none of ours, and ends with the test.
struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_start_that_fails_leaves_no_broker_and_says_which() {
    let folder = Folder::new();
    // The third broker cannot have its folder, when the others run already.
    fs::create_dir(folder.0.join("3")).unwrap();
    fs::write(folder.0.join("3/data"), "").unwrap();
    let started = folder.run(&["start", "3"]);
    assert!(!started.status.success());
    assert_eq!(folder.brokers(), Vec::<u32>::new());

    // A broker that ends by itself is not waited for.
    fs::remove_file(folder.0.join("3/data")).unwrap();
    let started = folder.run(&["start", "2", "node.id=nonsense"]);
    assert!(
        !started.status.success()
            && String::from_utf8_lossy(&started.stderr).contains(" ended; see "),
        "{started:?}"
    );
    assert_eq!(folder.brokers(), Vec::<u32>::new());
    Row {
        id: "S4",
        situation: "`bin/kafka start DIR 3` where a broker cannot start",
        answer: "it fails at once, and ends the brokers that it had started; brokers wait five \
                 minutes for each other",
        test: ("tests/tests/bin_kafka.rs", "a_start_that_fails_leaves_no_broker_and_says_which"),
    }
    .check();
}

#[test]
fn a_pid_that_another_process_has_by_now_is_not_touched() {
    let folder = Folder::new();
    let mut stranger = Stranger(Command::new("sleep").arg("600").spawn().unwrap());
    fs::create_dir(folder.0.join("1")).unwrap();
    fs::write(folder.0.join("1/pid"), stranger.0.id().to_string()).unwrap();
    for arguments in [&["kill", "1"][..], &["pause", "1"], &["stop"], &["stop", "1"]] {
        folder.run(arguments);
        assert!(stranger.0.try_wait().unwrap().is_none(), "{arguments:?}");
    }
    let killed = folder.run(&["kill", "1"]);
    assert!(
        !killed.status.success() && String::from_utf8_lossy(&killed.stderr).contains("broker 1"),
        "{killed:?}"
    );
}
