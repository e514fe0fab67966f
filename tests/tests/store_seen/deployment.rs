//! One broker, a Postgres that counts statements, one projector, and as many command APIs as asked
//! for; all in a folder of its own.

use std::{
    collections::BTreeMap, os::unix::fs::OpenOptionsExt, path::PathBuf, process::Command,
    time::Duration,
};

use highwater_cli::postgres::PrivatePostgres;
use highwater_runtime::clock::{Ids, SystemIds};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    build::program,
    client::Client,
    kafka::Kafka,
    process::{Service, free_port},
    statements::{Statements, eventually},
};

const PARTITIONS: usize = 8 * 3;
const ENDED_WITHIN: Duration = Duration::from_secs(40);
/// Of command-api alone.
const ROLE: &str = "CREATE ROLE highwater_commands LOGIN PASSWORD 'known' IN ROLE highwater_reader";

pub struct Deployment {
    // Dropped in this sequence: the processes first.
    commands: Vec<Service>,
    _projectors: Service,
    pub statements: Statements,
    pool: PgPool,
    kafka: Kafka,
    postgres: PrivatePostgres,
    http: reqwest::Client,
    started: usize,
    folder: Folder,
}

/// Removed at the end, unless the test failed.
struct Folder(PathBuf);

impl Deployment {
    pub async fn start() -> Self {
        let folder = Folder(
            std::env::temp_dir().join(format!("highwater-seen-{}", SystemIds.v4().simple())),
        );
        for part in ["bin", "pids"] {
            std::fs::create_dir_all(folder.0.join(part)).unwrap();
        }
        let (data, pids) = (folder.0.join("kafka"), folder.0.join("pids"));
        let starting = tokio::task::spawn_blocking(move || Kafka::start(&data, &pids, 1));
        for name in ["command-api", "projectors"] {
            std::fs::copy(program(name), folder.0.join("bin").join(name)).unwrap();
        }
        let postgres = PrivatePostgres::temporary().await.unwrap();
        Statements::counted_by(&postgres).await;
        let pool = PgPool::connect(&postgres.url()).await.unwrap();
        highwater_tables::migrations::migrate(&pool, Some(&store::app().tables())).await.unwrap();
        sqlx::query(ROLE).execute(&pool).await.unwrap();
        write_key(&folder.0.join("keys"));
        let kafka = starting.await.unwrap();

        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let port = free_port();
        let own = [
            ("PROJECTOR__LISTEN", format!("127.0.0.1:{port}")),
            ("PROJECTOR__DATABASE__URL", postgres.url()),
        ];
        let mut projectors =
            Service::new(&folder.0, "projectors", 1, port, environment(&kafka, own.to_vec()));
        projectors.start();
        projectors.ready(&http).await;
        let statements = Statements::new(pool.clone()).await;
        Self {
            commands: Vec::new(),
            _projectors: projectors,
            statements,
            pool,
            kafka,
            postgres,
            http,
            started: 0,
            folder,
        }
    }

