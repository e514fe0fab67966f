//! A private Postgres server, started from the installed binaries and kept in a folder of its own.
//! Owns that folder's server from start to stop; knows nothing of what is stored in it, and never
//! turns fsync off.
//!
//! The server listens on loopback alone, asks for a random password (scram), and never runs as
//! root: as root it runs as user `postgres`. After a kill -9 of this process the server lives on;
//! the next start adopts it.
//!
//! | module | what it owns |
//! |---|---|
//! | `account` | as whom the server runs |
//! | `binaries` | where initdb, pg_ctl and postgres are |
//! | `cluster` | the data: creation, start, stop, what is left of a dead server |
//! | `place` | where the data lies, and whose it is |
//! | `process` | which process is the server of a data folder |
//! | `keeper` | starts the server again when it dies under us |
//! | `watchdog` | stops and removes a throw-away server, also when its creator was killed |

mod account;
mod binaries;
mod cluster;
mod keeper;
mod place;
mod process;
mod watchdog;

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use data_encoding::HEXLOWER;
use highwater_runtime::process::{Exit, Exits};
use parking_lot::Mutex;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

pub(crate) use self::account::own_uid;
pub use self::keeper::Keeper;
use self::{
    account::Account,
    cluster::{Cluster, Until},
    watchdog::Watchdog,
};

/// The role that owns everything in the server, and the database that it owns.
const ROLE: &str = "highwater";

