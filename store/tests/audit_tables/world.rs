//! A log and tables that the services made, once for all tests that run at the same time; every
//! test works on copies.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use highwater::cli::postgres::PrivatePostgres;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Mutex;

pub type Outcome = Result<(), Box<dyn std::error::Error>>;

const HIGHWATER: &str = env!("CARGO_BIN_EXE_store");
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub const APPLE: &str = "01900000-0000-7000-8000-00000000000a";
pub const PEAR: &str = "01900000-0000-7000-8000-00000000000b";
pub const CANCELLED: &str = "01900000-0000-7000-8000-000000000001";
pub const RETURNED: &str = "01900000-0000-7000-8000-000000000002";
pub const SHIPPED: &str = "01900000-0000-7000-8000-000000000003";
const CUSTOMER: &str = "01900000-0000-7000-8000-0000000000cc";

/// A folder of its own, removed at the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("highwater-audit-{name}-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let notes = self.0.join("postgres");
        let home = fs::read_to_string(notes.join("location"))
            .map_or(notes, |moved| PathBuf::from(moved.trim()));
        if let Ok(text) = fs::read_to_string(home.join("cluster/postmaster.pid"))
            && let Some(pid) = text.lines().next()
        {
            let _ = Command::new("kill").args(["-QUIT", pid.trim()]).status();
        }
        let _ = fs::remove_dir_all(home);
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `up`, killed at the end.
pub struct Up {
    child: Child,
    address: String,
}

impl Up {
    pub fn start(data: &Path, more: &[&str]) -> Result<Self, Box<dyn std::error::Error>> {
        let mut command = Command::new(HIGHWATER);
        command
            .arg("up")
            .arg("--data")
            .arg(data)
            .args(["--listen", "127.0.0.1:0"])
            .args(more)
            .current_dir("/")
            .stdin(Stdio::null());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or("stderr is piped")?;
        let mut up = Self { child, address: String::new() };
        let (lines, said) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| lines.send(line))
        });
        let mut banner = String::new();
        while !banner.contains("Try:") {
            let line =
                said.recv_timeout(PATIENCE).map_err(|_| format!("not ready; it said: {banner}"))?;
            banner = banner + &line + "\n";
        }
        thread::spawn(move || said.into_iter().for_each(drop));
        let url = banner
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .ok_or("the banner has no URL")?;
        up.address = url.to_owned();
        Ok(up)
    }

    pub fn stop(mut self) -> Outcome {
        assert!(
            Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?.success()
        );
        assert!(self.child.wait()?.success());
        Ok(())
    }

    fn exchange(&self, request: &str) -> Result<String, Box<dyn std::error::Error>> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Answers with the position after it.
    fn command(
        &self,
        path: &str,
        version: Option<u64>,
        body: &str,
    ) -> Result<String, Box<dyn std::error::Error>> {
        let expected =
            version.map_or_else(String::new, |version| format!("If-Match: \"v{version}\"\r\n"));
        let key = KEYS.fetch_add(1, Ordering::Relaxed);
        let answer = self.exchange(&format!(
            "POST /v1/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: \
             application/json\r\n\
             Idempotency-Key: \"{key}\"\r\n{expected}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        ))?;
        assert!(
            ["HTTP/1.1 20", "HTTP/1.1 409"].iter().any(|ok| answer.starts_with(ok)),
            "{path}: {answer}"
        );
        let position = answer.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("highwater-position: ").map(str::to_owned)
        });
        Ok(position.unwrap_or_default())
    }

    /// More stock, and a little more to audit.
    pub fn receive(&self) -> Outcome {
        self.command(&format!("stock/{PEAR}/receive"), None, r#"{"quantity":1}"#).map(drop)
    }

    /// Waits until the view has this position.
    fn reached(&self, path: &str, position: &str) -> Outcome {
        let answer = self.exchange(&format!(
            "GET /v1/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nHighwater-Min-Position: \
             {position}\r\n\r\n",
            self.address
        ))?;
        if answer.starts_with("HTTP/1.1 200") {
            Ok(())
        } else {
            Err(format!("{path}: {answer}").into())
        }
    }

    /// Products, stock, and three orders, each at the end of its life; one rejection and one
    /// command that changes nothing.
    pub fn live(&self) -> Outcome {
        for (id, department) in [(APPLE, "GROCERY"), (PEAR, "PRODUCE")] {
            let body = format!(
                r#"{{"id":"{id}","name":"A {id}","department":"{department}",
                    "unit_price_minor":250,"currency":"USD"}}"#
            );
            self.command("products", None, &body)?;
            self.command(&format!("stock/{id}/receive"), None, r#"{"quantity":40}"#)?;
        }
        self.command(
            &format!("products/{APPLE}/set-price"),
            None,
            r#"{"unit_price_minor":300,"currency":"USD"}"#,
        )?;
        let described = r#"{"brand":"National","description":"Green","package_size":null}"#;
        let products = self.command(&format!("products/{APPLE}/describe"), None, described)?;
        for _ in 0..2 {
            self.command(&format!("products/{PEAR}/discontinue"), None, "{}")?;
        }
        for id in [CANCELLED, RETURNED, SHIPPED] {
            let line = |product: &str, department: &str, quantity: u32| {
                format!(
                    r#"{{"product_id":"{product}","department":"{department}",
                        "quantity":{quantity},"unit_price_minor":250}}"#
                )
            };
            let lines = [line(APPLE, "GROCERY", 2), line(PEAR, "PRODUCE", 3)].join(",");
            let body = format!(
                r#"{{"id":"{id}","customer_id":"{CUSTOMER}","currency":"USD",
                    "placed_at":"2017-05-0{}T23:59:59.5Z","lines":[{lines}]}}"#,
                id.chars().last().unwrap_or('1')
            );
            self.command("orders", None, &body)?;
            self.command(
                &format!("stock/{APPLE}/reserve"),
                None,
                &format!(r#"{{"order_id":"{id}","quantity":2}}"#),
            )?;
        }
        self.command(&format!("orders/{CANCELLED}/cancel"), Some(1), r#"{"reason":"too late"}"#)?;
        self.command(&format!("orders/{CANCELLED}/confirm"), None, "{}")?;
        for id in [RETURNED, SHIPPED] {
            self.command(&format!("orders/{id}/confirm"), None, "{}")?;
            self.command(&format!("orders/{id}/ship"), Some(2), r#"{"carrier":"UPS"}"#)?;
        }
        self.command(&format!("orders/{RETURNED}/deliver"), None, "{}")?;
        let orders =
            self.command(&format!("orders/{RETURNED}/return"), Some(4), r#"{"reason":"bruised"}"#)?;
        let stock = self.command(
            &format!("stock/{APPLE}/adjust"),
            None,
            r#"{"delta":-3,"reason":"lost"}"#,
        )?;
        self.reached(&format!("orders/{RETURNED}"), &orders)?;
        self.reached(&format!("products/{APPLE}"), &products)?;
        self.reached(&format!("stock/{APPLE}"), &stock)
    }
}

/// A log that lies still, and the tables made from it.
pub struct World {
    folder: Scratch,
    server: PrivatePostgres,
}

static WORLD: Mutex<Weak<World>> = Mutex::const_new(Weak::new());
static KEYS: AtomicU32 = AtomicU32::new(0);
static COPIES: AtomicU32 = AtomicU32::new(0);

impl World {
    /// The one that other tests use at this moment, or a new one.
    pub async fn shared() -> Result<Arc<Self>, Box<dyn std::error::Error>> {
        let mut world = WORLD.lock().await;
        if let Some(world) = world.upgrade() {
            return Ok(world);
        }
        let made = Arc::new(Self::made().await?);
        *world = Arc::downgrade(&made);
        Ok(made)
    }

    async fn made() -> Result<Self, Box<dyn std::error::Error>> {
        let server = PrivatePostgres::temporary().await?;
        let folder = Scratch::new(&format!("world-{}", COPIES.fetch_add(1, Ordering::Relaxed)));
        let up = Up::start(&folder.0, &["--database-url", &server.url()])?;
        up.live()?;
        Self::caught_up(&server.url()).await?;
        up.stop()?;
        Ok(Self { folder, server })
    }

    /// Until each projection has the rows that the commands make.
    async fn caught_up(url: &str) -> Outcome {
        let mut connection = PgConnection::connect(url).await?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        let behind = "SELECT (SELECT count(*) FROM outcomes) < 23 OR (SELECT count(*) FROM \
                      sales_daily WHERE orders = 0) < 3
                      OR NOT EXISTS (SELECT FROM seen_filters)";
        tokio::time::timeout(PATIENCE, async {
            while sqlx::query_scalar::<_, bool>(behind).fetch_one(&mut connection).await? {
                look.tick().await;
            }
            Ok::<_, sqlx::Error>(())
        })
        .await??;
        Ok(connection.close().await?)
    }

    /// Copies of both, to plant faults in.
    pub async fn copy(self: &Arc<Self>) -> Result<Copy, Box<dyn std::error::Error>> {
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let folder = Scratch::new(&format!("copy-{number}"));
        fs::create_dir_all(&folder.0)?;
        assert!(
            Command::new("cp")
                .arg("-r")
                .arg(self.folder.0.join("log"))
                .arg(folder.0.join("log"))
                .status()?
                .success()
        );
        let name = format!("copy_{number}");
        // One at a time: a database that is being copied is closed to others.
        let _alone = WORLD.lock().await;
        let administration = self.server.url().replace("/highwater?", "/postgres?");
        let mut connection = PgConnection::connect(&administration).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE highwater")))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(Copy {
            _world: Arc::clone(self),
            folder,
            url: self.server.url().replace("/highwater?", &format!("/{name}?")),
        })
    }
}

