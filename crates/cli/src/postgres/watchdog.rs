//! A shell that waits for the end of its creator (its standard input closes), then stops a
//! throw-away server and removes its folder. So nothing stays behind, whether the creator returned,
//! panicked or was killed.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Stdio},
};

use super::{Error, account, cluster::Cluster};

/// `$1` and `$2`: the folders to remove; the rest: how to stop the server.
const SCRIPT: &str =
    r#"cat >/dev/null; home=$1 note=$2; shift 2; "$@" >/dev/null 2>&1; rm -rf -- "$home" "$note""#;

#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    pub(super) fn over(cluster: &Cluster, dir: &Path) -> Result<Self, Error> {
        let mut words: Vec<OsString> =
            ["/bin/sh", "-c", SCRIPT, "sh"].into_iter().map(OsString::from).collect();
        words.extend([cluster.home().into(), dir.into()]);
        words.extend(cluster.kill_words());
        // A group of its own: Ctrl-C at the creator's terminal must not end it.
        let spawned = account::command(&words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        spawned.map(Self).map_err(|source| Error::Spawn { program: "/bin/sh".to_owned(), source })
    }

    /// Stops the server and removes its folder now.
    pub(super) fn bite(mut self) -> Result<(), Error> {
        drop(self.0.stdin.take());
        self.0
            .wait()
            .map(|_| ())
            .map_err(|source| Error::Spawn { program: "/bin/sh".to_owned(), source })
    }
}
