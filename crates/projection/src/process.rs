//! The projectors as a process of their own, on Kafka: log, database, drain.

use std::{path::Path, sync::Arc};

use highwater_http::process::{Ended, Listen, Process};
use highwater_log::{Log, LogSettings};
use highwater_runtime::config::{self, Config};
use highwater_tables::postgres::Connections;

use crate::{Error, Projections, pool, settings::ProjectorSettings};

/// Projects until a signal, then drains. `flags` (`section.key`, value) win over the file and the
/// environment.
pub async fn run(
    file: Option<&Path>,
    flags: Vec<(String, String)>,
    projections: &Projections,
) -> Result<(), Ended<Error>> {
    let process = Process::open(file, flags, listen).await?;
    let ctx = process.ctx.clone();
    let (log, pool) = open(&ctx.config).map_err(Ended::Served)?;
    let starting = crate::start(&ctx, log.clone(), pool, projections);
    process.serve_and_close(starting, async |within| log.close(within).await).await
}

fn open(config: &Config) -> Result<(Arc<dyn Log>, Connections), Error> {
    let settings: ProjectorSettings = config.section("projector")?;
    let log = config.section::<LogSettings>("log")?.open_kafka("highwater-projectors")?;
    Ok((log, pool::pool(&settings.database).map_err(Error::Url)?))
}

fn listen(config: &Config) -> Result<Listen, Box<config::Error>> {
    let ProjectorSettings { listen, insecure, .. } = config.section("projector")?;
    Ok(Listen { address: listen, insecure })
}
