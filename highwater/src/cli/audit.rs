//! `highwater audit`.

use std::io::{self, Write};

use super::{End, Error, source::Source};
use crate::audit;

/// Check the log's promises with a reader of its own, and count what is in it.
///
/// Reads every partition of every topic of events up to where it ends now, folds it by rules of its own and checks: versions of an
/// aggregate are 1, 2, 3 ...; each command id is there once; commits are whole; times never run backwards; offsets have no gap;
/// records lie on the partition of their key.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 clean, 1 a difference was found, 2 wrong usage, 3 the log cannot be reached")]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<End, Error> {
    let log = args.source.open().await?;
    let report = audit::run(&*log).await?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    out.flush()?;
    Ok(if report.is_clean() { End::Done } else { End::Difference })
}
