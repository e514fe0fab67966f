//! `store demo` as a process, and what it said.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
    thread,
};

use super::{
    build::program,
    up::{Up, bare},
};

pub struct Run(Child);

#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn start(address: &str, args: &[&str]) -> Self {
        let mut command = bare(&program("store"));
        command
            .args(["demo", "--url", &format!("http://{address}")])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Kills the server (-9) as soon as the run has said that a phase is done.
    pub fn killing(self, server: Up, phase: &str) -> Ended {
        let mut server = Some(server);
        self.hear(|line| {
            if line.starts_with(phase) && line.contains(" in ") {
                drop(server.take());
            }
        })
    }

    /// It must come to a good end.
    pub fn end(self) -> Ended {
        let ended = self.end_any();
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    }

    pub fn end_any(self) -> Ended {
        self.hear(|_| ())
    }

    fn hear(mut self, mut each: impl FnMut(&str)) -> Ended {
        let mut stdout = self.0.stdout.take().unwrap();
        let stdout = thread::spawn(move || {
            let mut said = String::new();
            stdout.read_to_string(&mut said).map(|_| said)
        });
        let mut stderr = String::new();
        for line in BufReader::new(self.0.stderr.take().unwrap()).lines().map_while(Result::ok) {
            each(&line);
            stderr = stderr + &line + "\n";
        }
        let code = self.0.wait().unwrap().code().unwrap();
        Ended { code, stdout: stdout.join().unwrap().unwrap(), stderr }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ended {
    /// Of `products` or `stock`: what it did now, and what was there.
    pub fn done(&self, name: &str) -> (u64, u64) {
        let [created, there] = self.numbers(name);
        (created, there)
    }

    /// Of `created`, `replayed` or `total`: orders, lines, units, minor units.
    pub fn sums(&self, name: &str) -> [u64; 4] {
        self.numbers(name)
    }

    fn numbers<const N: usize>(&self, name: &str) -> [u64; N] {
        let row = self.stdout.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        let numbers: Vec<u64> =
            row.split_whitespace().skip(1).map(|number| number.parse().unwrap()).collect();
        numbers.try_into().unwrap()
    }
}

/// The log and the tables that these arguments name hold together.
pub fn audit(of: &[impl AsRef<OsStr>]) {
    let audited =
        bare(&program("store")).arg("audit").args(of).stdout(Stdio::piped()).output().unwrap();
    let report = String::from_utf8_lossy(&audited.stdout);
    assert!(
        audited.status.success()
            && report.contains("\nsales_daily ")
            && !report.contains("not audited"),
        "{report}"
    );
}
