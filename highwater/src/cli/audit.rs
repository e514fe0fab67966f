//! `highwater audit`.

use std::{
    io::{self, Write},
    path::Path,
};

use eventlog::RawReader;
use sqlx::postgres::PgPoolOptions;

use super::{End, Error, source::Source};
use crate::{
    audit::{self, projected::Projected, report::Report},
    folder::{self, Folder},
    postgres::{PrivatePostgres, Settings},
    up,
};

/// Check the log's promises and every row of the tables, by rules of its own.
///
/// Reads every partition of every topic of events up to where it ends now, folds it by rules of its own and checks: versions of an
/// aggregate are 1, 2, 3 ...; each command id is there once; commits are whole; times never run backwards; offsets have no gap;
/// records lie on the partition of their key; every command of the asynchronous lane that its owners have passed has its outcome; and
/// every row of every table is what the log makes below the checkpoint of its projection, no row is missing, none is there that should
/// not be.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 clean, 1 a difference was found, 2 wrong usage, 3 the log or the database cannot be reached")]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// The database, as postgres://user:password@host:port/name; without it the private one of the data folder
    #[arg(long, value_name = "URL", env = "HIGHWATER_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Where the tables are.
enum Tables {
    At(String),
    /// Started for the audit: nobody else has the folder meanwhile.
    Started(Box<PrivatePostgres>, Folder),
    Nowhere(&'static str),
}

pub(super) async fn run(args: Args) -> Result<End, Error> {
    let log = args.source.open().await?;
    let report = match tables(&args).await? {
        Tables::At(url) => with_tables(&*log, &url).await?,
        Tables::Started(server, _folder) => {
            let report = with_tables(&*log, &server.url()).await;
            server.stop().await?;
            report?
        }
        Tables::Nowhere(why) => Report { tables_not_audited: Some(why.to_owned()), ..audit::run(&*log).await? },
    };
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

async fn tables(args: &Args) -> Result<Tables, Error> {
    match &args.database_url {
        Some(url) => Ok(Tables::At(url.clone())),
        None if args.source.kafka.is_some() => Ok(Tables::Nowhere("no database is named, see --database-url")),
        None => private(&args.source.data).await,
    }
}

/// The server of the data folder: the one that runs, or, if nobody uses the folder, one started now.
async fn private(data: &Path) -> Result<Tables, Error> {
    let server = folder::postgres_in(data);
    if !PrivatePostgres::has_data(&server) {
        return Ok(Tables::Nowhere("the data folder has no private Postgres, see --database-url"));
    }
    match Folder::open(data) {
        Ok(folder) => Ok(Tables::Started(Box::new(PrivatePostgres::start(&folder.postgres(), Settings::default()).await?), folder)),
        Err(in_use @ folder::Error::InUse { .. }) => PrivatePostgres::url_of_running(&server).map(Tables::At).ok_or(in_use.into()),
        Err(error) => Err(error.into()),
    }
}

async fn with_tables(log: &dyn RawReader, url: &str) -> Result<Report, Error> {
    up::reach(url).await?;
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
    projectors::schema_version_check(&pool).await?;
    let mut connection = pool.acquire().await?;
    let database = Projected::begin(&mut connection, audit::tables::all()).await?;
    Ok(audit::run_with_tables(log, database).await?)
}

impl From<audit::Error> for Error {
    fn from(error: audit::Error) -> Self {
        match error {
            audit::Error::Log(error) => Self::Log(error),
            audit::Error::Database(error) => Self::Database(error),
        }
    }
}
