//! The query API as a process of its own: database, drain.

use std::path::Path;

use highwater_http::process::{self, Listen, Process};
use highwater_runtime::{
    config::{self, Config},
    process::{Exit, Exits},
};

use crate::{Views, database, settings::QuerySettings};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error("query.database.url is not usable: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Start(#[from] crate::Error),
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Process(error) => error.exit(),
            Self::Config(_) | Self::Database(_) => Exit::Usage,
            Self::Start(error) => error.exit(),
        }
    }
}

/// Shows `views` until a signal, then drains. `flags` (`section.key`, value) win over the file and
/// the environment.
pub async fn run(
    file: Option<&Path>,
    flags: Vec<(String, String)>,
    views: &Views,
) -> Result<(), Error> {
    let process = Process::open(file, flags, listen).await?;
    let ctx = process.ctx.clone();
    let settings: QuerySettings = ctx.config.section("query")?;
    let pool = database::pool(&settings.database)?;
    process.serve(async { Ok::<_, Error>(crate::start(&ctx, pool, views).await?) }).await
}

fn listen(config: &Config) -> Result<Listen, Box<config::Error>> {
    let QuerySettings { listen, insecure, .. } = config.section("query")?;
    Ok(Listen { address: listen, insecure })
}
