//! An application as its programs need it, and the `main` of each of them.

use std::process::ExitCode;

use clap::ArgMatches;
use futures_util::future::LocalBoxFuture;
use highwater_audit::{projected::rows::Table, report::Report};
use highwater_command::Categories;
use highwater_log::RawReader;
use highwater_projection::Projections;
use highwater_query::Views;
use highwater_runtime::{
    process::{self, Exits},
    telemetry,
};

use crate::cli;

/// What an application brings: everything else is the same for all of them.
pub struct Application {
    /// Of its program for people, `NAME up`.
    pub name: &'static str,
    pub categories: Categories,
    pub projections: Projections,
    pub views: Views,
    /// Accounts of its tables, for `audit`.
    pub audited: Accounts,
    /// Its first command as a line for a shell, given the URL: shown when `up` is ready.
    pub first_command: Option<FirstCommand>,
    /// What its program for people can do besides.
    pub subcommands: Vec<Box<dyn Subcommand>>,
}

/// Makes accounts of tables.
pub type Accounts = Box<dyn Fn() -> Vec<Box<dyn Table>> + Send + Sync>;

/// A line for a shell, made from the URL.
pub type FirstCommand = Box<dyn Fn(&str) -> String + Send + Sync>;

/// A subcommand of an application's own.
pub trait Subcommand: Send + Sync {
    /// Its name and arguments.
    fn command(&self) -> clap::Command;

    /// Runs it. The error is shown on stderr, and says the exit code.
    fn run<'a>(&'a self, arguments: &'a ArgMatches) -> LocalBoxFuture<'a, Result<(), Failure>>;
}

/// Why a subcommand of an application's own failed.
pub type Failure = Box<dyn Exits + Send + Sync>;

impl Application {
    /// What `audit` finds in this log and in the database at `url`. `scratch` names an empty database:
    /// projections with statements of their own and without an account are replayed into it.
    pub async fn audit(
        &self,
        log: &dyn RawReader,
        url: &str,
        scratch: Option<&str>,
    ) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
        Ok(cli::audit::with_tables(log, url, scratch, self).await?)
    }

    /// The `main` of the program for people: `up`, `migrate`, `audit` and the rest.
    pub fn main(self) -> ExitCode {
        process::block_on(async {
            let arguments = cli::parse(&self);
            telemetry::log_panics();
            cli::run(&arguments, &self).await
        })
    }

    /// The `main` of the command API as a process of its own.
    pub fn command_api(self) -> ExitCode {
        process::block_on(process::main("command-api", "http.insecure", async |file, flags| {
            highwater_command::process::run(file, flags, &self.categories).await
        }))
    }

    /// The `main` of the projectors as a process of their own.
    pub fn projectors(self) -> ExitCode {
        process::block_on(process::main("projectors", "projector.insecure", async |file, flags| {
            highwater_projection::process::run(file, flags, &self.projections).await
        }))
    }

    /// The `main` of the query API as a process of its own.
    pub fn query_api(self) -> ExitCode {
        process::block_on(process::main("query-api", "query.insecure", async |file, flags| {
            highwater_query::process::run(file, flags, &self.views).await
        }))
    }
}
