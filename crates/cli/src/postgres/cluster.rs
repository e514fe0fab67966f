//! The data folder of a private server: where it lies, how it is created, started, recognised after
//! a crash and stopped. Blocking; never touches a process that is not the postmaster of this very
//! folder.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Write},
    net::TcpListener,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Output,
    thread,
    time::Duration,
};

use super::{
    Error, ROLE, Settings,
    account::Account,
    binaries::Binaries,
    place::{give, moved_to, place},
    process::is_postmaster,
    random_hex,
};

/// Another process may take the free port between our look and the server's bind; shared memory of
/// a killed server goes a moment late.
const START_ATTEMPTS: u32 = 10;
const START_PAUSE: Duration = Duration::from_millis(500);

/// How the names of unfinished data begin.
const UNFINISHED: &str = "cluster.new";

/// How long the data is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    Removed,
    /// Until the server stops: what initdb wrote need not survive a power cut.
    Stopped,
}

#[derive(Clone, Debug)]
pub(super) struct Cluster {
    home: PathBuf,
    binaries: Binaries,
    account: Account,
    settings: Settings,
}

/// The major version that wrote the data kept in `dir`, if there is any.
pub(super) fn major_of(dir: &Path) -> Option<String> {
    let home = moved_to(dir).unwrap_or_else(|| dir.to_owned());
    fs::read_to_string(home.join("cluster/PG_VERSION")).ok().map(|text| text.trim().to_owned())
}

/// Port and password of the server that may run on the data kept in `dir`, as it noted them.
/// Whether it answers shows a connection.
pub(super) fn noted(dir: &Path) -> Option<(u16, String)> {
    let home = moved_to(dir).unwrap_or_else(|| dir.to_owned());
    let notes = fs::read_to_string(home.join("cluster/postmaster.pid")).ok()?;
    let port = notes.lines().nth(3)?.trim().parse().ok()?;
    let password = fs::read_to_string(home.join("password")).ok()?;
    Some((port, password.trim().to_owned()))
}

