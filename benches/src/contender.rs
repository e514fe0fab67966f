//! The stage of a measurement (a folder, a private Postgres, brokers) and the servers on it, each a
//! process of its own. All of it ends when it is dropped. Measures nothing.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use highwater_cli::postgres::{self, PrivatePostgres};
use highwater_log::{Log, LogSettings, Partition};
use highwater_runtime::clock::{Ids, SystemIds};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgPoolOptions};

use crate::{
    cost::{Cost, CpuTime},
    store::load,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Load(#[from] load::Error),
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Keys(#[from] highwater_runtime::identity::Error),
    #[error("{0} did not get ready; its output is in {1}")]
    NotReady(String, String),
    #[error("the projectors are behind and do not catch up")]
    Behind,
    #[error("the machine is busy with something else and does not come to rest")]
    Restless,
    #[error("bin/kafka {0} failed")]
    Kafka(String),
}

/// Where everything lies; the folder goes when it is dropped.
pub struct Stage {
    dir: PathBuf,
    /// Until it is closed. A server that is left stops by itself when this process has ended.
    postgres: Option<PrivatePostgres>,
    url: String,
    kafka: PathBuf,
}

/// A broker of its own; stopped when it is dropped.
pub struct Broker {
    script: PathBuf,
    dir: PathBuf,
    pub bootstrap: String,
}

/// How servers are set up: `section.key=value`.
#[derive(Clone, Debug)]
pub struct Setup {
    pub kafka: String,
    pub settings: Vec<String>,
    /// Whose servers are measured: this program's, or those of the same program built from an
    /// earlier commit.
    pub program: Option<PathBuf>,
}

/// Servers of one kind, under load.
pub struct Contender {
    pub name: String,
    pub durability: &'static str,
    pub address: SocketAddr,
    pub server: Server,
    /// Ours only: paused while a round runs, catches up in between.
    pub projectors: Option<Server>,
    /// Ours on Kafka only.
    pub progress: Option<Progress>,
    url: String,
    folder: PathBuf,
    setup: Setup,
}

/// How far the projectors are behind the log.
#[derive(Clone)]
pub struct Progress {
    log: Arc<dyn Log>,
    prefix: String,
    partitions: u32,
    pub tables: PgPool,
}

/// One process; killed when it is dropped.
pub struct Server {
    child: Child,
    output: PathBuf,
}

impl Stage {
    pub async fn open(kafka: &Path) -> Result<Self, Error> {
        let ids: &dyn Ids = &SystemIds;
        let dir = std::env::temp_dir().join(format!("highwater-bench-{}", ids.v4().simple()));
        std::fs::create_dir_all(&dir)?;
        let postgres = PrivatePostgres::temporary_with(postgres::Settings {
            max_connections: MOST_CONNECTIONS,
            ..postgres::Settings::default()
        })
        .await?;
        Ok(Self { dir, url: postgres.url(), postgres: Some(postgres), kafka: kafka.to_owned() })
    }

    pub async fn close(mut self) -> Result<(), Error> {
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await?;
        }
        Ok(())
    }

    pub fn broker(&self, name: &str, settings: &[&str]) -> Result<Broker, Error> {
        let mut broker = Broker {
            script: self.kafka.clone(),
            dir: self.dir.join(name),
            bootstrap: String::new(),
        };
        let started = Command::new(&broker.script)
            .arg("start")
            .arg(&broker.dir)
            .arg("1")
            .args(settings)
            .stderr(Stdio::inherit())
            .output()?;
        if !started.status.success() {
            return Err(Error::Kafka("start".to_owned()));
        }
        broker.bootstrap = String::from_utf8_lossy(&started.stdout).trim().to_owned();
        Ok(broker)
    }

    /// Command API and projectors, on a database of their own. The local log belongs to one
    /// process: its projectors stay away, as if they were paused.
    pub async fn ours(
        &self,
        name: &str,
        durability: &'static str,
        tag: &str,
        setup: &Setup,
    ) -> Result<Contender, Error> {
        let url = self.database(tag).await?;
        let pool = PgPoolOptions::new().max_connections(2).connect(&url).await?;
        let keys = self.dir.join(format!("{tag}.keys"));
        highwater_runtime::identity::DeploymentKeys::create_or_load(&keys)?;
        let mut setup = setup.clone();
        setup.settings.push(format!("identity.keys={}", keys.display()));
        let folder = self.dir.join(format!("{tag}-log"));
        let (server, address) = self.serve("command-api", name, &url, &folder, &setup).await?;
        let (mut projectors, mut progress) = (None, None);
        if !setup.kafka.is_empty() {
            projectors = Some(self.serve("projectors", name, &url, &folder, &setup).await?.0);
            progress = Some(Progress::of(&setup, pool)?);
        }
        Ok(Contender {
            name: name.to_owned(),
            durability,
            address,
            server,
            projectors,
            progress,
            url,
            folder,
            setup,
        })
    }

    pub async fn baseline(
        &self,
        name: &str,
        durability: &'static str,
        kind: &str,
        setup: &Setup,
    ) -> Result<Contender, Error> {
        let url = self.database(&format!("baseline_{}", kind.replace('-', "_"))).await?;
        let (folder, setup) = (self.dir.join(kind), setup.clone());
        let (server, address) = self.serve(kind, name, &url, &folder, &setup).await?;
        Ok(Contender {
            name: name.to_owned(),
            durability,
            address,
            server,
            projectors: None,
            progress: None,
            url,
            folder,
            setup,
        })
    }

    /// Kills the command API of `contender` and starts it again.
    pub async fn restart(&self, contender: &mut Contender) -> Result<(), Error> {
        let _ = contender.server.child.kill();
        let _ = contender.server.child.wait();
        let Contender { name, url, folder, setup, .. } = &*contender;
        let (server, address) = self.serve("command-api", name, url, folder, setup).await?;
        (contender.server, contender.address) = (server, address);
        Ok(())
    }

    /// Until what the last round left behind is done: pages to be written, Postgres' checkpoint and
    /// vacuum. Otherwise the next round pays for it.
    pub async fn settle(&self) -> Result<(), Error> {
        sqlx::raw_sql("CHECKPOINT").execute(&mut PgConnection::connect(&self.url).await?).await?;
        Command::new("sync").status()?;
        let mut last = f64::INFINITY;
        for _ in 0..SETTLED_LOOKS {
            let before = CpuTime::by_all()?;
            tokio::time::sleep(SETTLED_EVERY).await;
            let busy = CpuTime::by_all()?.saturating_sub(before).as_secs_f64()
                / SETTLED_EVERY.as_secs_f64();
            // What does not get less is what idle servers cost.
            if busy < RESTING_PROCESSORS && last - busy < STILL_FALLING {
                return Ok(());
            }
            last = busy;
        }
        Err(Error::Restless)
    }

    /// The query API on the tables of `contender`.
    pub async fn queries(
        &self,
        contender: &Contender,
        setup: &Setup,
    ) -> Result<(Server, SocketAddr), Error> {
        self.serve("query-api", "the query API", &contender.url, &self.dir, setup).await
    }

    async fn serve(
        &self,
        kind: &str,
        name: &str,
        url: &str,
        folder: &Path,
        setup: &Setup,
    ) -> Result<(Server, SocketAddr), Error> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let output = self.dir.join(format!("{kind}-{}.log", address.port()));
        let out = std::fs::File::create(&output)?;
        let mut command =
            Command::new(setup.program.clone().map_or_else(std::env::current_exe, Ok)?);
        command
            .args([
                "serve",
                kind,
                "--listen",
                &address.to_string(),
                "--database-url",
                url,
                "--folder",
            ])
            .arg(folder);
        let (kafka, listen) =
            (format!("log.kafka={}", setup.kafka), format!("http.listen={address}"));
        let common =
            ["log.development=true", "telemetry.filter=warn", kafka.as_str(), listen.as_str()];
        for setting in common.into_iter().chain(setup.settings.iter().map(String::as_str)) {
            command.arg("--set").arg(setting);
        }
        let child = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()?;
        let mut server = Server { child, output };
        if server.ready(address).await? {
            Ok((server, address))
        } else {
            Err(not_ready(name, &server.output))
        }
    }

    /// A database of its own on the same server.
    async fn database(&self, name: &str) -> Result<String, Error> {
        let server = &self.url;
        let mut connection = PgConnection::connect(server).await?;
        let there: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
            .bind(name)
            .fetch_optional(&mut connection)
            .await?;
        if there.is_none() {
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
                .execute(&mut connection)
                .await?;
        }
        let (base, _) = server.rsplit_once('/').unwrap_or((server, ""));
        Ok(format!("{base}/{name}"))
    }
}

