//! A whole application in the process of a test: an embedded log and a private Postgres, both
//! temporary, and a clock that the test moves.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request},
};
use highwater_cli::{
    postgres::{self, PrivatePostgres},
    up,
};
use highwater_http::server::{HttpSettings, layers};
use highwater_log::{FaultyLog, LocalLog, Log, faulty::Faults, local::Settings};
use highwater_runtime::{
    clock::{Clock, CountingIds, ManualClock},
    config::{self, Config},
    context::Context,
    health::Health,
    identity::{self, DeploymentKeys},
    shutdown::Shutdown,
};
use highwater_tables::migrations;
use parking_lot::Mutex;
use serde_json::Value;
use tower::ServiceExt;
use uuid::Uuid;

use super::NOW;
use crate::{
    Aggregate, App, Category, Command, Event, Fold, app::Misbuilt, app::row_of, command::Target,
};

/// Whatever is waited for takes moments, or has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LARGEST_ANSWER: usize = 16 << 20;

/// An application that runs.
pub struct Running {
    router: Router,
    clock: Arc<ManualClock>,
    shutdown: Shutdown,
    categories: Vec<Category>,
    /// After the last command, by category.
    positions: Mutex<BTreeMap<&'static str, String>>,
    log: Arc<dyn Log>,
    server: PrivatePostgres,
    folder: Folder,
}

