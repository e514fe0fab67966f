//! `up`.

use std::{net::SocketAddr, path::PathBuf};

use super::{End, Error};
use crate::{
    application::Application,
    up::{self, Options},
};

/// Run everything in this process: log, database, command API, projectors, query API.
///
/// Where neither flags nor settings name a Kafka or a database nothing else need run: the log is a
/// file store in the data folder, fsynced before every answer, and the database is a private
/// Postgres, started from the installed binaries. Ready when /readyz answers
/// 200. SIGTERM and Ctrl-C finish what is open, then stop everything; a second one gives up what
/// is open.
///
/// Settings come from highwater.toml (or --config), then from the environment as
/// HIGHWATER__SECTION__KEY, then from these flags.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage, 3 log or database \
                  unreachable"
)]
pub(super) struct Args {
    /// Where log, database and keys are kept
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Where HTTP is served [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Keep the log on this Kafka, as host:port,host:port [default: `log.kafka`, if it is set; else
    /// a local log]
    #[arg(long, value_name = "BOOTSTRAP")]
    kafka: Option<String>,
    /// Use this database, as postgres://user:password@host:port/name [default: those of the
    /// settings, if they name all three; else a private one]
    #[arg(long, value_name = "URL", env = "HIGHWATER_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Accept a Kafka that promises less than production needs (a single broker), and say what can
    /// be lost
    #[arg(long)]
    development: bool,
    /// Listen beyond loopback although every caller is anonymous: something in front protects it
    #[arg(long)]
    insecure: bool,
    /// Settings [default: highwater.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) async fn run(args: Args, application: &Application) -> Result<End, Error> {
    let Args { data, listen, kafka, database_url, development, insecure, config } = args;
    let options = Options { data, listen, kafka, database_url, development, insecure, config };
    up::run(options, application).await.map_err(Box::new)?;
    Ok(End::Done)
}
