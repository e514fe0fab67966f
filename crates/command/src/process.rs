//! The command API as a process of its own, on Kafka: log, database, drain.

use std::{path::Path, sync::Arc};

use highwater_http::{
    process::{Ended, Listen, Process},
    server::HttpSettings,
};
use highwater_log::{Log, LogSettings};
use highwater_runtime::config::{self, Config};
use highwater_tables::postgres::Connections;

use crate::{Categories, Error, pool, settings::OwnerSettings};

/// Serves `categories` until a signal, then drains. `flags` (`section.key`, value) win over the
/// file and the environment.
pub async fn run(
    file: Option<&Path>,
    flags: Vec<(String, String)>,
    categories: &Categories,
) -> Result<(), Ended<Error>> {
    let mut process = Process::open(file, flags, listen).await?;
    let ctx = process.ctx.clone();
    let (advertised, log, pool) = open(&ctx.config).map_err(Ended::Served)?;
    process.reached_as(&advertised);
    let starting = crate::start(&ctx, log.clone(), pool, categories);
    process.serve_and_close(starting, async |within| log.close(within).await).await
}

fn open(config: &Config) -> Result<(String, Arc<dyn Log>, Connections), Error> {
    let settings: OwnerSettings = config.section("owner")?;
    let advertised = crate::advertised(config).map_err(|error| *error)?;
    let log = config.section::<LogSettings>("log")?.open_kafka("highwater-command-api")?;
    Ok((advertised, log, pool::pool(&settings.database).map_err(Error::Url)?))
}

fn listen(config: &Config) -> Result<Listen, Box<config::Error>> {
    let HttpSettings { listen, insecure, .. } = config.section("http")?;
    Ok(Listen { address: listen, insecure })
}
