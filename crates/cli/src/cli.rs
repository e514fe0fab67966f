//! The command line: one file a subcommand. Data goes to stdout, everything else to stderr. Decides
//! nothing that a library could.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed, `audit` found a difference, or `lag` more than it may be |
//! | 2 | wrong usage |
//! | 3 | the log, the database or the server cannot be reached |

pub(crate) mod audit;
mod database;
mod lag;
mod migrate;
mod owners;
mod parked;
mod replay;
mod settings;
mod source;
mod up;

use std::{io, process::ExitCode};

use clap::{ArgMatches, FromArgMatches, Subcommand};
use highwater_runtime::{
    process::{self, Exit, Exits},
    telemetry,
};

use highwater_tables::migrations;

use crate::{
    application::{Application, Failure},
    folder, postgres,
};

const FAILED: u8 = Exit::Failed as u8;
const USAGE: u8 = Exit::Usage as u8;
const UNREACHABLE: u8 = Exit::Unreachable as u8;

const ABOUT: &str = "Commands in, a log of events, tables out";
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed or a difference found, 2 wrong usage, 3 \
                          log, database or server unreachable";

#[derive(Debug, Subcommand)]
enum Command {
    Up(Box<up::Args>),
    Audit(audit::Args),
    Replay(replay::Args),
    Lag(lag::Args),
    Owners(owners::Args),
    Migrate(migrate::Args),
    Parked(parked::Args),
}

/// How a subcommand ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    /// `audit` found something, or `lag` too much.
    Difference,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error(transparent)]
    Gap(highwater_log::replay::Error),
    #[error(
        "the data of the event before {position} is no JSON, so nothing behind it is shown; --from \
         {position} goes on there"
    )]
    Data { position: String, source: serde_json::Error },
    #[error("{}", highwater_tables::postgres::what_failed(.0))]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Migrations(#[from] migrations::Error),
    #[error(
        "this database has projected something already: only a new one can take the place of \
         another"
    )]
    NotEmpty,
    #[error(transparent)]
    Replay(highwater_projection::replay::Error),
    #[error(transparent)]
    Parked(highwater_projection::parked::Error),
    #[error(transparent)]
    OtherDatabase(crate::lag::Error),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(transparent)]
    Folder(#[from] folder::Error),
    #[error(transparent)]
    Up(#[from] Box<crate::up::Error>),
    #[error("{}", process::chain(&**.0))]
    Own(Failure),
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

/// What the command line says; usage is answered, and ends the process, here.
pub(crate) fn parse(application: &Application) -> ArgMatches {
    let command = clap::Command::new(application.name)
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .about(ABOUT)
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true);
    let own = application.subcommands.iter().map(|own| own.command());
    Command::augment_subcommands(command).subcommands(own).get_matches()
}

/// Runs the subcommand. What went wrong is on stderr when this returns.
pub(crate) async fn run(arguments: &ArgMatches, application: &Application) -> ExitCode {
    match ended(arguments, application).await {
        Ok(End::Done) => {
            telemetry::last_words(None);
            ExitCode::SUCCESS
        }
        Ok(End::Difference) => ExitCode::from(FAILED),
        // The reader of our output has enough of it (`| head`).
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::last_words(Some(&format!("highwater: {}", process::chain(&error))));
            ExitCode::from(error.exit_code())
        }
    }
}

async fn ended(arguments: &ArgMatches, application: &Application) -> Result<End, Error> {
    if let Some((name, arguments)) = arguments.subcommand()
        && let Some(own) =
            application.subcommands.iter().find(|own| own.command().get_name() == name)
    {
        return own.run(arguments).await.map(|()| End::Done).map_err(Error::Own);
    }
    match Command::from_arg_matches(arguments).map_err(|error| Error::Usage(error.to_string()))? {
        Command::Up(args) => up::run(*args, application).await,
        Command::Audit(args) => audit::run(args, application).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Lag(args) => lag::run(args, application).await,
        Command::Owners(args) => owners::run(args).await,
        Command::Migrate(args) => migrate::run(args, application).await,
        Command::Parked(args) => parked::run(args, application).await,
    }
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Log(highwater_log::Error::Unreachable(_)) => UNREACHABLE,
            Self::Database(error) if !highwater_tables::postgres::is_refused(error) => UNREACHABLE,
            Self::Migrations(error) if error.is_unreachable() => UNREACHABLE,
            Self::Postgres(_) => UNREACHABLE,
            Self::Log(highwater_log::Error::Setting(_)) => USAGE,
            Self::Up(error) => error.exit() as u8,
            Self::Own(error) => error.exit() as u8,
            _ => FAILED,
        }
    }
}
