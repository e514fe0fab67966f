//! `store demo`.

use std::io::{self, Write};

use clap::{ArgMatches, Args as _, FromArgMatches};
use futures_util::future::LocalBoxFuture;
use highwater::cli::{Failure, Subcommand};
use highwater::runtime::process::{Exit, Exits};

use super::{Args, Error, run};

/// Fills the store with real shopping baskets.
pub struct Demo;

impl Subcommand for Demo {
    fn command(&self) -> clap::Command {
        Args::augment_args(clap::Command::new("demo"))
    }

    fn run<'a>(&'a self, arguments: &'a ArgMatches) -> LocalBoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let args =
                Args::from_arg_matches(arguments).map_err(|error| failed(BadArguments(error)))?;
            let summary = run(args).await.map_err(failed)?;
            match write!(io::stdout().lock(), "{summary}") {
                // The reader of our output has enough of it (`| head`).
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                written => written.map_err(|error| failed(WriteFailed(error))),
            }
        })
    }
}

fn failed(error: impl Exits + Send + Sync + 'static) -> Failure {
    Box::new(error)
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct BadArguments(clap::Error);

#[derive(Debug, thiserror::Error)]
#[error("cannot write the output")]
struct WriteFailed(#[source] io::Error);

impl Exits for BadArguments {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Exits for WriteFailed {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            error if error.is_unreachable() => Exit::Unreachable,
            error if error.is_usage() => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}
