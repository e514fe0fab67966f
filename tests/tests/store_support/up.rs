//! `store up` as a process with a data folder of its own. Owns what it starts: nothing runs on
//! when this is dropped, the private Postgres included, however the test ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use super::build::program;

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS: u32 = 1_500;

/// A data folder of its own.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("highwater-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// The private Postgres of the data folder, if it was left running.
    pub fn postmaster(&self) -> Option<String> {
        let home = self.data().join("postgres");
        let home = fs::read_to_string(home.join("location"))
            .map_or(home, |moved| PathBuf::from(moved.trim()));
        let text = fs::read_to_string(home.join("cluster/postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().to_owned();
        is_alive(&pid).then_some(pid)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(pid) = self.postmaster() {
            let _ = Command::new("kill").args(["-QUIT", &pid]).status();
            // An immediate shutdown takes moments; the bound is for a server that hangs.
            for _ in 0..LOOKS {
                if !is_alive(&pid) {
                    break;
                }
                thread::sleep(LOOK_EVERY);
            }
        }
        if let Ok(moved) = fs::read_to_string(self.data().join("postgres/location")) {
            let _ = fs::remove_dir_all(moved.trim());
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `up`, killed (-9) when dropped.
pub struct Up {
    child: Child,
    pub pid: u32,
    /// `127.0.0.1:port`
    pub address: String,
    /// What it has written since it was ready, a line each.
    pub said: Receiver<String>,
}

impl Up {
    /// Returns when everything is ready.
    pub fn start(scratch: &Scratch) -> Self {
        Self::of(command(scratch).args(["--listen", "127.0.0.1:0"]))
    }

    /// By a command that comes to be `up`.
    pub fn of(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = lines_of(&mut child);
        // Killed with it when the wait below panics.
        let mut up = Self { pid: child.id(), child, address: String::new(), said };
        let mut heard = String::new();
        while !heard.contains("Try:") {
            let line = up
                .said
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("it is not ready; it said:\n{heard}"));
            heard = heard + &line + "\n";
        }
        let url = heard.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        up.address = url.unwrap().to_owned();
        up
    }

    /// SIGTERM; returns what it logged since it was ready.
    pub fn stop(mut self) -> Vec<String> {
        let asked = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status().unwrap();
        assert!(asked.success());
        // Its end is the end of its words.
        let logged = self.said.iter().collect();
        assert!(self.child.wait().unwrap().success());
        logged
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `store up` on the data folder, away from a highwater.toml that may lie about and from what
/// the caller's environment says.
pub fn command(scratch: &Scratch) -> Command {
    let mut command = bare(&program("store"));
    command.arg("up").arg("--data").arg(scratch.data()).current_dir(scratch.path());
    // A machine that runs all tests at once may take a while to own its partitions; nothing here is
    // about that wait.
    command
        .env("HIGHWATER__OWNER__OWNERLESS_WAIT_MS", "20000")
        .env("HIGHWATER__OWNER__DEADLINE_MS", "20000");
    command
}

/// A program without settings from the environment.
pub fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HIGHWATER"))
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Read on to the end, so that the process never waits for us.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (send, lines) = mpsc::channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    thread::spawn(move || {
        stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    lines
}

/// A zombie has ended: only its parent has not asked yet.
fn is_alive(pid: &str) -> bool {
    let state = Command::new("ps")
        .args(["-o", "stat=", "-p", pid])
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    !state.trim_ascii().is_empty() && !state.starts_with(b"Z")
}
