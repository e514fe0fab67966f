//! The contenders, the rounds, the table.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use highwater::postgres::{self, PrivatePostgres};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgPoolOptions};

use crate::store::load::{self, Round};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where `bin/kafka` lies
    #[arg(long, default_value = "bin/kafka")]
    kafka: PathBuf,
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    connections: Vec<usize>,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of a round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Commands that every contender gets before it is measured
    #[arg(long, default_value_t = 20_000)]
    warm_up: usize,
    /// Also on a broker that fsyncs every append
    #[arg(long)]
    fsync: bool,
    /// Of every topic
    #[arg(long, default_value_t = 8)]
    partitions: u32,
    /// Idempotent producers
    #[arg(long, default_value_t = 1)]
    producers: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Load(#[from] load::Error),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Migrations(#[from] projectors::migrations::Error),
    #[error(transparent)]
    Keys(#[from] service::identity::Error),
    #[error("{0} did not get ready")]
    NotReady(String),
    #[error("bin/kafka {0} failed")]
    Kafka(String),
}

/// One server under load.
struct Contender {
    name: String,
    durability: &'static str,
    address: SocketAddr,
    server: Child,
    /// Ours only: paused while a round runs, catches up in between.
    projectors: Option<Child>,
    tables: Option<PgPool>,
}

/// A broker of its own; stopped when it is dropped.
struct Broker {
    script: PathBuf,
    dir: PathBuf,
    bootstrap: String,
}

pub async fn run(options: Options) -> Result<(), Error> {
    let ids: &dyn service::clock::Ids = &service::clock::SystemIds;
    let dir = std::env::temp_dir().join(format!("highwater-bench-{}", ids.v4().simple()));
    std::fs::create_dir_all(&dir)?;
    let postgres = PrivatePostgres::temporary().await?;
    let result = contest(&options, &dir, &postgres.url()).await;
    postgres.stop().await?;
    std::fs::remove_dir_all(&dir)?;
    result
}

async fn contest(options: &Options, dir: &Path, server: &str) -> Result<(), Error> {
    let mut brokers = vec![("default Kafka", "page cache of one broker", Broker::start(options, dir.join("kafka"), &[])?)];
    if options.fsync {
        let settings = ["log.flush.interval.messages=1"];
        brokers.push(("Kafka, fsync on every append", "fsync", Broker::start(options, dir.join("kafka-fsync"), &settings)?));
    }
    let mut contenders = Vec::new();
    for (n, (name, durability, broker)) in brokers.iter().enumerate() {
        let kafka = format!("log.kafka={}", broker.bootstrap);
        let ours = format!("Highwater, {name}");
        contenders.push(Contender::ours(options, dir, server, &ours, durability, &format!("ours{n}"), &kafka).await?);
        let produce_only = format!("(a) produce only, {name}");
        contenders.push(Contender::baseline(options, dir, server, &produce_only, durability, "produce-only", &kafka).await?);
    }
    contenders.push(Contender::ours(options, dir, server, "Highwater, LocalLog", "fsync", "local", "log.kafka=").await?);
    let database = database(server, "baseline").await?;
    contenders
        .push(Contender::baseline(options, dir, &database, "(b) event store in Postgres", "fsync", "event-store", "log.kafka=").await?);
    for contender in &mut contenders {
        contender.warm_up(options.warm_up).await?;
    }
    let mut rounds: BTreeMap<(usize, usize), Vec<Round>> = BTreeMap::new();
    for round in 0..options.rounds {
        for connections in &options.connections {
            // Another one begins each time, so that none always runs first.
            for n in 0..contenders.len() {
                let n = (n + round) % contenders.len();
                let measured = contenders[n].measure(*connections, Duration::from_secs(options.seconds)).await?;
                eprintln!(
                    "{}, {connections} connections: {:.0}/s, p50 {:?}, refused {}",
                    contenders[n].name, measured.per_second, measured.p50, measured.refused
                );
                rounds.entry((n, *connections)).or_default().push(measured);
            }
        }
    }
    print_table(options, &contenders, &rounds);
    Ok(())
}

fn print_table(options: &Options, contenders: &[Contender], rounds: &BTreeMap<(usize, usize), Vec<Round>>) {
    println!(
        "Commands per second (median latency, p99), medians of {} interleaved rounds of {} s; durability of an answer in brackets.\n",
        options.rounds, options.seconds
    );
    let heads: Vec<_> = options.connections.iter().map(|connections| format!("{connections} connections")).collect();
    println!("| | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for (n, contender) in contenders.iter().enumerate() {
        let cells = options.connections.iter().map(|connections| {
            let Some(rounds) = rounds.get(&(n, *connections)) else { return String::new() };
            let rate = median(rounds.iter().map(|round| round.per_second));
            let p50 = median(rounds.iter().map(|round| round.p50.as_secs_f64() * 1e3));
            let p99 = median(rounds.iter().map(|round| round.p99.as_secs_f64() * 1e3));
            let refused: usize = rounds.iter().map(|round| round.refused).sum();
            let commands: usize = rounds.iter().map(|round| round.commands).sum();
            let refused = if refused > 0 { format!(", {refused} of {} refused", commands + refused) } else { String::new() };
            format!("{rate:.0} ({p50:.2} ms, {p99:.1} ms{refused})")
        });
        println!("| {} [{}] | {} |", contender.name, contender.durability, cells.collect::<Vec<_>>().join(" | "));
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Contender {
    async fn ours(
        options: &Options,
        dir: &Path,
        server: &str,
        name: &str,
        durability: &'static str,
        tag: &str,
        kafka: &str,
    ) -> Result<Self, Error> {
        let url = database(server, tag).await?;
        let pool = PgPoolOptions::new().max_connections(2).connect(&url).await?;
        projectors::migrations::migrate(&pool).await?;
        let keys = dir.join(format!("{tag}.keys"));
        service::identity::DeploymentKeys::create_or_load(&keys)?;
        let keys = format!("identity.keys={}", keys.display());
        let (address, health) = (free_address()?, free_address()?);
        let folder = dir.join(format!("{tag}-log"));
        let mut server = serve(options, "command-api", address, &url, &folder, &[kafka, &keys], dir)?;
        ready(name, address, &mut server).await?;
        // The local log belongs to one process: its projectors stay away, as if they were paused.
        let projectors = match kafka {
            "log.kafka=" => None,
            _ => {
                let mut projectors = serve(options, "projectors", health, &url, &folder, &[kafka], dir)?;
                ready(name, health, &mut projectors).await?;
                Some(projectors)
            }
        };
        Ok(Self { name: name.to_owned(), durability, address, server, projectors, tables: Some(pool) })
    }

    async fn baseline(
        options: &Options,
        dir: &Path,
        url: &str,
        name: &str,
        durability: &'static str,
        kind: &str,
        kafka: &str,
    ) -> Result<Self, Error> {
        let address = free_address()?;
        let mut server = serve(options, kind, address, url, &dir.join(kind), &[kafka], dir)?;
        ready(name, address, &mut server).await?;
        Ok(Self { name: name.to_owned(), durability, address, server, projectors: None, tables: None })
    }

    async fn warm_up(&mut self, commands: usize) -> Result<(), Error> {
        let mut done = 0;
        while done < commands {
            done += self.measure(64, Duration::from_secs(1)).await?.commands;
        }
        Ok(())
    }

    async fn measure(&mut self, connections: usize, lasting: Duration) -> Result<Round, Error> {
        self.signal_projectors("-STOP")?;
        let round = load::run(&self.address.to_string(), connections, lasting).await;
        self.signal_projectors("-CONT")?;
        self.catch_up().await?;
        Ok(round?)
    }

    fn signal_projectors(&self, signal: &str) -> Result<(), Error> {
        if let Some(projectors) = &self.projectors {
            Command::new("kill").args([signal, &projectors.id().to_string()]).status()?;
        }
        Ok(())
    }

    /// Until the checkpoints stand still.
    async fn catch_up(&self) -> Result<(), Error> {
        let (Some(tables), Some(_)) = (&self.tables, &self.projectors) else { return Ok(()) };
        let (mut before, mut still) = (-1_i64, 0);
        while still < 4 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now: Option<i64> = sqlx::query_scalar("SELECT sum(next_offset)::bigint FROM checkpoints").fetch_one(tables).await?;
            still = if now == Some(before) { still + 1 } else { 0 };
            before = now.unwrap_or(-1);
        }
        Ok(())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        for child in [Some(&mut self.server), self.projectors.as_mut()].into_iter().flatten() {
            // It is ours, and holds nothing that is needed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Broker {
    fn start(options: &Options, dir: PathBuf, settings: &[&str]) -> Result<Self, Error> {
        let mut broker = Self { script: options.kafka.clone(), dir, bootstrap: String::new() };
        let started =
            Command::new(&broker.script).arg("start").arg(&broker.dir).arg("1").args(settings).stderr(Stdio::inherit()).output()?;
        if !started.status.success() {
            return Err(Error::Kafka("start".to_owned()));
        }
        broker.bootstrap = String::from_utf8_lossy(&started.stdout).trim().to_owned();
        Ok(broker)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("stop").arg(&self.dir).status();
    }
}

fn serve(
    options: &Options,
    kind: &str,
    address: SocketAddr,
    url: &str,
    folder: &Path,
    settings: &[&str],
    dir: &Path,
) -> Result<Child, Error> {
    let partitions = format!("log.partitions={}", options.partitions);
    let producers = format!("log.producers={}", options.producers);
    let out = std::fs::File::create(dir.join(format!("{kind}-{}.log", address.port())))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", kind, "--listen", &address.to_string(), "--database-url", url, "--folder"]).arg(folder);
    let common = ["log.development=true", "telemetry.filter=warn", partitions.as_str(), producers.as_str()];
    let listen = format!("http.listen={address}");
    for setting in settings.iter().copied().chain(common).chain([listen.as_str()]) {
        command.arg("--set").arg(setting);
    }
    Ok(command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()?)
}

async fn ready(name: &str, address: SocketAddr, server: &mut Child) -> Result<(), Error> {
    for _ in 0..600 {
        if server.try_wait()?.is_some() {
            break;
        }
        if answers(address).await.unwrap_or(false) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Error::NotReady(name.to_owned()))
}

async fn answers(address: SocketAddr) -> io::Result<bool> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A database of its own on the same server.
async fn database(server: &str, name: &str) -> Result<String, Error> {
    let mut connection = PgConnection::connect(server).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
    let (base, _) = server.rsplit_once('/').unwrap_or((server, ""));
    Ok(format!("{base}/{name}"))
}
