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
mod rebuild;
mod replay;
mod settings;
mod source;
mod up;

use std::{io, process::ExitCode};

use clap::{ArgMatches, FromArgMatches, Subcommand};
use highwater_projection::{
    parked as parking, rebuild as rebuilding, replay as replaying, runner::Failure,
};
use highwater_runtime::{
    process::{self, Exit, Exits},
    telemetry,
};
use highwater_tables::{
    ReadError, generations, migrations,
    postgres::{is_refused, is_unusable, what_failed},
};

use crate::{
    application::{self, Application},
    folder, postgres,
};

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
    Rebuild(rebuild::Args),
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
    #[error("{}", what_failed(.0))]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Migrations(#[from] migrations::Error),
    #[error(
        "this database has projected something already: only a new one can take the place of \
         another"
    )]
    NotEmpty,
    #[error(transparent)]
    Replay(replaying::Error),
    #[error(transparent)]
    Parked(parking::Error),
    #[error(transparent)]
    Rebuild(rebuilding::Error),
    #[error(transparent)]
    OtherDatabase(crate::lag::Error),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(transparent)]
    Folder(#[from] folder::Error),
    #[error(transparent)]
    Up(#[from] Box<crate::up::Error>),
    #[error("{}", process::chain(&**.0))]
    Own(application::Failure),
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
        Ok(End::Difference) => Exit::Failed.into(),
        // The reader of our output has enough of it (`| head`).
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::last_words(Some(&format!("highwater: {}", process::chain(&error))));
            error.exit().into()
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
        Command::Rebuild(args) => rebuild::run(args, application).await,
    }
}

impl Error {
    /// Of what is away alone is said that it cannot be reached.
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Log(error) => of_log(error),
            Self::Database(error) => of_database(error),
            Self::Migrations(error) => error.of_database().map_or(Exit::Failed, of_database),
            Self::Replay(replaying::Error::Refused { why, .. })
            | Self::Parked(parking::Error::Failed(why)) => of_projection(why),
            Self::Rebuild(error) => of_rebuild(error),
            Self::Postgres(error) => error.exit(),
            Self::Up(error) => error.exit(),
            Self::Own(error) => error.exit(),
            Self::Gap(_)
            | Self::Data { .. }
            | Self::NotEmpty
            | Self::Replay(_)
            | Self::Parked(_)
            | Self::OtherDatabase(_)
            | Self::Folder(_)
            | Self::Output(_) => Exit::Failed,
        }
    }
}

/// What an error of the log means to the caller.
pub(crate) fn of_log(error: &highwater_log::Error) -> Exit {
    match error {
        highwater_log::Error::Setting(_) => Exit::Usage,
        error if error.may_pass() => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

/// What an error of the database means to the caller.
pub(crate) fn of_database(error: &sqlx::Error) -> Exit {
    match error {
        error if is_unusable(error) => Exit::Usage,
        error if is_refused(error) => Exit::Failed,
        _ => Exit::Unreachable,
    }
}

/// What it means that a projection could not apply something.
fn of_projection(failure: &Failure) -> Exit {
    match failure {
        Failure::Unreachable(_) | Failure::Log(_) => Exit::Unreachable,
        Failure::Conflict
        | Failure::ReadOnly(_)
        | Failure::Transient(_)
        | Failure::Deterministic(_)
        | Failure::Newer(_) => Exit::Failed,
    }
}

/// What an error of a rebuild means to the caller.
fn of_rebuild(error: &rebuilding::Error) -> Exit {
    match error {
        rebuilding::Error::Log(error) => of_log(error),
        rebuilding::Error::Database(error)
        | rebuilding::Error::Checkpoints(ReadError::Database(error))
        | rebuilding::Error::Generations(generations::Error::Database(error)) => of_database(error),
        rebuilding::Error::NotApplied { why, .. } => of_projection(why),
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_away_is_said_to_be_unreachable() {
        let away = || sqlx::Error::Io(io::Error::from(io::ErrorKind::ConnectionRefused));
        let lacks = || sqlx::Error::ColumnNotFound("brand".to_owned());
        let failed = |why| Error::Parked(parking::Error::Failed(why));
        for (error, exit) in [
            (Error::Database(away()), Exit::Unreachable),
            (Error::Database(lacks()), Exit::Failed),
            (Error::Database(sqlx::Error::Configuration("no url".into())), Exit::Usage),
            (Error::Migrations(migrations::Error::Database(away())), Exit::Unreachable),
            (Error::Migrations(migrations::Error::Migrate(away().into())), Exit::Unreachable),
            (Error::Migrations(migrations::Error::Migrate(lacks().into())), Exit::Failed),
            (Error::Migrations(migrations::Error::Empty), Exit::Failed),
            (Error::Postgres(postgres::Error::NotInstalled), Exit::Failed),
            (failed(Failure::Unreachable(String::new())), Exit::Unreachable),
            (Error::Rebuild(rebuilding::Error::Database(away())), Exit::Unreachable),
            (Error::Rebuild(rebuilding::Error::Database(lacks())), Exit::Failed),
            (Error::Rebuild(rebuilding::Error::Unsettled), Exit::Failed),
            (failed(Failure::Deterministic(String::new())), Exit::Failed),
            (Error::Log(highwater_log::Error::Unreachable(String::new())), Exit::Unreachable),
            (Error::Log(highwater_log::Error::Promise(String::new())), Exit::Failed),
        ] {
            assert_eq!(error.exit(), exit, "{error}");
        }
    }
}
