//! A process of its own that serves HTTP: configuration, telemetry, signals, one listener, drain.
//! Knows nothing of what the process does.

use std::{net::SocketAddr, path::Path};

use axum::Router;
use highwater_runtime::{
    config::{self, Config},
    context::Context,
    process::{Exit, Exits, SECTIONS},
    shutdown::Shutdown,
    telemetry,
};
use tracing::info;

use crate::{
    health,
    server::{self, HttpSettings, Port},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    #[error("signals cannot be handled: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Http(#[from] server::Error),
}

/// Where a process listens.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    pub address: SocketAddr,
    /// Beyond loopback, because something in front protects it.
    pub insecure: bool,
}

/// A process that is configured and has its port, and serves nothing yet: a client that connects is
/// refused, and goes elsewhere.
pub struct Process {
    pub ctx: Context,
    http: HttpSettings,
    port: Port,
}

impl Process {
    /// `flags` (`section.key`, value) win over the file and the environment. A port in use is found
    /// before anything is started.
    pub async fn open(
        file: Option<&Path>,
        flags: Vec<(String, String)>,
        listen: impl FnOnce(&Config) -> Result<Listen, Box<config::Error>>,
    ) -> Result<Self, Error> {
        let config = Config::load(file, flags)?;
        config.refuse_unknown(&SECTIONS)?;
        let telemetry = telemetry::init(&config.section("telemetry")?)?;
        let ctx = Context::new(config, &telemetry, Shutdown::on_signals().map_err(Error::Signals)?);
        info!(configuration = ?ctx.config, "starting");
        let Listen { address, insecure } = listen(&ctx.config).map_err(|error| *error)?;
        server::check_listen(address, insecure)?;
        let port = Port::reserve(address)?;
        let http = HttpSettings { listen: address, insecure, ..ctx.config.section("http")? };
        Ok(Self { http, port, ctx })
    }

    /// See [`HttpSettings::reached_as`].
    pub fn reached_as(&mut self, url: &str) {
        self.http.reached_as(url);
    }

    /// Starts, and serves that, health and metrics until a signal; then, or if it did not start,
    /// drains. A signal ends the start at once.
    pub async fn serve<E: From<Error>>(
        self,
        starting: impl Future<Output = Result<Router, E>>,
    ) -> Result<(), E> {
        let shutdown = self.ctx.shutdown.clone();
        let started = tokio::select! {
            started = starting => Some(started),
            () = shutdown.leaving.cancelled() => None,
        };
        let served = match started {
            Some(Ok(router)) => self.serve_router(router).await.map_err(E::from),
            Some(Err(error)) => Err(error),
            None => {
                info!("stopped before it had started");
                Ok(())
            }
        };
        shutdown.drain().await;
        served
    }

    async fn serve_router(self, router: Router) -> Result<(), Error> {
        let listener = self.port.listen()?;
        info!(address = ?listener.local_addr().ok(), "serving");
        let router =
            server::layers(router.merge(health::routes(&self.ctx.health)), &self.http, &self.ctx);
        Ok(server::serve_with(listener, router, self.ctx.shutdown, &self.http).await?)
    }
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Telemetry(telemetry::Error::Filter { .. })
            | Self::Http(server::Error::NotLoopback { .. }) => Exit::Usage,
            Self::Telemetry(_) | Self::Signals(_) | Self::Http(_) => Exit::Failed,
        }
    }
}
