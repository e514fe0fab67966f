//! As whom the server runs: as this process, or, as root, as user `postgres`. Never as root.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::{Command, Output, Stdio},
};

use super::{Error, binaries};

const SERVER_USER: &str = "postgres";

/// Variables by which an administrator's shell would redirect the server's tools.
const FOREIGN_VARIABLES: [&str; 7] =
    ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGPASSWORD", "PGOPTIONS", "PGDATABASE"];

#[derive(Clone, Debug)]
pub(super) enum Account {
    /// This process's own.
    Own,
    Other {
        uid: u32,
        gid: u32,
        switch: Switch,
    },
}

/// The program that changes the user.
#[derive(Clone, Copy, Debug)]
pub(super) enum Switch {
    Setpriv,
    Runuser,
    Su,
}

impl Account {
    pub(super) fn current() -> Result<Self, Error> {
        if own_uid()? != 0 {
            return Ok(Self::Own);
        }
        let no_account = |why: String| Error::NoAccount { user: SERVER_USER, why };
        let uid = id(&["-u", SERVER_USER]).map_err(|error| no_account(error.to_string()))?;
        let gid = id(&["-g", SERVER_USER]).map_err(|error| no_account(error.to_string()))?;
        let found =
            [("setpriv", Switch::Setpriv), ("runuser", Switch::Runuser), ("su", Switch::Su)]
                .into_iter()
                .find(|(program, _)| binaries::in_path(program).is_some());
        let (_, switch) = found
            .ok_or_else(|| no_account("none of setpriv, runuser and su is installed".to_owned()))?;
        Ok(Self::Other { uid, gid, switch })
    }

    /// The owner that the server's files must have, if it is not this process's.
    pub(super) fn owner(&self) -> Option<(u32, u32)> {
        match self {
            Self::Own => None,
            Self::Other { uid, gid, .. } => Some((*uid, *gid)),
        }
    }

    /// Whose files the server can use.
    pub(super) fn uid(&self) -> Result<u32, Error> {
        match self {
            Self::Own => own_uid(),
            Self::Other { uid, .. } => Ok(*uid),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Own => "the current user",
            Self::Other { .. } => SERVER_USER,
        }
    }

    /// `program args` as this account, as a list of words to execute.
    pub(super) fn words(&self, program: &Path, args: &[&OsStr]) -> Vec<OsString> {
        let mut words: Vec<OsString> = match self {
            Self::Own => Vec::new(),
            Self::Other { uid, gid, switch: Switch::Setpriv } => {
                vec![
                    "setpriv".into(),
                    format!("--reuid={uid}").into(),
                    format!("--regid={gid}").into(),
                    "--init-groups".into(),
                    "--".into(),
                ]
            }
            Self::Other { switch: Switch::Runuser, .. } => {
                vec!["runuser".into(), "-u".into(), SERVER_USER.into(), "--".into()]
            }
            Self::Other { switch: Switch::Su, .. } => {
                ["su", SERVER_USER, "-s", "/bin/sh", "-c", r#"exec "$0" "$@""#]
                    .into_iter()
                    .map(OsString::from)
                    .collect()
            }
        };
        words.push(program.into());
        words.extend(args.iter().map(OsString::from));
        words
    }

    /// Runs `program args` as this account to its end.
    pub(super) fn run(&self, program: &Path, args: &[&OsStr]) -> Result<Output, Error> {
        let words = self.words(program, args);
        let spawned = command(&words).stdin(Stdio::null()).output();
        spawned.map_err(|source| Error::Spawn {
            program: words[0].to_string_lossy().into_owned(),
            source,
        })
    }

    /// Whether this account can pass through `dir` and every folder above.
    pub(super) fn can_pass(&self, dir: &Path) -> Result<bool, Error> {
        let args: [&OsStr; 4] =
            ["-c".as_ref(), r#"cd "$1""#.as_ref(), "sh".as_ref(), dir.as_os_str()];
        Ok(self.run(Path::new("/bin/sh"), &args)?.status.success())
    }

    /// Whether this account can work in `dir`: every folder above must let it pass.
    pub(super) fn can_use(&self, dir: &Path) -> Result<bool, Error> {
        let script = r#"cd "$1" && test -w ."#;
        let output = self.run(
            Path::new("/bin/sh"),
            &["-c".as_ref(), script.as_ref(), "sh".as_ref(), dir.as_os_str()],
        )?;
        Ok(output.status.success())
    }
}

/// The words as a command with a plain environment, away from folders that the account may not
/// enter.
pub(super) fn command(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir("/").env("LC_ALL", "C");
    for variable in FOREIGN_VARIABLES {
        command.env_remove(variable);
    }
    command
}

/// As whom this process runs.
pub(crate) fn own_uid() -> Result<u32, Error> {
    id(&["-u"])
}

fn id(args: &[&str]) -> Result<u32, Error> {
    let output = Command::new("id")
        .args(args)
        .output()
        .map_err(|source| Error::Spawn { program: "id".to_owned(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| Error::Failed {
        program: "id",
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
