//! The command API as a process of its own, on Kafka: log, database, drain.

use std::path::Path;

use highwater_http::{
    process::{self, Listen, Process},
    server::HttpSettings,
};
use highwater_log::LogSettings;
use highwater_runtime::{
    config::{self, Config},
    process::{Exit, Exits},
};

use crate::{Categories, pool, settings::OwnerSettings};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error("owner.database.url is not usable: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Start(#[from] crate::Error),
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Process(error) => error.exit(),
            Self::Log(error) if error.may_pass() => Exit::Unreachable,
            Self::Config(_) | Self::Database(_) | Self::Log(highwater_log::Error::Setting(_)) => {
                Exit::Usage
            }
            Self::Log(_) => Exit::Failed,
            Self::Start(error) => error.exit(),
        }
    }
}

/// Serves `categories` until a signal, then drains. `flags` (`section.key`, value) win over the
/// file and the environment.
pub async fn run(
    file: Option<&Path>,
    flags: Vec<(String, String)>,
    categories: &Categories,
) -> Result<(), Error> {
    let mut process = Process::open(file, flags, listen).await?;
    let ctx = process.ctx.clone();
    let settings: LogSettings = ctx.config.section("log")?;
    let owner: OwnerSettings = ctx.config.section("owner")?;
    process.reached_as(&crate::advertised(&ctx.config).map_err(|error| *error)?);
    let log = settings.open_kafka("highwater-command-api")?;
    let pool = pool::pool(&owner.database)?;
    let mut started = false;
    let starting = async {
        let router = crate::start(&ctx, log.clone(), pool, categories).await?;
        started = true;
        Ok::<_, Error>(router)
    };
    let served = process.serve(starting).await;
    log.close(if started { ctx.shutdown.drain_limit } else { NOTHING_TO_CLOSE }).await;
    served
}

/// What was not started has sent nothing that would have to arrive.
const NOTHING_TO_CLOSE: std::time::Duration = std::time::Duration::from_millis(500);

fn listen(config: &Config) -> Result<Listen, Box<config::Error>> {
    let HttpSettings { listen, insecure, .. } = config.section("http")?;
    Ok(Listen { address: listen, insecure })
}
