//! The query API as a process of its own: database, drain.

use std::path::Path;

use highwater_http::process::{Ended, Listen, Process};
use highwater_runtime::config::{self, Config};
use highwater_tables::postgres::Connections;

use crate::{Error, Views, database, settings::QuerySettings};

/// Shows `views` until a signal, then drains. `flags` (`section.key`, value) win over the file and
/// the environment.
pub async fn run(
    file: Option<&Path>,
    flags: Vec<(String, String)>,
    views: &Views,
) -> Result<(), Ended<Error>> {
    let process = Process::open(file, flags, listen).await?;
    let ctx = process.ctx.clone();
    let pool = open(&ctx.config).map_err(Ended::Served)?;
    process.serve(crate::start(&ctx, pool, views)).await
}

fn open(config: &Config) -> Result<Connections, Error> {
    let settings: QuerySettings = config.section("query")?;
    database::pool(&settings.database).map_err(Error::Url)
}

fn listen(config: &Config) -> Result<Listen, Box<config::Error>> {
    let QuerySettings { listen, insecure, .. } = config.section("query")?;
    Ok(Listen { address: listen, insecure })
}
