//! A process of its own that serves HTTP: configuration, telemetry, signals, one listener, drain.
//! Knows nothing of what the process does.

use std::{net::SocketAddr, path::Path, time::Duration};

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

/// Why a process ended that was not asked to: by its frame, or by what it serves.
#[derive(Debug, thiserror::Error)]
pub enum Ended<E: std::error::Error + 'static> {
    #[error(transparent)]
    Frame(#[from] Error),
    #[error(transparent)]
    Served(E),
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
    pub async fn serve<E: std::error::Error + 'static>(
        self,
        starting: impl Future<Output = Result<Router, E>>,
    ) -> Result<(), Ended<E>> {
        let shutdown = self.ctx.shutdown.clone();
        let started = tokio::select! {
            started = starting => Some(started),
            () = shutdown.leaving.cancelled() => None,
        };
        let served = match started {
            Some(Ok(router)) => Ok(self.serve_router(router).await?),
            Some(Err(error)) => Err(Ended::Served(error)),
            None => {
                info!("stopped before it had started");
                Ok(())
            }
        };
        shutdown.drain().await;
        served
    }

    /// The same. Afterwards `close` has as long as what was sent may take to arrive.
    pub async fn serve_and_close<E: std::error::Error + 'static>(
        self,
        starting: impl Future<Output = Result<Router, E>>,
        close: impl AsyncFnOnce(Duration),
    ) -> Result<(), Ended<E>> {
        let (drain_limit, mut has_started) = (self.ctx.shutdown.drain_limit, false);
        let starting = async {
            let started = starting.await;
            has_started = started.is_ok();
            started
        };
        let served = self.serve(starting).await;
        close(if has_started { drain_limit } else { NOTHING_TO_CLOSE }).await;
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

/// What was not started has sent nothing that would have to arrive.
const NOTHING_TO_CLOSE: Duration = Duration::from_millis(500);

impl<E: Exits + 'static> Exits for Ended<E> {
    fn exit(&self) -> Exit {
        match self {
            Self::Frame(error) => error.exit(),
            Self::Served(error) => error.exit(),
        }
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