/// A test's own log and tables.
pub struct Copy {
    pub folder: Scratch,
    pub url: String,
    /// Its server runs as long as a test needs it.
    _world: Arc<World>,
}

impl Copy {
    pub async fn plant(&self, sql: &str) -> Outcome {
        let mut connection = PgConnection::connect(&self.url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// The URL of an empty database on the same server.
    pub async fn empty(&self) -> Result<String, Box<dyn std::error::Error>> {
        let name = format!("empty_{}", COPIES.fetch_add(1, Ordering::Relaxed));
        self.plant(&format!("CREATE DATABASE {name}")).await?;
        let of_copy = self.url.split('/').next_back().and_then(|last| last.split('?').next());
        Ok(self.url.replace(&format!("/{}?", of_copy.ok_or("a database")?), &format!("/{name}?")))
    }

    /// Another subcommand that looks at the log and the tables.
    pub fn run(&self, subcommand: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new(HIGHWATER);
        command.args(subcommand).arg("--data").arg(&self.folder.0);
        command.args(["--database-url", &self.url]).current_dir("/").output()
    }

    /// `store rebuild` of a projection.
    pub fn rebuild(&self, more: &[&str]) -> std::io::Result<Output> {
        self.run(&[&["rebuild", "--json"], more].concat())
    }

    pub fn audit(&self, more: &[&str]) -> std::io::Result<Output> {
        audit(&self.folder.0, &[&["--database-url", &self.url], more].concat())
    }
}

pub fn audit(data: &Path, more: &[&str]) -> std::io::Result<Output> {
    Command::new(HIGHWATER).args(["audit", "--data"]).arg(data).args(more).current_dir("/").output()
}