    /// Starts so many, and waits until they have shared the partitions out.
    pub async fn command_apis(&mut self, number: usize, settings: &[(&'static str, &str)]) {
        for _ in 0..number {
            self.started += 1;
            let port = free_port();
            let database = self
                .postgres
                .url()
                .split_once('@')
                .map(|(_, at)| format!("postgres://highwater_commands:known@{at}"))
                .unwrap();
            let mut own = vec![
                ("HTTP__LISTEN", format!("127.0.0.1:{port}")),
                ("PEERS__ADVERTISE", format!("http://127.0.0.1:{port}")),
                ("OWNER__DATABASE__URL", database),
                ("IDENTITY__KEYS", self.folder.0.join("keys").display().to_string()),
            ];
            own.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
            let environment = environment(&self.kafka, own);
            self.commands.push(Service::new(
                &self.folder.0,
                "command-api",
                self.started,
                port,
                environment,
            ));
        }
        self.start_command_apis().await;
    }

    async fn start_command_apis(&mut self) {
        self.commands.iter_mut().for_each(Service::start);
        for service in &mut self.commands {
            service.ready(&self.http).await;
        }
        eventually("the partitions are shared out", async || {
            let mut owned = Vec::new();
            for service in &self.commands {
                owned.push(self.owned_by(service).await.len());
            }
            owned.iter().sum::<usize>() == PARTITIONS
                && owned.iter().all(|owned| *owned >= PARTITIONS / self.commands.len() - 3)
        })
        .await;
    }

    pub async fn stop_command_apis(&mut self) {
        self.commands.iter().for_each(Service::terminate);
        for mut service in self.commands.drain(..) {
            assert!(service.exited(ENDED_WITHIN).await.success(), "{}", service.name);
        }
    }

    /// All of them end before one starts again.
    pub async fn restart_command_apis(&mut self) {
        self.commands.iter().for_each(Service::terminate);
        for service in &mut self.commands {
            assert!(service.exited(ENDED_WITHIN).await.success(), "{}", service.name);
        }
        self.start_command_apis().await;
    }

    /// SIGKILL. Returns when another has taken the partition over.
    pub async fn kill_the_owner_of(&mut self, position: &str) {
        let (category, partition, _) = parts(position);
        let place = (category, partition.to_string());
        let mut owner = None;
        for (number, service) in self.commands.iter().enumerate() {
            if self.owned_by(service).await.contains(&place) {
                owner = Some(number);
            }
        }
        let mut owner = self.commands.remove(owner.expect("an instance owns it"));
        owner.kill();
        owner.exited(ENDED_WITHIN).await;
        let other = &self.commands[0];
        eventually("another takes over", async || self.owned_by(other).await.contains(&place))
            .await;
    }

    async fn owned_by(&self, service: &Service) -> Vec<(String, String)> {
        let epochs = service.metric(&self.http, "highwater_owner_epoch").await;
        let label = |labels: &str, name: &str| {
            Some(labels.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.to_owned())
        };
        let of = |labels: &str| Some((label(labels, "category")?, label(labels, "partition")?));
        epochs
            .iter()
            .filter(|(_, epoch)| *epoch > 0.0)
            .filter_map(|(labels, _)| of(labels))
            .collect()
    }

    pub fn client(&self) -> Client {
        Client::new(self.commands.iter().map(|service| service.url.clone()).collect())
    }

    /// Waits until `snapshots` has everything below these positions.
    pub async fn caught_up(&self, positions: &[String]) {
        let mut ends = BTreeMap::new();
        for position in positions {
            let (category, partition, end) = parts(position);
            let known = ends.entry((category, partition)).or_insert(end);
            *known = end.max(*known);
        }
        let query = "SELECT next_offset FROM checkpoints
                      WHERE projection = 'snapshots' AND generation = 1 AND category = $1 AND \
                      partition = $2";
        for ((category, partition), end) in ends {
            eventually("snapshots catch up", async || {
                let at = sqlx::query_scalar::<_, i64>(query)
                    .bind(&category)
                    .bind(partition)
                    .fetch_optional(&self.pool)
                    .await
                    .unwrap();
                at.is_some_and(|at| at >= end)
            })
            .await;
        }
    }

    /// By its snapshot.
    pub async fn version_of(&self, product: Uuid) -> u64 {
        let query =
            "SELECT version FROM snapshots WHERE category = 'product' AND aggregate_id = $1";
        let version: i64 =
            sqlx::query_scalar(query).bind(product).fetch_one(&self.pool).await.unwrap();
        version.try_into().unwrap()
    }

    /// Log and tables hold together.
    pub fn audit(&self) {
        let mut audit = Command::new(program("store"));
        let output = audit
            .args([
                "audit",
                "--kafka",
                &self.kafka.bootstrap,
                "--database-url",
                &self.postgres.url(),
            ])
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn environment(kafka: &Kafka, own: Vec<(&str, String)>) -> Vec<(String, String)> {
    let all = [
        ("LOG__KAFKA", kafka.bootstrap.clone()),
        ("LOG__DEVELOPMENT", "true".to_owned()),
        ("TELEMETRY__FILTER", "info,highwater_http::server=warn".to_owned()),
    ];
    all.into_iter().chain(own).map(|(key, value)| (format!("HIGHWATER__{key}"), value)).collect()
}

/// `category/partition@offset`.
fn parts(position: &str) -> (String, i32, i64) {
    let (category, rest) = position.split_once('/').unwrap();
    let (partition, end) = rest.split_once('@').unwrap();
    (category.to_owned(), partition.parse().unwrap(), end.parse().unwrap())
}

fn write_key(file: &std::path::Path) {
    use std::io::Write;
    let mut file =
        std::fs::File::options().create_new(true).write(true).mode(0o600).open(file).unwrap();
    writeln!(file, "1:{}{}", SystemIds.v4().simple(), SystemIds.v4().simple()).unwrap();
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the logs of the processes are kept in {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
