//! Everything in one process: log, database, command API, projectors and query API, on one HTTP
//! port. Owns what is started, in which sequence, and how it stops; holds no rule of its own.
//!
//! | module | what it owns |
//! |---|---|
//! | `settings` | the configuration, and what the flags mean in it |
//! | `database` | the private Postgres or the one named, its tables |
//! | `banner` | what a person reads when all is up |

mod banner;
mod database;
mod settings;

pub(crate) use database::reach;
pub(crate) use settings::{database_in_settings, postgres_settings};

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use highwater_http::{
    health,
    server::{self, Port},
};
use highwater_log::Log;
use highwater_runtime::{
    context::Context,
    identity::{self, DeploymentKeys},
    process::{Exit, Exits},
    shutdown::Shutdown,
    telemetry::{self, Telemetry},
};
use highwater_tables::migrations;
use tracing::{info, warn};

use self::{
    banner::Banner,
    database::Database,
    settings::{DatabaseChoice, Settings},
};
use crate::{
    application::Application,
    cli::{of_database, of_log},
    folder::{self, Folder, Kind},
    postgres,
};

/// How often readiness is looked at until the banner can be shown.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    pub data: PathBuf,
    pub listen: Option<SocketAddr>,
    pub kafka: Option<String>,
    pub database_url: Option<String>,
    pub development: bool,
    pub insecure: bool,
    pub config: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] Box<highwater_runtime::config::Error>),
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Http(#[from] server::Error),
    #[error(transparent)]
    Folder(#[from] folder::Error),
    #[error(transparent)]
    Keys(#[from] identity::Error),
    #[error("identity.keys: {0}")]
    NamedKeys(identity::Error),
    #[error(
        "{given} is set and {missing} is not: set all three, or none for the private Postgres, or \
         name one database for all with \
         --database-url"
    )]
    SomeDatabases { given: String, missing: String },
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error("{what}: {0}", what = highwater_tables::postgres::what_failed(.0))]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Migrations(#[from] migrations::Error),
    #[error("the command API does not start: {0}")]
    CommandApi(#[from] highwater_command::Error),
    #[error("the projectors do not start: {0}")]
    Projectors(#[from] highwater_projection::Error),
    #[error("the query API does not start: {0}")]
    QueryApi(#[from] highwater_query::Error),
    #[error("stopped before everything was up")]
    Interrupted,
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Telemetry(telemetry::Error::Filter { .. })
            | Self::Http(server::Error::NotLoopback { .. }) => Exit::Usage,
            Self::NamedKeys(_) | Self::SomeDatabases { .. } => Exit::Usage,
            Self::Log(error) => of_log(error),
            Self::Database(error) => of_database(error),
            Self::Migrations(error) => error.of_database().map_or(Exit::Failed, of_database),
            Self::Postgres(error) => error.exit(),
            Self::CommandApi(error) => error.exit(),
            Self::Projectors(error) => error.exit(),
            Self::QueryApi(error) => error.exit(),
            _ => Exit::Failed,
        }
    }
}

/// What runs behind the HTTP port.
struct Running {
    ctx: Context,
    router: Router,
    log: Arc<dyn Log>,
    database: Database,
    banner: Banner,
    /// Held to the end.
    _folder: Folder,
}

/// Runs the application until SIGTERM or Ctrl-C.
pub async fn run(options: Options, application: &Application) -> Result<(), Error> {
    let settings = Settings::load(&options, Vec::new())?;
    let telemetry = telemetry::init(&settings.telemetry)?;
    let shutdown =
        Shutdown::on_signals_within(settings.up.drain_limit()).map_err(Error::Signals)?;
    server::check_listen(settings.http.listen, settings.http.insecure)?;
    let named = settings.database(&options).map_err(|error| *error)?;
    // First of all: a port in use is found before anything is started.
    let port = Port::reserve(settings.http.listen)?;
    let running = tokio::select! {
        running = start(
            &options,
            application,
            &settings,
            named,
            &telemetry,
            &shutdown,
            port.address(),
        ) => running?,
        () = shutdown.soft.cancelled() => return Err(Error::Interrupted),
    };
    let Running { ctx, router, log, database, banner, _folder } = running;
    let mut listening = settings.http.clone();
    listening.reached_as(&highwater_command::advertised(&ctx.config)?);
    let router = server::layers(router.merge(health::routes(&ctx.health)), &listening, &ctx);
    let served = match port.listen() {
        Ok(listener) => {
            let served = server::serve_with(listener, router, shutdown.clone(), &listening);
            tokio::join!(served, announce(&ctx, banner)).0
        }
        Err(error) => Err(error),
    };
    stop(&shutdown, &settings, log, database).await?;
    Ok(served?)
}

async fn start(
    options: &Options,
    application: &Application,
    settings: &Settings,
    named: DatabaseChoice,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
    address: SocketAddr,
) -> Result<Running, Error> {
    let folder = Folder::open(&options.data)?;
    if matches!(named, DatabaseChoice::Private) {
        folder.keep_to(if settings.log.is_local() { Kind::Local } else { Kind::Kafka })?;
    }
    let keys = match settings.keys() {
        Some(named) => {
            DeploymentKeys::load(named).map(|_| named.to_owned()).map_err(Error::NamedKeys)?
        }
        None => DeploymentKeys::create_or_load(&folder.keys()).map(|_| folder.keys())?,
    };
    let log = settings.log.open(&folder.log(), "highwater-up")?;
    let patience = settings.start.patience();
    patience.until("the log", highwater_log::Error::may_pass, async || log.health().await).await?;
    let database = Database::open(named, &folder, settings.up.postgres(), patience).await?;
    database.migrate(application.projections.tables()).await?;
    // Again, with what is known now.
    let mut found = database.flags();
    found.extend(settings.lists_at_once().filter(|_| database.private().is_some()));
    found.push(("http.listen".to_owned(), address.to_string()));
    found.push(("identity.keys".to_owned(), keys.display().to_string()));
    let settings = Settings::load(options, found)?;
    info!(settings = ?settings.config, "starting");
    let ctx = Context::new(settings.config.clone(), telemetry, shutdown.clone());
    let router = services(&ctx, &log, application).await?;
    let mut banner = Banner::new(application.name, address, &settings, &folder, &keys, &database);
    banner.try_first(application.first_command.as_ref());
    Ok(Running { ctx, router, log, database, banner, _folder: folder })
}

/// The three services on one log, as the sections of the configuration say, without the layers
/// around their routes.
pub async fn services(
    ctx: &Context,
    log: &Arc<dyn Log>,
    application: &Application,
) -> Result<Router, Error> {
    let owner: highwater_command::settings::OwnerSettings =
        ctx.config.section("owner").map_err(Box::new)?;
    let query: highwater_query::settings::QuerySettings =
        ctx.config.section("query").map_err(Box::new)?;
    let projector: highwater_projection::settings::ProjectorSettings =
        ctx.config.section("projector").map_err(Box::new)?;
    let pool = highwater_command::pool::pool(&owner.database)?;
    let commands =
        highwater_command::start(ctx, Arc::clone(log), pool, &application.categories).await?;
    let pool = highwater_projection::pool::pool(&projector.database)?;
    let projections =
        highwater_projection::start(ctx, Arc::clone(log), pool, &application.projections).await?;
    let pool = highwater_query::database::pool(&query.database)?;
    let queries = highwater_query::start(ctx, pool, &application.views).await?;
    Ok(commands.merge(projections).merge(queries))
}

/// Shows the banner once everything is ready.
async fn announce(ctx: &Context, banner: Banner) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    while !ctx.shutdown.is_draining() {
        if ctx.health.report().await.ready() {
            telemetry::say(&banner.to_string());
            return;
        }
        tokio::select! {
            _ = look.tick() => {}
            () = ctx.shutdown.soft.cancelled() => {}
        }
    }
}

async fn stop(
    shutdown: &Shutdown,
    settings: &Settings,
    log: Arc<dyn Log>,
    database: Database,
) -> Result<(), Error> {
    if !shutdown.drain().await {
        warn!("stopped with work still open: it is in the log or will be done again");
    }
    log.close(settings.up.close_limit()).await;
    drop(log);
    database.stop().await?;
    info!("stopped");
    Ok(())
}
