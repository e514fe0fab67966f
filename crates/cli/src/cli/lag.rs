//! `lag`.

use std::{
    io::{self, Write},
    num::NonZeroU64,
    time::Duration,
};

use highwater_runtime::{clock::SystemClock, shutdown::Shutdown};
use sqlx::PgConnection;

use super::{
    End, Error,
    database::{self, Database},
    source::{OpenLog, Source},
};
use crate::{
    application::Application,
    lag::{self, Projected, report::Report},
};

/// Show how far every projection is behind the end of the log, and who owns each partition.
///
/// For every category, partition and projection: the end of the log, the checkpoint, the records
/// between them (control records counted), and the age of the oldest event or outcome among those.
/// `snapshots` is what owners load from. For every partition: epoch and writer as the furthest
/// checkpoint has folded them, and what the last announcement in the owners topic says. It looks
/// once and changes nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 beyond --max-records or not the log that was projected, 2 \
                  wrong usage, 3 the log or the database cannot be reached"
)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    database: Database,
    /// Print it as JSON; with --watch one object a line
    #[arg(long)]
    json: bool,
    /// End with exit code 1 if one projection is more records than this behind on one partition
    #[arg(long, value_name = "RECORDS")]
    max_records: Option<u64>,
    /// Look again every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", conflicts_with = "max_records")]
    watch: Option<NonZeroU64>,
}

pub(super) async fn run(args: Args, application: &Application) -> Result<End, Error> {
    let log = args.source.open().await?;
    let tables = args.database.find(&args.source, &log).await?;
    let shown = match tables.url() {
        Ok(url) => args.show(&log, &url, application).await,
        Err(why) => {
            Err(Error::Usage(format!("the lag cannot be told without the checkpoints: {why}")))
        }
    };
    tables.stop().await?;
    shown
}

impl Args {
    async fn show(
        &self,
        log: &OpenLog,
        url: &str,
        application: &Application,
    ) -> Result<End, Error> {
        let mut database = database::connect(url, application).await?;
        let projected = Projected::of(&application.projections);
        let Some(every) = self.watch else {
            let report = self.read(log, &projected, &mut database).await?;
            self.print(&report)?;
            return Ok(self.judge(&report));
        };
        let shutdown = Shutdown::on_signals()?;
        loop {
            self.print(&self.read(log, &projected, &mut database).await?)?;
            tokio::select! {
                () = shutdown.soft.cancelled() => return Ok(End::Done),
                () = tokio::time::sleep(Duration::from_secs(every.get())) => {}
            }
        }
    }

    async fn read(
        &self,
        log: &OpenLog,
        projected: &Projected,
        database: &mut PgConnection,
    ) -> Result<Report, Error> {
        let prefix = match &log.prefix {
            Some(prefix) => prefix.clone(),
            None => lag::prefix(&*log.log).await?,
        };
        Ok(lag::read(&*log.log, &prefix, projected, database, &SystemClock).await?)
    }

    fn print(&self, report: &Report) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        match (self.json, self.watch) {
            (true, None) => {
                serde_json::to_writer_pretty(&mut out, report).map_err(io::Error::from)?
            }
            (true, Some(_)) => serde_json::to_writer(&mut out, report).map_err(io::Error::from)?,
            (false, _) => write!(out, "{report}")?,
        }
        writeln!(out)?;
        Ok(out.flush()?)
    }

    fn judge(&self, report: &Report) -> End {
        let most = self.max_records.unwrap_or(u64::MAX);
        let beyond: Vec<_> = report.beyond(most).collect();
        beyond.iter().for_each(|lag| eprintln!("highwater: {lag}"));
        if beyond.is_empty() { End::Done } else { End::Difference }
    }
}

impl From<lag::Error> for Error {
    fn from(error: lag::Error) -> Self {
        match error {
            lag::Error::Log(error) => Self::Log(error),
            lag::Error::Database(error) => Self::Database(error),
            lag::Error::Empty | lag::Error::Prefix(_) => Self::Usage(error.to_string()),
            lag::Error::OtherDatabase { .. } => Self::OtherDatabase(error),
        }
    }
}