/// How long an orphan may take to answer before it is stopped and started again.
const ADOPTION_LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Settings {
    /// How long the server may take to answer after its start, recovery included.
    pub start_limit: Duration,
    /// How long a clean stop may take.
    pub stop_limit: Duration,
    pub max_connections: u16,
    pub shared_buffers_mib: u32,
    /// Where the data goes when the server's account cannot enter the folder asked for (only as
    /// root).
    pub fallback: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start_limit: Duration::from_secs(60),
            stop_limit: Duration::from_secs(30),
            max_connections: 100,
            shared_buffers_mib: 128,
            fallback: PathBuf::from("/var/lib/highwater"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "Postgres is not installed: initdb, pg_ctl and postgres are neither in PATH nor in the \
         distribution's folders. \
         Install it (Debian and Ubuntu: apt-get install postgresql; Fedora: dnf install \
         postgresql-server; macOS: brew install postgresql@17) \
         or name a server with --database-url"
    )]
    NotInstalled,
    #[error(
        "Postgres does not run as root, and there is no user `{user}` to run it as ({why}): create \
         the user, start as another user, or name a server with --database-url"
    )]
    NoAccount { user: &'static str, why: String },
    #[error(
        "user `{user}`, as whom Postgres runs, can use neither {wanted} nor {fallback}: choose a \
         data folder that it can enter"
    )]
    NoPlace { user: &'static str, wanted: PathBuf, fallback: PathBuf },
    #[error(
        "the data in {dir} was written by Postgres {found}, installed is Postgres {installed}: \
         install Postgres {found} beside it, or upgrade the data with pg_upgrade"
    )]
    OtherVersion { dir: PathBuf, found: String, installed: String },
    #[error(
        "{dir}/location says that the data is in {target:?}, and there is none: restore it, or \
         remove {dir} to start with an empty database"
    )]
    DataGone { dir: PathBuf, target: PathBuf },
    #[error(
        "the database of {dir} lies in {target}, and is that of {original}, of which {dir} is a \
         copy: copy {target} too, while nothing \
         runs, and write the path of that copy into {dir}/location; or remove {dir}/location, to \
         have all tables made anew from the log"
    )]
    Copy { dir: PathBuf, target: PathBuf, original: PathBuf },
    #[error(
        "{dir} belongs to user {found}, and would be used as user {wanted}: run this as the user \
         that it belongs to; nothing was changed"
    )]
    OtherOwner { dir: PathBuf, found: u32, wanted: u32 },
    #[error("{program} failed: {output}")]
    Failed { program: &'static str, output: String },
    #[error("could not start {program}: {source}")]
    Spawn { program: String, source: io::Error },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the private Postgres does not answer at 127.0.0.1:{port}")]
    NotAnswering { port: u16, source: sqlx::Error },
    #[error("the private Postgres does not answer at 127.0.0.1:{port} within {within:?}")]
    TooSlow { port: u16, within: Duration },
    #[error("the task that runs Postgres was aborted")]
    Aborted(#[from] tokio::task::JoinError),
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::NotAnswering { .. } | Self::TooSlow { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }
}

/// A running server. Dropping it stops it cleanly, and blocks until it has stopped.
pub struct PrivatePostgres {
    cluster: Cluster,
    port: u16,
    password: String,
    adopted: bool,
    stopped: Arc<Stopped>,
    watchdog: Option<Watchdog>,
}

/// Whether it was stopped on purpose. Held while it is stopped or started again, so that neither
/// undoes the other.
type Stopped = Mutex<bool>;

impl PrivatePostgres {
    /// Starts the server whose data is in `dir`, creating both on first use, or adopts the one that
    /// still runs there. The caller sees to it that no other process does the same with this
    /// folder.
    pub async fn start(dir: &Path, settings: Settings) -> Result<Self, Error> {
        let dir = dir.to_owned();
        let cluster =
            blocking(move || Cluster::open(&dir, Account::current()?, settings, Until::Removed))
                .await?;
        let password = cluster.password()?;
        if let Some(port) = cluster.running_port()? {
            match tokio::time::timeout(ADOPTION_LIMIT, ensure_database(port, &password)).await {
                Ok(Ok(())) => return Ok(Self::new(cluster, port, password, true, None)),
                Ok(Err(_)) | Err(_) => tracing::warn!(
                    port,
                    "the Postgres left by an earlier process does not answer: restarting it"
                ),
            }
            let stopping = cluster.clone();
            blocking(move || stopping.stop()).await?;
        }
        Self::started(cluster, password, None).await
    }

    /// The URL of a server that another process runs on the data in `dir`, with the password. It
    /// may have died since.
    pub fn url_of_running(dir: &Path) -> Option<String> {
        cluster::noted(dir).map(|(port, password)| url(port, &password, ROLE))
    }

    /// Whether `dir` has a server's data.
    pub fn has_data(dir: &Path) -> bool {
        cluster::major_of(dir).is_some()
    }

    /// A throw-away server, stopped and removed with this value; also when the process panics or is
    /// killed.
    pub async fn temporary() -> Result<Self, Error> {
        Self::temporary_with(Settings::default()).await
    }

    /// The same, set up otherwise.
    pub async fn temporary_with(settings: Settings) -> Result<Self, Error> {
        let dir = std::env::temp_dir().join(format!("highwater-postgres-{}", random_hex(8)?));
        let cluster = blocking(move || {
            let cluster = Cluster::open(&dir, Account::current()?, settings, Until::Stopped)?;
            Ok((Watchdog::over(&cluster, &dir)?, cluster))
        });
        let (watchdog, cluster) = cluster.await?;
        let password = cluster.password()?;
        Self::started(cluster, password, Some(watchdog)).await
    }

    /// Made where the server is started: if the caller has gone away meanwhile, dropping it stops
    /// the server.
    async fn started(
        cluster: Cluster,
        password: String,
        watchdog: Option<Watchdog>,
    ) -> Result<Self, Error> {
        let starting = blocking(move || {
            let port = cluster.start(None)?;
            Ok(Self::new(cluster, port, password, false, watchdog))
        });
        starting.await?.ready().await
    }

    fn new(
        cluster: Cluster,
        port: u16,
        password: String,
        adopted: bool,
        watchdog: Option<Watchdog>,
    ) -> Self {
        Self { cluster, port, password, adopted, stopped: Arc::default(), watchdog }
    }

    async fn ready(self) -> Result<Self, Error> {
        let (port, within) = (self.port, self.cluster.settings().start_limit);
        tokio::time::timeout(within, ensure_database(port, &self.password))
            .await
            .map_err(|_| Error::TooSlow { port, within })??;
        Ok(self)
    }

    /// With the password: not for logs.
    pub fn url(&self) -> String {
        url(self.port, &self.password, ROLE)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the data is.
    pub fn dir(&self) -> &Path {
        self.cluster.home()
    }

    /// Whether it was still running when this process started.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// What starts it again when it dies, until it is stopped on purpose.
    pub fn keeper(&self) -> Keeper {
        Keeper::of(self.cluster.clone(), self.port, Arc::clone(&self.stopped))
    }

    /// Stops cleanly: open connections are closed, everything committed is on disk.
    pub async fn stop(mut self) -> Result<(), Error> {
        blocking(move || self.stop_now()).await
    }

    fn stop_now(&mut self) -> Result<(), Error> {
        let mut stopped = self.stopped.lock();
        if std::mem::replace(&mut *stopped, true) {
            return Ok(());
        }
        match self.watchdog.take() {
            Some(watchdog) => watchdog.bite(),
            None => self.cluster.stop(),
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Err(error) = self.stop_now() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "could not stop the private Postgres"
            );
        }
    }
}

impl fmt::Debug for PrivatePostgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivatePostgres")
            .field("port", &self.port)
            .field("dir", &self.dir())
            .finish_non_exhaustive()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await?
}

fn url(port: u16, password: &str, database: &str) -> String {
    format!("postgres://{ROLE}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
}

/// Connects with our password, which proves that the server is ours, and creates the database if it
/// is missing.
async fn ensure_database(port: u16, password: &str) -> Result<(), Error> {
    let fail = |source| Error::NotAnswering { port, source };
    let options = PgConnectOptions::from_str(&url(port, password, "postgres")).map_err(fail)?;
    let mut connection = PgConnection::connect_with(&options).await.map_err(fail)?;
    let exists = sqlx::query("SELECT FROM pg_database WHERE datname = 'highwater'")
        .fetch_optional(&mut connection)
        .await
        .map_err(fail)?;
    if exists.is_none() {
        sqlx::query("CREATE DATABASE highwater").execute(&mut connection).await.map_err(fail)?;
    }
    connection.close().await.map_err(fail)
}

fn random_hex(bytes: usize) -> Result<String, Error> {
    let mut random = vec![0; bytes];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
    read.map_err(|source| Error::Io { path: PathBuf::from("/dev/urandom"), source })?;
    Ok(HEXLOWER.encode(&random))
}
