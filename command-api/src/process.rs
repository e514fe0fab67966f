//! The command API as a process of its own, on Kafka: configuration, telemetry, log, database, server, drain.

use std::path::Path;

use eventlog::LogSettings;
use service::{
    config::Config,
    context::Context,
    http::{self, HttpSettings},
    shutdown::Shutdown,
    telemetry,
};
use tracing::info;

use crate::{pool, settings::OwnerSettings};

/// Everything that may stand in the configuration, whoever reads it.
const SECTIONS: [&str; 9] = ["http", "identity", "log", "owner", "peers", "projector", "query", "telemetry", "up"];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] service::config::Error),
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    #[error("signals cannot be handled: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Http(#[from] http::Error),
    #[error(transparent)]
    Log(#[from] eventlog::Error),
    #[error("owner.database.url is not usable: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Start(#[from] crate::Error),
}

/// Runs until a signal, then drains.
pub async fn run(file: Option<&Path>) -> Result<(), Error> {
    let config = Config::load(file, Vec::new())?;
    config.refuse_unknown(&SECTIONS)?;
    let telemetry = telemetry::init(&config.section("telemetry")?)?;
    let ctx = Context::new(config, &telemetry, Shutdown::on_signals().map_err(Error::Signals)?);
    info!(configuration = ?ctx.config, "starting");
    let http: HttpSettings = ctx.config.section("http")?;
    http::check_listen(http.listen, http.insecure)?;
    let listener = http::bind(http.listen).await?;
    let settings: LogSettings = ctx.config.section("log")?;
    let owner: OwnerSettings = ctx.config.section("owner")?;
    let log = settings.open_kafka("highwater-command-api")?;

    let started = crate::start(&ctx, log.clone(), pool::pool(&owner.database)?).await;
    let served = match started {
        Ok(router) => {
            info!(address = %http.listen, "serving");
            let router = http::layers(router.merge(ctx.health.router()), &http, &ctx);
            http::serve_with(listener, router, ctx.shutdown.clone(), &http).await.map_err(Error::from)
        }
        Err(error) => Err(error.into()),
    };
    ctx.shutdown.drain().await;
    log.close(ctx.shutdown.drain_limit).await;
    served
}
