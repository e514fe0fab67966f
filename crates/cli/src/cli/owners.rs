//! `owners`.

use std::io::{self, Write};

use super::{End, Error, source::Source};
use crate::{lag, owners};

/// Show who owns each partition, since when and why, and who did before.
///
/// It reads what owners say in the owners topic: for every partition the last announcement, and
/// with --history the last terms, newest first. A term without an end lasts, or its process ended
/// without a word. These are announcements: which writer's records count is decided by the fences
/// in the log, and the live state of an instance is at GET /admin/owners of that instance. It
/// changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the log cannot be reached")]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Show so many terms of each partition; at most 32 are kept
    #[arg(long, value_name = "N", default_value_t = 1)]
    history: usize,
}

pub(super) async fn run(args: Args) -> Result<End, Error> {
    let log = args.source.open().await?;
    let prefix = match &log.prefix {
        Some(prefix) => prefix.clone(),
        None => lag::prefix(&*log.log).await?,
    };
    let report = owners::read(&*log.log, &prefix, args.history).await?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    out.flush()?;
    Ok(End::Done)
}
