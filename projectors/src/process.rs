//! The projectors as a process of their own, on Kafka: configuration, telemetry, log, database, health, drain.

use std::{path::Path, sync::Arc};

use eventlog::{KafkaLog, Log, kafka};
use service::{
    config::Config,
    context::Context,
    http::{self, HttpSettings},
    shutdown::Shutdown,
    telemetry,
};
use tracing::info;

use crate::{
    pool,
    settings::{LogSettings, ProjectorSettings},
};

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
    #[error("log.kafka names no brokers: set it to host:port, or HIGHWATER__LOG__KAFKA")]
    NoBrokers,
    #[error(transparent)]
    Log(#[from] eventlog::Error),
    #[error("projector.database.url is not usable: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Start(#[from] crate::Error),
}

/// Runs until a signal, then drains. `flags` (`section.key`, value) win over the file and the environment.
pub async fn run(file: Option<&Path>, flags: Vec<(String, String)>) -> Result<(), Error> {
    let config = Config::load(file, flags)?;
    config.refuse_unknown(&SECTIONS)?;
    let telemetry = telemetry::init(&config.section("telemetry")?)?;
    let ctx = Context::new(config, &telemetry, Shutdown::on_signals().map_err(Error::Signals)?);
    info!(configuration = ?ctx.config, "starting");
    let settings: ProjectorSettings = ctx.config.section("projector")?;
    http::check_listen(settings.listen, settings.insecure)?;
    let listener = http::bind(settings.listen).await?;
    let naming: LogSettings = ctx.config.section("log")?;
    let log = open_log(naming.kafka.as_deref().ok_or(Error::NoBrokers)?, &naming)?;

    let started = crate::start(&ctx, log.clone(), pool::pool(&settings.database)?).await;
    let served = match started {
        Ok(router) => {
            info!(address = %settings.listen, "serving health and metrics");
            let http: HttpSettings = ctx.config.section("http")?;
            let router = http::layers(router.merge(ctx.health.router()), &http, &ctx);
            http::serve_with(listener, router, ctx.shutdown.clone(), &http).await.map_err(Error::from)
        }
        Err(error) => Err(error.into()),
    };
    ctx.shutdown.drain().await;
    log.close(ctx.shutdown.drain_limit).await;
    served
}

fn open_log(brokers: &str, settings: &LogSettings) -> Result<Arc<dyn Log>, eventlog::Error> {
    let kafka = kafka::Settings {
        client: "highwater-projectors".to_owned(),
        development: settings.development,
        security: settings.security.clone(),
        ..kafka::Settings::new(brokers)
    };
    Ok(Arc::new(KafkaLog::new(kafka)?))
}
