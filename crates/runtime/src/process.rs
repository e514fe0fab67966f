//! The frame of a process of its own: configuration, telemetry, signals, one listener, drain, exit
//! code. Knows nothing of what the process does.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use axum::Router;
use tracing::info;

use crate::{
    config::{self, Config},
    context::Context,
    http::{self, HttpSettings, Port},
    shutdown::Shutdown,
    telemetry,
};

/// Every section that any process reads: one file can serve them all.
pub const SECTIONS: [&str; 11] = [
    "http",
    "identity",
    "lane",
    "log",
    "owner",
    "peers",
    "projector",
    "query",
    "start",
    "telemetry",
    "up",
];

/// Read when it is there and no other file is named.
pub const DEFAULT_FILE: &str = "highwater.toml";

/// What an error means to whoever started the process; its number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Failed = 1,
    /// Other arguments or settings are needed.
    Usage = 2,
    /// The log or the database does not answer.
    Unreachable = 3,
}

/// An error that ends a process.
pub trait Exits: std::error::Error {
    fn exit(&self) -> Exit;
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    #[error("signals cannot be handled: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Http(#[from] http::Error),
}

/// Where a process listens.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    pub address: SocketAddr,
    /// Beyond loopback, because something in front protects it.
    pub insecure: bool,
}

/// A process that is configured and has its port, and serves nothing yet: whoever connects is
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
        http::check_listen(address, insecure)?;
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
        let router = http::layers(router.merge(self.ctx.health.router()), &self.http, &self.ctx);
        Ok(http::serve_with(listener, router, self.ctx.shutdown, &self.http).await?)
    }
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Telemetry(telemetry::Error::Filter { .. })
            | Self::Http(http::Error::NotLoopback { .. }) => Exit::Usage,
            Self::Telemetry(_) | Self::Signals(_) | Self::Http(_) => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs a process to its end, and does not wait for calls that block: brokers that do not answer
/// would hold it up for as long as a look-up may take.
pub fn block_on(main: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(main);
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("threads cannot be started: {error}");
            Exit::Failed.into()
        }
    }
}

/// The `main` of a process: `NAME [--insecure] [FILE]`. FILE is the configuration; `--insecure`
/// sets `insecure_key`.
pub async fn main<E: Exits>(
    name: &str,
    insecure_key: &str,
    run: impl AsyncFnOnce(Option<&Path>, Vec<(String, String)>) -> Result<(), E>,
) -> ExitCode {
    telemetry::log_panics();
    let default = Path::new(DEFAULT_FILE);
    let mut file = default.exists().then(|| default.to_owned());
    let mut flags = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--insecure") => flags.push((insecure_key.to_owned(), "true".to_owned())),
            Some(unknown) if unknown.starts_with('-') => {
                telemetry::last_words(Some(&format!(
                    "{name}: unknown argument {unknown}; usage: {name} [--insecure] [FILE]"
                )));
                return Exit::Usage.into();
            }
            _ => file = Some(PathBuf::from(argument)),
        }
    }
    match run(file.as_deref(), flags).await {
        Ok(()) => {
            telemetry::last_words(None);
            ExitCode::SUCCESS
        }
        Err(error) => {
            telemetry::last_words(Some(&format!("{name}: {}", chain(&error))));
            error.exit().into()
        }
    }
}

/// An error with its causes; one that its parent quotes already is not said twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