impl Cluster {
    /// Opens the data in `dir`, or creates it.
    pub(super) fn open(
        dir: &Path,
        account: Account,
        settings: Settings,
        until: Until,
    ) -> Result<Self, Error> {
        let binaries = Binaries::find(major_of(dir).as_deref())?;
        let home = place(dir, &account, &settings.fallback)?;
        let cluster = Self { home, binaries, account, settings };
        cluster.forget_unfinished();
        match major_of(&cluster.home) {
            None => cluster.create(until)?,
            Some(found) if found == cluster.binaries.major => {}
            Some(found) => {
                return Err(Error::OtherVersion {
                    dir: cluster.data(),
                    found,
                    installed: cluster.binaries.major,
                });
            }
        }
        Ok(cluster)
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn password(&self) -> Result<String, Error> {
        let path = self.home.join("password");
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => {
                let why = "it is empty, and must hold the password that the private Postgres was \
                           made with: bring it back from a copy";
                Err(Error::Io { path, source: io::Error::new(io::ErrorKind::InvalidData, why) })
            }
            Ok(text) => Ok(text.trim().to_owned()),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// The port of the server that runs on this folder; forgets what a dead one left behind.
    pub(super) fn running_port(&self) -> Result<Option<u16>, Error> {
        let path = self.data().join("postmaster.pid");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // Not to be able to look says nothing.
            Err(source) => return Err(Error::Io { path, source }),
        };
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let pid = lines.first().and_then(|pid| pid.parse::<u32>().ok());
        let look = |pid| {
            is_postmaster(pid, &self.data())
                .map_err(|source| Error::Io { path: PathBuf::from(format!("/proc/{pid}")), source })
        };
        if pid.map_or(Ok(false), look)? {
            // Not written yet: it is starting, port 0 answers no client, and the caller restarts
            // it.
            return Ok(Some(lines.get(3).and_then(|port| port.parse().ok()).unwrap_or(0)));
        }
        // Postgres itself would refuse to start if another process had this number by now.
        fs::remove_file(&path).map_err(|source| Error::Io { path, source })?;
        Ok(None)
    }

    /// Starts the server on this port, or on a free one, and waits until it accepts connections.
    pub(super) fn start(&self, port: Option<u16>) -> Result<u16, Error> {
        let mut attempt = 0;
        loop {
            let port = port.map_or_else(free_port, Ok)?;
            let output = self.pg_ctl(
                &["start", "-w", "-s"],
                self.settings.start_limit,
                Some(&self.options(port)),
            )?;
            if output.status.success() {
                return Ok(port);
            }
            let log = tail(&self.log());
            attempt += 1;
            if attempt == START_ATTEMPTS
                || !["could not bind", "in use", "lock file"].iter().any(|text| log.contains(text))
            {
                return Err(Error::Failed {
                    program: "postgres",
                    output: format!("{}{log}", said(&output)),
                });
            }
            thread::sleep(START_PAUSE);
        }
    }

    /// Stops the server, whichever process started it: open connections are closed, everything
    /// committed is written.
    pub(super) fn stop(&self) -> Result<(), Error> {
        let output =
            self.pg_ctl(&["stop", "-w", "-s", "-m", "fast"], self.settings.stop_limit, None)?;
        if output.status.success() || self.running_port()?.is_none() {
            return Ok(());
        }
        Err(Error::Failed { program: "pg_ctl stop", output: said(&output) })
    }

    /// The words of a command that stops the server at once, without saving anything.
    pub(super) fn kill_words(&self) -> Vec<std::ffi::OsString> {
        let data = self.data();
        let args: [&OsStr; 7] = [
            "stop".as_ref(),
            "-w".as_ref(),
            "-s".as_ref(),
            "-m".as_ref(),
            "immediate".as_ref(),
            "-D".as_ref(),
            data.as_ref(),
        ];
        self.account.words(&self.binaries.pg_ctl, &args)
    }

    fn data(&self) -> PathBuf {
        self.home.join("cluster")
    }

    fn log(&self) -> PathBuf {
        self.home.join("start.log")
    }

    /// Into a folder beside, renamed when complete: a kill in the middle leaves nothing half made.
    /// In each attempt another one: the initdb of a killed process may still write into its own.
    fn create(&self, until: Until) -> Result<(), Error> {
        let new = self.home.join(format!("{UNFINISHED}-{}", random_hex(8)?));
        let password = self.home.join("password");
        self.write_password(&password)?;
        let pwfile = format!("--pwfile={}", password.display());
        let args = [
            "--username",
            ROLE,
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
            &pwfile,
        ];
        let mut args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        if until == Until::Stopped {
            args.push("--no-sync".as_ref());
        }
        args.extend(["-D".as_ref(), new.as_os_str()]);
        let output = self.account.run(&self.binaries.initdb, &args)?;
        if !output.status.success() {
            return Err(Error::Failed { program: "initdb", output: said(&output) });
        }
        fs::rename(&new, self.data()).map_err(|source| Error::Io { path: new, source })
    }

    /// Removes what earlier attempts left, as far as that goes: an initdb may be at work there,
    /// which then fails or leaves its folder to the next start.
    fn forget_unfinished(&self) {
        let entries = fs::read_dir(&self.home).into_iter().flatten().flatten();
        for entry in entries
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()))
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }

    fn write_password(&self, path: &Path) -> Result<(), Error> {
        let fail = |source| Error::Io { path: path.to_owned(), source };
        let _ = fs::remove_file(path);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(fail)?;
        file.write_all(random_hex(24)?.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
        give(path, &self.account)
    }

    fn options(&self, port: u16) -> String {
        let Settings { max_connections, shared_buffers_mib, .. } = self.settings;
        format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c \
             max_connections={max_connections} \
             -c shared_buffers={shared_buffers_mib}MB -c password_encryption=scram-sha-256 -c \
             fsync=on -c full_page_writes=on \
             -c logging_collector=on -c log_directory=log -c log_filename=%a.log -c \
             log_truncate_on_rotation=on -c log_rotation_age=1d \
             -c log_rotation_size=0"
        )
    }

    fn pg_ctl(
        &self,
        verb: &[&str],
        within: Duration,
        options: Option<&str>,
    ) -> Result<Output, Error> {
        let (data, log, seconds) = (self.data(), self.log(), within.as_secs().max(1).to_string());
        let mut args: Vec<&OsStr> = verb.iter().map(OsStr::new).collect();
        args.extend(["-t".as_ref(), OsStr::new(&seconds), "-D".as_ref(), data.as_os_str()]);
        if let Some(options) = options {
            let _ = fs::remove_file(&log);
            args.extend(["-l".as_ref(), log.as_os_str(), "-o".as_ref(), OsStr::new(options)]);
        }
        self.account.run(&self.binaries.pg_ctl, &args)
    }
}

fn free_port() -> Result<u16, Error> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound
        .map(|address| address.port())
        .map_err(|source| Error::Io { path: PathBuf::from("127.0.0.1"), source })
}

fn said(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{}", out.trim(), err.trim()).trim().to_owned()
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(12).collect();
    lines.into_iter().rev().fold(String::new(), |all, line| all + "\n" + line)
}
