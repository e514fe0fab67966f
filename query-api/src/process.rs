//! The query API as a process of its own: configuration, telemetry, database, server, drain.

use std::path::Path;

use service::{
    config::Config,
    context::Context,
    http::{self, HttpSettings},
    shutdown::Shutdown,
    telemetry,
};
use tracing::info;

use crate::{database, settings::QuerySettings};

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
    #[error("query.database.url is not usable: {0}")]
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
    let settings: QuerySettings = ctx.config.section("query")?;
    http::check_listen(settings.listen, settings.insecure)?;
    let listener = http::bind(settings.listen).await?;

    let router = crate::start(&ctx, database::pool(&settings.database)?).await?.merge(ctx.health.router());
    info!(address = %settings.listen, "serving");
    let http: HttpSettings = ctx.config.section("http")?;
    let served = http::serve_with(listener, http::layers(router, &http, &ctx), ctx.shutdown.clone(), &http).await;
    ctx.shutdown.drain().await;
    Ok(served?)
}