/// Removed with this value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Why an application does not start, or cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`App::build`].
    #[error(transparent)]
    Misbuilt(#[from] Misbuilt),
    /// Of temporary files.
    #[error("no folder for it: {0}")]
    Folder(#[from] std::io::Error),
    /// Of its own making.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The keys of the deployment.
    #[error(transparent)]
    Keys(#[from] identity::Error),
    /// The embedded log.
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    /// The private Postgres.
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Its tables.
    #[error(transparent)]
    Migrations(#[from] migrations::Error),
    /// The services.
    #[error(transparent)]
    Services(#[from] up::Error),
    /// Not within a minute.
    #[error("it is not ready: {0:?}")]
    NotReady(BTreeMap<String, String>),
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Response {
    /// Of HTTP.
    pub status: u16,
    /// All of them.
    pub headers: HeaderMap,
    /// JSON; null if there is none.
    pub body: Value,
}

impl Running {
    /// Starts it, with the clock at [`NOW`].
    pub async fn start(app: App) -> Result<Self, Error> {
        Self::start_on(app, Ok).await
    }

    /// The same on a log that loses, repeats and delays what is appended, as real ones do now and
    /// then; by a seed, so that a failure can be looked at again.
    pub async fn start_with_faults(app: App, seed: u64) -> Result<Self, Error> {
        let faults = Faults {
            dropped: 50,
            duplicated: 50,
            stripped: 50,
            misreported: 50,
            foreign: 20,
            delayed: 100,
            reported_late: 100,
            delay_up_to: Duration::from_millis(20),
        };
        Self::start_on(app, |log| Ok(Arc::new(FaultyLog::new(log, seed, faults)?))).await
    }

    async fn start_on(
        app: App,
        on: impl FnOnce(Arc<dyn Log>) -> Result<Arc<dyn Log>, highwater_log::Error>,
    ) -> Result<Self, Error> {
        let categories = app.categories().to_vec();
        let application = app.build()?;
        let server = PrivatePostgres::temporary().await?;
        // Its own folder has a name that no other application has.
        let name = format!("{}-testing", server.dir().display()).replace('/', "-");
        let folder = Folder(std::env::temp_dir().join(name.trim_start_matches('-')));
        std::fs::create_dir_all(&folder.0)?;
        let keys = folder.0.join("keys");
        DeploymentKeys::create_or_load(&keys)?;
        let mut connection =
            <sqlx::PgConnection as sqlx::Connection>::connect(&server.url()).await?;
        migrations::migrate(&mut connection, Some(application.projections.tables())).await?;
        drop(connection);

        let mut settings = vec![("identity.keys".to_owned(), keys.display().to_string())];
        settings.extend(
            ["owner", "projector", "query"]
                .map(|service| (format!("{service}.database.url"), server.url())),
        );
        let config = Config::load_with(None, None, settings)?;
        let clock = Arc::new(ManualClock::at(NOW.micros()));
        // An owner does not serve where the log's clock is another one.
        let of_log = clock.clone();
        let settings = Settings {
            clock: Arc::new(move || of_log.now().div_euclid(1_000)),
            ..Settings::default()
        };
        let log = on(Arc::new(LocalLog::open(folder.0.join("log"), settings)?))?;
        let shutdown = Shutdown::new();
        let ctx = Context {
            config,
            clock: clock.clone(),
            ids: Arc::new(CountingIds::default()),
            health: Health::new(&shutdown, None),
            shutdown: shutdown.clone(),
        };
        let router = up::services(&ctx, &log, &application).await?;
        let http: HttpSettings = ctx.config.section("http")?;
        let router = layers(router, &http, &ctx);
        let positions = Mutex::default();
        let running = Self { router, clock, shutdown, categories, positions, log, server, folder };
        running.until_ready(&ctx.health).await?;
        Ok(running)
    }

    async fn until_ready(&self, health: &Health) -> Result<(), Error> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let report = health.report().await;
            if report.ready() {
                return Ok(());
            }
            if tokio::time::Instant::now() > until {
                return Err(Error::NotReady(report.missing));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Moves the time that commands are decided at.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Sends a command to an aggregate, or, if it creates, to its collection, with this id.
    pub async fn send<A: Aggregate>(&self, id: impl Into<Uuid>, command: A::Command) -> Response {
        self.send_with::<A>(id.into(), &command, &[]).await
    }

    /// The same if the aggregate is still at this version: else 412.
    pub async fn send_at<A: Aggregate>(
        &self,
        id: impl Into<Uuid>,
        version: u64,
        command: A::Command,
    ) -> Response {
        let version = format!("\"v{version}\"");
        self.send_with::<A>(id.into(), &command, &[("if-match", &version)]).await
    }

    async fn send_with<A: Aggregate>(
        &self,
        id: Uuid,
        command: &A::Command,
        headers: &[(&str, &str)],
    ) -> Response {
        let (kind, mut body) = (command.kind(), command.body());
        let collection = self.collection(A::Event::CATEGORY);
        let path = match kind.target {
            Target::Creates => {
                body["id"] = id.to_string().into();
                format!("/v1/{collection}")
            }
            Target::Begins | Target::Needs => format!("/v1/{collection}/{id}/{}", kind.name),
        };
        // The version that these types are: `application/json` is the oldest one.
        let media = format!(
            "application/vnd.highwater.{}.{}.v{}+json",
            A::Event::CATEGORY,
            kind.name,
            kind.versions
        );
        let mut all = vec![("content-type", media.as_str())];
        all.extend(headers);
        let answered = self.ask(Method::POST, &path, &all, Some(&body)).await;
        if let Some(position) = answered.header("highwater-position") {
            self.positions.lock().insert(A::Event::CATEGORY, position.to_owned());
        }
        answered
    }

    /// The row of an aggregate, with everything that was sent to its category before. `None`: there
    /// is none.
    ///
    /// # Panics
    ///
    /// When the row cannot be read.
    pub async fn row<R: Fold>(&self, id: impl Into<Uuid>) -> Option<R> {
        let category = <R::Of as Aggregate>::Event::CATEGORY;
        let path = format!("/v1/{}/{}", self.collection(category), id.into());
        let position = self.positions.lock().get(category).cloned();
        let mut headers = vec![("prefer", "wait=20")];
        headers.extend(position.as_deref().map(|at| ("highwater-min-position", at)));
        let answered = self.ask(Method::GET, &path, &headers, None).await;
        match (answered.status, answered.body) {
            (404, _) => None,
            (200, Value::Object(row)) => match row_of::<R>(&row) {
                Ok(row) => Some(row),
                Err(why) => panic!("{path}: {why}"),
            },
            (status, body) => panic!("{path}: {status} {body}"),
        }
    }

    /// Any request; a body is `application/json`, unless a header says otherwise.
    ///
    /// # Panics
    ///
    /// When it is no request: a path or a header that HTTP does not allow.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let named = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if body.is_some() && !named {
            request = request.header("content-type", "application/json");
        }
        let content = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = match request.body(content) {
            Ok(request) => request,
            Err(error) => panic!("{path} is no request: {error}"),
        };
        let answered = match self.router.clone().oneshot(request).await {
            Ok(answered) => answered,
            Err(never) => match never {},
        };
        let (parts, body) = answered.into_parts();
        let body = to_bytes(body, LARGEST_ANSWER).await.unwrap_or_default();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Response { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    fn collection(&self, name: &str) -> &'static str {
        match self.categories.iter().find(|category| category.name == name) {
            Some(category) => category.collection,
            None => panic!("the application has no category {name}"),
        }
    }

    /// Stops it, and removes what it had.
    pub async fn stop(self) -> Result<(), Error> {
        self.shutdown.drain().await;
        self.log.close(PATIENCE).await;
        self.server.stop().await?;
        drop(self.folder);
        Ok(())
    }
}

impl Response {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The aggregate's version, of what was accepted.
    pub fn version(&self) -> Option<u64> {
        self.body["version"].as_u64()
    }

    /// What a problem is called: `voucher.already-redeemed`.
    pub fn code(&self) -> Option<&str> {
        self.body["code"].as_str()
    }
}
