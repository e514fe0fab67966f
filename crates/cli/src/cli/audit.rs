//! `audit`.

use std::io::{self, Write};

use highwater_audit::{projected::Projected, report::Report};
use highwater_log::RawReader;

use super::{
    End, Error,
    database::{self, Database},
    source::Source,
};
use crate::application::Application;

/// Check the log's promises and every row of the tables, by rules of its own.
///
/// Reads every partition of every topic of events up to where it ends now, folds it by rules of its
/// own and checks: versions of an aggregate are 1, 2, 3 ...; each command id is there once; commits
/// are whole; times never run backwards; offsets have no gap; records lie on the partition of their
/// key; every queued command that its owners have passed has its outcome; and every row of every
/// table is what the log makes below the checkpoint of its projection, no row is missing, none is
/// there that should not be.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 clean, 1 a difference was found, 2 wrong usage, 3 the log or the \
                  database cannot be reached"
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    database: Database,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, application: &Application) -> Result<End, Error> {
    let log = args.source.open().await?;
    let tables = args.database.find(&args.source, &log).await?;
    let report = match tables.url() {
        Ok(url) => with_tables(&*log.log, &url, application).await,
        Err(why) => highwater_audit::run(&*log.log)
            .await
            .map_err(Error::from)
            .map(|report| Report { tables_not_audited: Some(why.to_owned()), ..report }),
    };
    tables.stop().await?;
    let report = report?;
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

async fn with_tables(
    log: &dyn RawReader,
    url: &str,
    application: &Application,
) -> Result<Report, Error> {
    let mut connection = database::connect(url, application).await?;
    let accounts = (application.audited)();
    let own = application.projections.own().iter().map(|projection| projection.name());
    let not_compared =
        own.filter(|name| accounts.iter().all(|account| account.projection() != *name)).collect();
    let database = Projected::begin(&mut connection, accounts).await?;
    let report = highwater_audit::run_with_tables(log, database).await?;
    Ok(Report { not_compared, ..report })
}

impl From<highwater_audit::Error> for Error {
    fn from(error: highwater_audit::Error) -> Self {
        match error {
            highwater_audit::Error::Log(error) => Self::Log(error),
            highwater_audit::Error::Database(error) => Self::Database(error),
        }
    }
}
