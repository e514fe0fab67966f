//! `store up` as a process: one port, one folder, and everything still there after kill -9.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const HIGHWATER: &str = env!("CARGO_BIN_EXE_store");
const PATIENCE: Duration = Duration::from_secs(60);

/// A data folder of its own, removed at the end with the server that may still run in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("highwater-up-{name}-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(pid) = postmaster(&self.0) {
            let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        }
        let _ = fs::read_to_string(self.0.join("postgres/location")).map(fs::remove_dir_all);
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `up`, killed at the end.
struct Up {
    child: Child,
    url: String,
    banner: String,
}

impl Up {
    fn start(data: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        Self::of(&mut up(data))
    }

    fn of(command: &mut Command) -> Result<Self, Box<dyn std::error::Error>> {
        let mut child = command.args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or("stderr is piped")?;
        let (lines, said) = mpsc::channel();
        // Reads to the end, so that the process never waits for us.
        thread::spawn(move || {
            BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| lines.send(line))
        });
        let mut banner = String::new();
        while !banner.contains("Try:") {
            match said.recv_timeout(PATIENCE) {
                Ok(line) => banner = banner + &line + "\n",
                Err(_) => return Err(format!("not ready; it said: {banner}").into()),
            }
        }
        thread::spawn(move || said.into_iter().for_each(drop));
        let url = banner
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .ok_or("the banner has no URL")?;
        Ok(Self { url: url.to_owned(), banner, child })
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.url)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.url)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn signal(&self, signal: &str) -> std::io::Result<ExitStatus> {
        Command::new("kill").args([signal, &self.child.id().to_string()]).status()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn up(data: &Path) -> Command {
    let mut command = Command::new(HIGHWATER);
    // Away from a highwater.toml that may lie about.
    command.arg("up").arg("--data").arg(data).current_dir("/").stdin(Stdio::null());
    command
}

fn postmaster(data: &Path) -> Option<String> {
    let home = data.join("postgres");
    let home = fs::read_to_string(home.join("location")).map_or(home, PathBuf::from);
    let text = fs::read_to_string(home.join("cluster/postmaster.pid")).ok()?;
    text.lines().next().map(|pid| pid.trim().to_owned())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn one_port_serves_all_and_kill_9_loses_nothing() -> Outcome {
    let scratch = Scratch::new("kill");
    let first = Up::start(&scratch.0)?;
    assert!(first.banner.contains("embedded Postgres"), "{}", first.banner);
    // A line for each role and category, and none for each partition.
    let before = first.banner.lines().take_while(|line| !line.contains("store is ready"));
    assert!(before.count() < 12, "{}", first.banner);
    for (path, status) in
        [("/livez", "200"), ("/readyz", "200"), ("/metrics", "200"), ("/nowhere", "404")]
    {
        let answer = first.get(path)?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
    assert!(first.get("/nowhere")?.contains("application/problem+json"));
    let keys = scratch.0.join("deployment.keys");
    assert_eq!(fs::metadata(&keys)?.permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(&keys)?;
    let orphan = postmaster(&scratch.0).ok_or("the private Postgres runs")?;
    assert!(first.signal("-KILL")?.success());
    drop(first);

    let mut second = Up::start(&scratch.0)?;
    assert!(second.banner.contains("still running from before"), "{}", second.banner);
    assert_eq!((fs::read_to_string(&keys)?, postmaster(&scratch.0)), (key, Some(orphan)));
    assert!(second.signal("-TERM")?.success());
    assert!(second.child.wait()?.success());
    assert_eq!(postmaster(&scratch.0), None, "Postgres was stopped with it");
    Ok(())
}

#[test]
fn a_second_process_leaves_the_folder_to_the_first_and_readers_read_on() -> Outcome {
    let scratch = Scratch::new("second");
    let first = Up::start(&scratch.0)?;
    let second = up(&scratch.0).args(["--listen", "127.0.0.1:0"]).output()?;
    assert_eq!(second.status.code(), Some(1));
    assert!(
        said(&second).contains(&format!("(process {})", first.child.id())),
        "{}",
        said(&second)
    );

    for _ in 0..2 {
        let audit =
            Command::new(HIGHWATER).args(["audit", "--json", "--data"]).arg(&scratch.0).output()?;
        assert_eq!(audit.status.code(), Some(0), "{}", said(&audit));
        let report: serde_json::Value = serde_json::from_slice(&audit.stdout)?;
        assert_eq!(report["differences_found"], 0, "{report}");
        assert!(
            report["partitions"].as_array().is_some_and(|partitions| !partitions.is_empty()),
            "{report}"
        );
    }
    assert!(first.get("/readyz")?.starts_with("HTTP/1.1 200"));
    Ok(())
}

#[test]
fn a_port_in_use_is_named_before_anything_is_made() -> Outcome {
    let scratch = Scratch::new("port");
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = up(&scratch.0).args(["--listen", &address]).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(&format!("{address} is in use")), "{}", said(&output));
    assert!(!scratch.0.exists());
    Ok(())
}

#[test]
fn other_machines_are_not_served_without_being_asked_to() -> Outcome {
    let scratch = Scratch::new("open");
    let output = up(&scratch.0).args(["--listen", "0.0.0.0:0"]).output()?;
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--insecure"), "{}", said(&output));
    assert!(!scratch.0.exists());
    Ok(())
}

#[test]
fn a_database_or_a_kafka_that_is_away_is_said_with_exit_code_3() -> Outcome {
    let scratch = Scratch::new("away");
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let database = format!("postgres://{nobody}/none");
    for (flag, value, words) in [
        ("--database-url", database.as_str(), "the database cannot be reached"),
        ("--kafka", &nobody, "the log cannot be reached"),
    ] {
        let output = up(&scratch.0)
            .args(["--listen", "127.0.0.1:0", flag, value])
            .env("HIGHWATER__START__WAIT_MS", "500")
            .output()?;
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    Ok(())
}

#[test]
fn a_signal_ends_the_wait_for_what_is_away_at_once() -> Outcome {
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let database = format!("postgres://{nobody}/none");
    for (flag, value, what) in
        [("--kafka", nobody.as_str(), "the log"), ("--database-url", &database, "the database")]
    {
        let scratch = Scratch::new("signal");
        let mut child = up(&scratch.0)
            .args(["--listen", "127.0.0.1:0", flag, value])
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("stderr is piped")?).lines();
        let waits = lines.find_map(|line| {
            line.ok().filter(|line| line.contains("waiting for it") && line.contains(what))
        });
        assert!(waits.is_some(), "it does not say that it waits for {what}");
        let told = tokio::time::Instant::now();
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?.success());
        let said: Vec<String> = lines.map_while(Result::ok).collect();
        let ended = child.wait()?;
        // It would wait for a minute (`start.wait_ms`).
        assert!(told.elapsed() < Duration::from_secs(30), "{flag}: {:?}", told.elapsed());
        assert!(
            ended.code() == Some(1)
                && said.iter().any(|line| line.contains("stopped before everything was up")),
            "{ended:?} {said:?}"
        );
    }
    Ok(())
}

/// One that is free, for a process that does not say which it took before it is ready.
fn free_port() -> std::io::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

#[test]
fn connections_are_refused_until_it_has_started() -> Outcome {
    let (scratch, nobody, address) = (Scratch::new("early"), free_port()?, free_port()?);
    let mut child = up(&scratch.0)
        .args(["--listen", &address, "--kafka", &nobody])
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stderr.take().ok_or("stderr is piped")?).lines();
    let waits = lines.any(|line| line.is_ok_and(|line| line.contains("waiting for it")));
    let connected = TcpStream::connect(&address).map_err(|error| error.kind());
    child.kill()?;
    child.wait()?;
    assert!(waits, "it does not wait for the log");
    assert_eq!(connected.err(), Some(std::io::ErrorKind::ConnectionRefused));
    Ok(())
}

/// A key file of its own beside the data folder.
fn keys_beside(scratch: &Scratch) -> Result<PathBuf, std::io::Error> {
    fs::create_dir_all(&scratch.0)?;
    let path = scratch.0.join("named.keys");
    fs::write(&path, format!("1:{}\n", "5a".repeat(32)))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

fn with_databases(command: &mut Command, sections: &[&str], url: &str) {
    for section in sections {
        command.env(format!("HIGHWATER__{section}__DATABASE__URL"), url);
    }
}

#[tokio::test]
async fn keys_and_databases_that_the_settings_name_are_those_that_are_used() -> Outcome {
    let scratch = Scratch::new("named");
    let (keys, data) = (keys_beside(&scratch)?, scratch.0.join("data"));
    let server = highwater::cli::postgres::PrivatePostgres::temporary().await?;
    let mut command = up(&data);
    with_databases(
        command.env("HIGHWATER__IDENTITY__KEYS", &keys),
        &["OWNER", "PROJECTOR", "QUERY"],
        &server.url(),
    );
    let up = Up::of(&mut command)?;
    for words in [
        "owner.database.url, projector.database.url, query.database.url",
        &keys.display().to_string(),
    ] {
        assert!(up.banner.contains(words), "{}", up.banner);
    }
    let made: Vec<_> = ["deployment.keys", "postgres"]
        .into_iter()
        .filter(|name| data.join(name).exists())
        .collect();
    assert!(made.is_empty(), "{made:?}");
    Ok(())
}

#[test]
fn keys_that_are_not_there_and_one_database_of_three_are_refused_by_name() -> Outcome {
    let scratch = Scratch::new("unnamed");
    let mut missing = up(&scratch.0);
    missing.env("HIGHWATER__IDENTITY__KEYS", scratch.0.join("none.keys"));
    let mut partly = up(&scratch.0);
    with_databases(&mut partly, &["OWNER", "QUERY"], "postgres://127.0.0.1:1/none");
    let said_of_databases = "owner.database.url, query.database.url is set and \
                             projector.database.url is not: set all three";
    for (mut command, words) in
        [(missing, "identity.keys: the key file"), (partly, said_of_databases)]
    {
        // What is not refused ends as well: there is no log.
        command
            .args(["--listen", "127.0.0.1:0", "--kafka", "127.0.0.1:1"])
            .env("HIGHWATER__START__WAIT_MS", "500");
        let output = command.output()?;
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
        assert!(
            !scratch.0.join("deployment.keys").exists() && !scratch.0.join("postgres").exists()
        );
    }
    Ok(())
}

#[test]
fn an_unknown_setting_is_refused() -> Outcome {
    let scratch = Scratch::new("setting");
    for (variable, words) in
        [("HIGHWATER__LOG__PARTITION", "partition"), ("HIGHWATER__NOBODY__KEY", "nobody")]
    {
        let output =
            up(&scratch.0).args(["--listen", "127.0.0.1:0"]).env(variable, "8").output()?;
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    Ok(())
}