fn not_ready(name: &str, out: &Path) -> Error {
    let text = std::fs::read_to_string(out).unwrap_or_default();
    Error::NotReady(
        name.to_owned(),
        format!("{}: {}", out.display(), text.lines().last().unwrap_or_default()),
    )
}

impl Contender {
    /// Until `commands` are answered: a broker is slow until its JVM is warm.
    pub async fn warm_up(&mut self, commands: usize) -> Result<(), Error> {
        let mut done = 0;
        while done < commands {
            done += self.measure(256, Duration::from_secs(2)).await?.0.commands;
        }
        Ok(())
    }

    /// One round with the projectors paused, and caught up afterwards; the processor time of it.
    pub async fn measure(
        &mut self,
        connections: usize,
        lasting: Duration,
    ) -> Result<(load::Round, Cost), Error> {
        self.signal_projectors("-STOP")?;
        let before = CpuTime::now(self.server.child.id())?;
        let round = load::run(&self.address.to_string(), connections, lasting).await;
        let spent = CpuTime::now(self.server.child.id())?;
        self.signal_projectors("-CONT")?;
        self.catch_up().await?;
        let round = round?;
        Ok((round, spent.since(&before, round.commands)))
    }

    /// Its processes do nothing until they are thawed: what they cost while no client asks them is
    /// not for another's round.
    pub fn freeze(&self) -> Result<(), Error> {
        self.signal("-STOP", &self.server)?;
        self.signal_projectors("-STOP")
    }

