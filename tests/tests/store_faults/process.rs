//! One process of the deployment: started, asked, killed, started again. Must never leave one
//! behind.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use highwater_runtime::clock::{Ids, SystemIds};
use tokio::time::Instant;

const READY_WITHIN: Duration = Duration::from_secs(300);
const POLL_EVERY: Duration = Duration::from_millis(20);

pub struct Service {
    pub name: String,
    pub url: String,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    log: PathBuf,
    pids: PathBuf,
    child: Option<Child>,
}

impl Service {
    pub fn new(
        folder: &Path,
        binary: &str,
        number: usize,
        port: u16,
        environment: Vec<(String, String)>,
    ) -> Self {
        let name = format!("{binary}-{number}");
        Self {
            url: format!("http://127.0.0.1:{port}"),
            binary: folder.join("bin").join(binary),
            environment,
            log: folder.join(format!("{name}.log")),
            pids: folder.join("pids"),
            child: None,
            name,
        }
    }

    /// Its output is appended to a file of its own.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars_os()
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(b"HIGHWATER_"))
        {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        File::create(self.pids.join(child.id().to_string())).unwrap();
        self.child = Some(child);
    }

    /// Waits until it takes requests.
    pub async fn ready(&mut self, http: &reqwest::Client) {
        let until = Instant::now() + READY_WITHIN;
        let url = format!("{}/readyz", self.url);
        loop {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                self.reaped();
                panic!(
                    "{} ended at its start with {status}: see {}",
                    self.name,
                    self.log.display()
                );
            }
            if http.get(&url).send().await.is_ok_and(|response| response.status().is_success()) {
                return;
            }
            assert!(
                Instant::now() < until,
                "{} is not ready within {READY_WITHIN:?}: see {}",
                self.name,
                self.log.display()
            );
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.as_mut().unwrap().kill().unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub async fn exited(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                self.reaped();
                return status;
            }
            assert!(
                Instant::now() < until,
                "{} did not end within {within:?}: see {}",
                self.name,
                self.log.display()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The lines of a metric: labels as they are written, and the value. Empty when it does not
    /// answer.
    pub async fn metric(&self, http: &reqwest::Client, name: &str) -> Vec<(String, f64)> {
        let Ok(answer) = http.get(format!("{}/metrics", self.url)).send().await else {
            return Vec::new();
        };
        let text = answer.text().await.unwrap_or_default();
        let of = |line: &str| {
            let (labels, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} ")?;
            Some((labels.to_owned(), value.parse().ok()?))
        };
        text.lines().filter_map(of).collect()
    }

    fn reaped(&mut self) {
        if let Some(child) = self.child.take() {
            let _ = std::fs::remove_file(self.pids.join(child.id().to_string()));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.reaped();
    }
}

/// Below the ports that connections going out are given, so that it is still free when the process
/// is started again.
pub fn free_port() -> u16 {
    for _ in 0..1_000 {
        let random =
            u16::from_le_bytes([SystemIds.v4().as_bytes()[0], SystemIds.v4().as_bytes()[1]]);
        let port = 10_000 + random % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
