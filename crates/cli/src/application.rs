//! An application as its programs need it.

use clap::ArgMatches;
use futures_util::future::LocalBoxFuture;
use highwater_audit::projected::rows::Table;
use highwater_command::Categories;
use highwater_projection::Projections;
use highwater_query::Views;
use highwater_runtime::process::Exits;

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
