//! `highwater`: writes a new application, and adds to one.
//!
//! | module | what it owns |
//! |---|---|
//! | `names` | a name in the forms in which code, tables and routes have it |
//! | `project` | the files of a new application |
//! | `add` | what an aggregate, a command, an event, a projection or a view needs |
//! | `plan` | changes of files: shown, or made, all or none |

mod add;
mod names;
mod plan;
mod project;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    names::Name,
    plan::{Error, Plan},
};

/// Wrong usage.
const USAGE: u8 = 2;

/// Writes a new Highwater application, and adds to one.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage; nothing is left half done")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(New),
    #[command(subcommand)]
    Add(Add),
}

/// Write a new application into a folder of its name
#[derive(Debug, Args)]
struct New {
    /// Lower-case words joined by hyphens
    name: Name,
    /// A checkout of Highwater to depend on, instead of the published version
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Only say what would be written
    #[arg(long)]
    dry_run: bool,
}

/// Add to the application in this folder
#[derive(Debug, Subcommand)]
enum Add {
    /// A category: its commands, events, rules, row, and the table of the row
    Aggregate {
        /// The category, in the singular: `voucher`
        name: Name,
        /// As in routes, in the plural [default: the name and an s]
        #[arg(long, value_name = "NAME")]
        collection: Option<Name>,
        #[command(flatten)]
        into: Into,
    },
    /// A command without a body, which decides nothing yet
    Command {
        /// The category and the command: `voucher.redeem`
        name: String,
        #[command(flatten)]
        into: Into,
    },
    /// An event without data, which changes nothing yet
    Event {
        /// The category and what happened: `voucher.redeemed`
        name: String,
        #[command(flatten)]
        into: Into,
    },
    /// Another table, with one row an aggregate
    Projection {
        /// The table, in the plural: `voucher-holders`
        name: Name,
        /// The category whose events it is folded from
        #[arg(long, value_name = "CATEGORY")]
        of: Name,
        #[command(flatten)]
        into: Into,
    },
    /// A list of its own over a table of rows
    View {
        /// As in routes: `archived-vouchers`
        name: Name,
        /// The category whose row it shows
        #[arg(long, value_name = "CATEGORY")]
        of: Name,
        #[command(flatten)]
        into: Into,
    },
}

#[derive(Debug, Args)]
struct Into {
    /// The folder of the application
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Only say what would be changed
    #[arg(long)]
    dry_run: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(said) => match io::stdout().lock().write_all(said.as_bytes()) {
            // The reader of our output has enough of it (`| head`).
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(&error, 1),
            _ => ExitCode::SUCCESS,
        },
        Err(error) => failed(&error, if error.is_usage() { USAGE } else { 1 }),
    }
}

fn failed(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("highwater: {error}");
    ExitCode::from(code)
}

/// What is said of what was done.
fn run(cli: &Cli) -> Result<String, Error> {
    match &cli.command {
        Command::New(New { name, path, dry_run }) => {
            let plan = project::new(name, path.as_deref())?;
            let next = format!(
                "\nnext:\n  cd {name}\n  highwater add aggregate voucher\n  bin/test\n  bin/up\n"
            );
            finished(plan, *dry_run, &next)
        }
        Command::Add(add) => {
            let into = add.into();
            let app = add::Application::in_folder(&into.folder)?;
            let plan = match add {
                Add::Aggregate { name, collection, .. } => {
                    add::aggregate(&app, name, collection.as_ref())
                }
                Add::Command { name, .. } => add::command(&app, name),
                Add::Event { name, .. } => add::event(&app, name),
                Add::Projection { name, of, .. } => add::projection(&app, name, of),
                Add::View { name, of, .. } => add::view(&app, name, of),
            };
            finished(plan?, into.dry_run, "\nnext: bin/test\n")
        }
    }
}

impl Add {
    fn into(&self) -> &Into {
        match self {
            Self::Aggregate { into, .. }
            | Self::Command { into, .. }
            | Self::Event { into, .. }
            | Self::Projection { into, .. }
            | Self::View { into, .. } => into,
        }
    }
}

fn finished(plan: Plan, dry_run: bool, next: &str) -> Result<String, Error> {
    let said = plan.shown();
    if dry_run {
        return Ok(said);
    }
    plan.carry_out()?;
    Ok(said + next)
}
