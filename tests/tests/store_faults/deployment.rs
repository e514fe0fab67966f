//! The whole deployment under test: brokers, database, key file, five processes. Everything in a
//! folder of its own, which stays when the test fails.

use std::{
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use highwater_cli::postgres::PrivatePostgres;
use highwater_runtime::{
    clock::{Ids, SystemIds},
    identity::DeploymentKeys,
};
use sqlx::PgPool;

use super::{
    build::program,
    kafka::Kafka,
    process::{Service, free_port},
};

const BROKERS: usize = 3;
const BINARIES: [&str; 4] = ["command-api", "projectors", "query-api", "store"];

pub struct Deployment {
    // Dropped in this sequence: the processes first.
    pub commands: Vec<Service>,
    pub projectors: Vec<Service>,
    pub queries: Vec<Service>,
    /// One more command API, that is not started and that no client knows.
    pub standby: Service,
    pub keys: DeploymentKeys,
    pub pool: PgPool,
    pub kafka: Kafka,
    _postgres: PrivatePostgres,
    pub folder: Folder,
}

/// How many processes of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub commands: usize,
    pub projectors: usize,
    pub queries: usize,
    /// Begins with the binaries of the folder that `HIGHWATER_FAULTS_BEFORE` names, if it does.
    pub upgraded: bool,
}

/// Removed at the end, unless the test failed or `HIGHWATER_FAULTS_KEEP` is set.
pub struct Folder(PathBuf);

impl Deployment {
    pub async fn start(http: &reqwest::Client, size: Size) -> Self {
        let folder = Folder(
            std::env::temp_dir().join(format!("highwater-faults-{}", SystemIds.v4().simple())),
        );
        for part in ["bin", "pids"] {
            std::fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        let (data, pids) = (folder.path().join("kafka"), folder.path().join("pids"));
        let starting = tokio::task::spawn_blocking(move || Kafka::start(&data, &pids, BROKERS));
        let target = folder.path().join("bin");
        let earlier = std::env::var_os("HIGHWATER_FAULTS_BEFORE")
            .map(PathBuf::from)
            .filter(|_| size.upgraded);
        tokio::task::spawn_blocking(move || provide(earlier, &target)).await.unwrap();
        let postgres = PrivatePostgres::temporary().await.unwrap();
        let pool = PgPool::connect(&postgres.url()).await.unwrap();
        highwater_tables::migrations::migrate(&pool, Some(&store::app().tables())).await.unwrap();
        let file = folder.path().join("keys");
        write_key(&file);
        let kafka = starting.await.unwrap();

        let shared = Shared {
            folder: folder.path(),
            kafka: &kafka.bootstrap,
            database: postgres.url(),
            keys: &file,
        };
        let mut deployment = Self {
            commands: (1..=size.commands).map(|number| shared.command_api(number)).collect(),
            projectors: (1..=size.projectors).map(|number| shared.projectors(number)).collect(),
            queries: (1..=size.queries).map(|number| shared.query_api(number)).collect(),
            standby: shared.command_api(size.commands + 1),
            keys: DeploymentKeys::load(&file).unwrap(),
            pool,
            kafka,
            _postgres: postgres,
            folder,
        };
        deployment.all().for_each(Service::start);
        for service in deployment.all() {
            service.ready(http).await;
        }
        deployment
    }

    /// From now on, what is started is of this release.
    pub async fn upgrade(&self) {
        let target = self.folder.path().join("bin");
        tokio::task::spawn_blocking(move || provide(None, &target)).await.unwrap();
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Service> {
        self.commands.iter_mut().chain(&mut self.projectors).chain(&mut self.queries)
    }
}

struct Shared<'a> {
    folder: &'a Path,
    kafka: &'a str,
    database: String,
    keys: &'a Path,
}

impl Shared<'_> {
    fn command_api(&self, number: usize) -> Service {
        let port = free_port();
        let own = [
            ("HTTP__LISTEN", format!("127.0.0.1:{port}")),
            ("PEERS__ADVERTISE", format!("http://127.0.0.1:{port}")),
            ("OWNER__DATABASE__URL", self.database.clone()),
            ("IDENTITY__KEYS", self.keys.display().to_string()),
        ];
        Service::new(self.folder, "command-api", number, port, self.environment(own))
    }

    fn projectors(&self, number: usize) -> Service {
        let port = free_port();
        let own = [
            ("PROJECTOR__LISTEN", format!("127.0.0.1:{port}")),
            ("PROJECTOR__DATABASE__URL", self.database.clone()),
        ];
        Service::new(self.folder, "projectors", number, port, self.environment(own))
    }

    fn query_api(&self, number: usize) -> Service {
        let port = free_port();
        let own = [
            ("QUERY__LISTEN", format!("127.0.0.1:{port}")),
            ("QUERY__DATABASE__URL", self.database.clone()),
        ];
        Service::new(self.folder, "query-api", number, port, self.environment(own))
    }

    fn environment<const N: usize>(&self, own: [(&str, String); N]) -> Vec<(String, String)> {
        // A third of the commands is refused on purpose: not a line for each.
        let all = [
            ("LOG__KAFKA", self.kafka.to_owned()),
            ("TELEMETRY__FILTER", "info,highwater_http::server=warn".to_owned()),
        ];
        all.into_iter()
            .chain(own)
            .map(|(key, value)| (format!("HIGHWATER__{key}"), value))
            .collect()
    }
}

impl Folder {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("HIGHWATER_FAULTS_KEEP").is_some() {
            eprintln!("the logs of the processes are kept in {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// The binaries as they are now, copied: a build that runs beside the test does not change what is
/// started again. Those of an `earlier` release, or of the folder that `HIGHWATER_FAULTS_BINARIES`
/// names, or of this checkout.
fn provide(earlier: Option<PathBuf>, into: &Path) {
    let from = earlier.or_else(|| std::env::var_os("HIGHWATER_FAULTS_BINARIES").map(PathBuf::from));
    for binary in BINARIES {
        // A binary that runs cannot be written, but another can take its place.
        let copy = into.join(format!("{binary}.new"));
        let built = from.as_ref().map_or_else(|| program(binary), |from| from.join(binary));
        std::fs::copy(built, &copy).unwrap();
        std::fs::rename(copy, into.join(binary)).unwrap();
    }
}

fn write_key(file: &Path) {
    use std::io::Write;
    let mut file =
        std::fs::File::options().create_new(true).write(true).mode(0o600).open(file).unwrap();
    writeln!(file, "1:{}{}", SystemIds.v4().simple(), SystemIds.v4().simple()).unwrap();
}
