//! A server whose disk can be made full, and free again: its data folder is a small file system,
//! mounted where it alone sees it, so that it goes away with it. Where nothing may be mounted, the
//! kernel lets the server's files grow no more.

use std::{
    fs::{self, File},
    io::Write,
    process::{Command, Stdio},
};

use super::up::{Scratch, Up};

const MOUNTED: &str = r#"mount -t tmpfs -o size=96m highwater-test "$0" && exec "$@""#;
/// What is beyond the limit is an error, and no signal.
const LIMITED: &str = r#"trap '' XFSZ && exec "$@""#;

pub struct Disk {
    /// The data folder, as others reach it.
    pub data: String,
    mounted: bool,
    pid: u32,
}

impl Disk {
    pub fn under(server: &Command, scratch: &Scratch) -> (Up, Self) {
        fs::create_dir_all(scratch.data()).unwrap();
        // A user that is not root may be it in a name space of its own.
        let ways: [&[&str]; 2] = [&["--mount"], &["--mount", "--map-root-user"]];
        let way = ways.into_iter().find(|way| may_mount(way, scratch));
        let mut command = match way {
            Some(way) => within(
                Command::new("unshare").args(way).args(["--", "sh", "-c", MOUNTED]),
                server,
                scratch,
            ),
            None => within(Command::new("sh").args(["-c", LIMITED]), server, scratch),
        };
        let up = Up::of(&mut command);
        let (pid, data) = (up.pid, scratch.data().display().to_string());
        let data = if way.is_some() { format!("/proc/{pid}/root{data}") } else { data };
        (up, Self { data, mounted: way.is_some(), pid })
    }

    /// To the last byte.
    pub fn fill(&self) {
        if !self.mounted {
            return self.limit("0:");
        }
        let mut file = File::create(self.ballast()).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    pub fn free(&self) {
        if self.mounted {
            fs::remove_file(self.ballast()).unwrap()
        } else {
            self.limit("unlimited:")
        }
    }

    fn ballast(&self) -> String {
        format!("{}/ballast", self.data)
    }

    fn limit(&self, soft: &str) {
        let limited = Command::new("prlimit")
            .args(["--pid", &self.pid.to_string(), &format!("--fsize={soft}")])
            .status();
        assert!(limited.unwrap().success());
    }
}

fn may_mount(way: &[&str], scratch: &Scratch) -> bool {
    let mut tried = Command::new("unshare");
    tried.args(way).args(["--", "sh", "-c", MOUNTED]).arg(scratch.data()).arg("true");
    tried.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// `server`, executed by `shell` with the data folder as its first word.
fn within(shell: &mut Command, server: &Command, scratch: &Scratch) -> Command {
    let mut command = Command::new(shell.get_program());
    command
        .args(shell.get_args())
        .arg(scratch.data())
        .arg(server.get_program())
        .args(server.get_args());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(scratch.path()).stdin(Stdio::null()).stdout(Stdio::null());
    command
}
