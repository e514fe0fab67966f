//! A Postgres for tests: the one that `HIGHWATER_TEST_DATABASE_URL` names, else a throw-away server
//! from the installed binaries, one for the test process, which ends and is removed with it. Every
//! test gets a database of its own. Never skips.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    str::FromStr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};

/// The server, and the pipe that keeps it alive: when this process ends, however it ends, the pipe
/// closes and the server stops.
struct Server {
    options: PgConnectOptions,
    _keeper: Option<Child>,
}

static SERVER: Mutex<Option<Server>> = Mutex::new(None);
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Starts the server in folder $1 with the binaries in $2, as user `postgres` where Postgres
/// refuses to be started by root. It listens on a socket in that folder alone, so that every port
/// number is free.
const KEEP: &str = r#"
set -e
dir=$1 bin=$2
as=""
if [ "$(id -u)" = 0 ]; then
    chown postgres: "$dir"; chmod 755 "$dir"; as="runuser -u postgres --"
fi
cd "$dir"
$as "$bin/initdb" -D "$dir/db" -U highwater -A trust --no-sync -E UTF8 --locale=C \
    >"$dir/initdb.log" 2>&1
$as "$bin/postgres" -D "$dir/db" -c listen_addresses= -c unix_socket_directories="$dir" \
    -c fsync=off -c max_connections=200 -p 5432 >"$dir/log" 2>&1 </dev/null &
while IFS= read -r line; do :; done
$as "$bin/pg_ctl" -D "$dir/db" -m immediate -w stop >/dev/null 2>&1 || true
cd /
rm -rf "$dir"
"#;

/// Options of a new, empty database.
pub async fn database(test: &str) -> PgConnectOptions {
    let server = server();
    let name = format!(
        "highwater_{}_{}_{test}",
        std::process::id(),
        DATABASES.fetch_add(1, Ordering::Relaxed)
    );
    let mut connection = connect(&server).await;
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .expect("a database for the test");
    connection.close().await.expect("the connection closes");
    server.database(&name)
}

async fn connect(options: &PgConnectOptions) -> PgConnection {
    let starting = async {
        loop {
            match PgConnection::connect_with(options).await {
                Ok(connection) => return connection,
                // The server is starting.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), starting)
        .await
        .expect("the test server answers within a minute")
}

fn server() -> PgConnectOptions {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    server.get_or_insert_with(start).options.clone()
}

fn start() -> Server {
    if let Ok(url) = std::env::var("HIGHWATER_TEST_DATABASE_URL") {
        let options = PgConnectOptions::from_str(&url)
            .expect("HIGHWATER_TEST_DATABASE_URL is a URL of Postgres");
        return Server { options, _keeper: None };
    }
    let folder =
        std::env::temp_dir().join(format!("highwater-test-postgres-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test server");
    let keeper = Command::new("sh")
        .args(["-c", KEEP, "keep-postgres"])
        .arg(&folder)
        .arg(binaries())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell for the test server");
    let options = PgConnectOptions::new()
        .socket(&folder)
        .port(5432)
        .username("highwater")
        .database("postgres");
    Server { options, _keeper: Some(keeper) }
}

/// The folder with `initdb` and `postgres`: in PATH, or where distributions put it.
pub fn binaries() -> PathBuf {
    let in_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"));
    let mut folders: Vec<PathBuf> = versions.collect();
    folders.sort();
    let found = in_path
        .into_iter()
        .chain(folders.into_iter().rev())
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists());
    found.expect(
        "the tests need Postgres: install the package postgresql, or set \
                  HIGHWATER_TEST_DATABASE_URL",
    )
}
