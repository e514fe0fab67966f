//! The query API as a process of its own: database, drain.

use std::path::Path;

use service::{
    config::{self, Config},
    process::{self, Listen, Process},
};

use crate::{database, settings::QuerySettings};

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

/// Runs until a signal, then drains. `flags` (`section.key`, value) win over the file and the environment.
pub async fn run(file: Option<&Path>, flags: Vec<(String, String)>) -> Result<(), Error> {
    let process = Process::open(file, flags, listen).await?;
    let ctx = process.ctx.clone();
    let settings: QuerySettings = ctx.config.section("query")?;
    let served = match crate::start(&ctx, database::pool(&settings.database)?).await {
        Ok(router) => process.serve(router).await.map_err(Error::from),
        Err(error) => Err(error.into()),
    };
    ctx.shutdown.drain().await;
    served
}

fn listen(config: &Config) -> Result<Listen, Box<config::Error>> {
    let QuerySettings { listen, insecure, .. } = config.section("query")?;
    Ok(Listen { address: listen, insecure })
}
