//! `audit`.

use std::{
    io::{self, Write},
    sync::Arc,
};

use highwater_audit::{fault::RowFault, projected::Projected, report::Report};
use highwater_log::RawReader;
use highwater_projection::{
    replay,
    runner::{PostgresTx, Projection},
};
use highwater_tables::{ReadError, migrations};
use sqlx::{Connection, Executor, PgPool, postgres::PgPoolOptions};

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
    /// An empty database, as postgres://user:password@host:port/name: projections with statements
    /// of their own and without an account are replayed into it, and their tables compared with
    /// what came of that. It keeps what was written
    #[arg(long, value_name = "URL", env = "HIGHWATER_SCRATCH_URL", hide_env_values = true)]
    scratch: Option<String>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Rows of a table that are named at most, of those that are lost and of those that should not be.
const NAMED_ROWS: usize = 500;
/// Characters of such a row.
const SHOWN_OF_A_ROW: usize = 200;

pub(super) async fn run(args: Args, application: &Application) -> Result<End, Error> {
    let log = args.source.open().await?;
    let tables = args.database.find(&args.source, &log).await?;
    let report = match tables.url() {
        Ok(url) => with_tables(&*log.log, &url, args.scratch.as_deref(), application).await,
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

/// The log, and the tables in the database at `url`.
pub(crate) async fn with_tables(
    log: &dyn RawReader,
    url: &str,
    scratch: Option<&str>,
    application: &Application,
) -> Result<Report, Error> {
    let mut connection = database::connect(url, application).await?;
    // Said before the log is read from its beginning.
    let scratch = match scratch {
        Some(scratch) => Some(empty(scratch, application).await?),
        None => None,
    };
    let accounts = (application.audited)();
    let has_account = |name: &str| accounts.iter().any(|account| account.projection() == name);
    let (replayed, others): (Vec<_>, Vec<_>) = application
        .projections
        .own()
        .iter()
        .filter(|projection| !has_account(projection.name()))
        .cloned()
        .partition(|projection| scratch.is_some() && replay::is_replayable(&**projection));
    let database = Projected::begin(&mut connection, accounts).await?;
    let mut report = highwater_audit::run_with_tables(log, database).await?;
    report.not_compared = others.iter().map(|projection| projection.name()).collect();
    if let Some(scratch) = scratch {
        compare_replayed(log, url, &scratch, application, &replayed, &mut report).await?;
        scratch.close().await;
    }
    Ok(report)
}

/// The application's tables in a database that had none.
async fn empty(url: &str, application: &Application) -> Result<PgPool, Error> {
    let pool = PgPoolOptions::new().max_connections(2).connect(url).await?;
    let tables: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm') \
         AND relnamespace = current_schema()::regnamespace",
    )
    .fetch_one(&pool)
    .await?;
    if tables > 0 {
        return Err(Error::Usage(
            "--scratch: the database has tables already: name an empty one, which is filled and \
             not emptied again"
                .to_owned(),
        ));
    }
    migrations::migrate(&pool, Some(application.projections.tables())).await?;
    Ok(pool)
}

/// Checkpoints and rows are those of one moment, so that it may run beside the projectors.
async fn compare_replayed(
    log: &dyn RawReader,
    url: &str,
    scratch: &PgPool,
    application: &Application,
    projections: &[Arc<dyn Projection<PostgresTx>>],
    report: &mut Report,
) -> Result<(), Error> {
    let mut live = database::connect(url, application).await?;
    live.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let topics = log.topics().await?;
    let events: Vec<_> =
        topics.into_iter().filter(|topic| topic.name.ends_with(".events")).collect();
    let prefix = highwater_audit::prefix_of_tables(&events);
    let topic = |category: &str| format!("{prefix}.{category}.events");
    for projection in projections {
        replay::replay(log, topic, &**projection, &mut live, scratch).await?;
        for table in projection.tables() {
            let found = replay::compare(table, &mut live, scratch, NAMED_ROWS).await?;
            let unfounded = found.unfounded.into_iter().map(|row| (row, RowFault::Unfounded));
            let differ = unfounded.chain(found.lost.into_iter().map(|row| (row, RowFault::Lost)));
            let named =
                differ.map(|(row, fault)| (row.chars().take(SHOWN_OF_A_ROW).collect(), fault));
            report.replayed(table, found.rows, named.collect());
        }
    }
    Ok(live.close().await?)
}

impl From<replay::Error> for Error {
    fn from(error: replay::Error) -> Self {
        match error {
            replay::Error::Log(error) => Self::Log(error),
            replay::Error::Database(error)
            | replay::Error::Checkpoints(ReadError::Database(error)) => Self::Database(error),
            error => Self::Replay(error),
        }
    }
}

impl From<highwater_audit::Error> for Error {
    fn from(error: highwater_audit::Error) -> Self {
        match error {
            highwater_audit::Error::Log(error) => Self::Log(error),
            highwater_audit::Error::Database(error) => Self::Database(error),
        }
    }
}