    pub fn thaw(&self) -> Result<(), Error> {
        self.signal_projectors("-CONT")?;
        self.signal("-CONT", &self.server)
    }

    fn signal_projectors(&self, signal: &str) -> Result<(), Error> {
        self.projectors.as_ref().map_or(Ok(()), |projectors| self.signal(signal, projectors))
    }

    fn signal(&self, signal: &str, to: &Server) -> Result<(), Error> {
        Command::new("kill").args([signal, &to.child.id().to_string()]).status()?;
        Ok(())
    }

    /// Until every projection has what is in the log.
    pub async fn catch_up(&self) -> Result<(), Error> {
        let Some(progress) = &self.progress else { return Ok(()) };
        for _ in 0..CAUGHT_UP_LOOKS {
            if progress.lag_records().await? == 0 {
                return Ok(());
            }
            tokio::time::sleep(CAUGHT_UP_EVERY).await;
        }
        Err(Error::Behind)
    }
}

/// Two pools of the event stores, and those of our servers.
const MOST_CONNECTIONS: u16 = 200;
/// At most so many processors may be busy when a round begins, and not clearly fewer than half a
/// second before.
const RESTING_PROCESSORS: f64 = 0.8;
const STILL_FALLING: f64 = 0.1;
const SETTLED_EVERY: Duration = Duration::from_millis(500);
/// Two minutes of looks.
const SETTLED_LOOKS: u32 = 240;
const CAUGHT_UP_EVERY: Duration = Duration::from_millis(250);
/// Ten minutes of looks.
const CAUGHT_UP_LOOKS: u32 = 2_400;

impl Progress {
    fn of(setup: &Setup, tables: PgPool) -> Result<Self, Error> {
        let defaults = LogSettings::default();
        let set = |key: &str| {
            setup
                .settings
                .iter()
                .rev()
                .find_map(|setting| setting.strip_prefix(key)?.strip_prefix('='))
        };
        let partitions = set("log.partitions")
            .and_then(|partitions| partitions.parse().ok())
            .unwrap_or(defaults.partitions.get());
        let prefix = set("log.prefix").map_or_else(|| defaults.prefix.clone(), str::to_owned);
        let settings = LogSettings { kafka: setup.kafka.clone(), development: true, ..defaults };
        Ok(Self { log: settings.open_kafka("highwater-bench")?, prefix, partitions, tables })
    }

    /// Records that the slowest projection of each category has not seen.
    pub async fn lag_records(&self) -> Result<u64, Error> {
        let slowest: Vec<(String, i64)> = sqlx::query_as(
            // `operations` counts the offsets of another topic.
            "SELECT category, min(at)::bigint
             FROM (SELECT category, sum(next_offset) AS at FROM checkpoints WHERE projection <> \
             'operations'
                   GROUP BY category, projection) AS each_projection
             GROUP BY category",
        )
        .fetch_all(&self.tables)
        .await?;
        let mut lag_records = 0;
        for (category, at) in slowest {
            let topic: Arc<str> = format!("{}.{category}.events", self.prefix).into();
            let mut end = 0;
            for index in 0..self.partitions {
                end += self.log.end(&Partition { topic: topic.clone(), index }).await?;
            }
            lag_records += end.saturating_sub(at.unsigned_abs());
        }
        Ok(lag_records)
    }
}

impl Server {
    pub fn resident_bytes(&self) -> Result<u64, Error> {
        let pages = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let resident: u64 =
            pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        Ok(resident * 4096)
    }

    /// What it wrote, a line each.
    pub fn output(&self) -> Result<Vec<String>, Error> {
        Ok(std::fs::read_to_string(&self.output)?.lines().map(str::to_owned).collect())
    }

    async fn ready(&mut self, address: SocketAddr) -> Result<bool, Error> {
        for _ in 0..600 {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if answers(address).await.unwrap_or(false) {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(false)
    }
}

async fn answers(address: SocketAddr) -> io::Result<bool> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It is ours, and holds nothing that is needed.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is ours, and holds nothing that is needed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("stop").arg(&self.dir).status();
    }
}
