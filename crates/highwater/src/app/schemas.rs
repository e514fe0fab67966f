//! `schemas write|check`: the files of `schemas/`, which the types of an application are the source
//! of.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Command, value_parser};
use futures_util::future::{LocalBoxFuture, ready};
use highwater_cli::{Failure, Subcommand};
use highwater_runtime::process::{Exit, Exits};

use crate::{Category, contracts};

/// The subcommand, for these categories.
pub struct Schemas(pub Vec<Category>);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{count} differences between the types and {}{}", folder.display(), outcome(*wrote))]
    Differs { count: usize, folder: PathBuf, wrote: Option<bool> },
    #[error(transparent)]
    Files(#[from] contracts::Error),
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

impl Subcommand for Schemas {
    fn command(&self) -> Command {
        let folder = || {
            Arg::new("folder")
                .long("folder")
                .value_name("DIR")
                .help("Where the files lie")
                .default_value("schemas")
                .value_parser(value_parser!(PathBuf))
        };
        let write = "Write the schemas and states that are new; what was published stays";
        let check = "Compare types, samples and published files; exit code 1 if they differ";
        Command::new("schemas")
            .about("The JSON Schemas of events and commands")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(Command::new("write").about(write).arg(folder()))
            .subcommand(Command::new("check").about(check).arg(folder()))
    }

    fn run<'a>(&'a self, arguments: &'a ArgMatches) -> LocalBoxFuture<'a, Result<(), Failure>> {
        let (writes, arguments) = match arguments.subcommand() {
            Some((name, arguments)) => (name == "write", arguments),
            None => (false, arguments),
        };
        let folder = arguments.get_one::<PathBuf>("folder").map_or(Path::new("schemas"), |it| it);
        Box::pin(ready(self.run_in(folder, writes).map_err(|error| Box::new(error) as Failure)))
    }
}

impl Schemas {
    fn run_in(&self, folder: &Path, writes: bool) -> Result<(), Error> {
        let (mut said, differences, wrote) = if writes {
            let written = contracts::write(folder, &self.0)?;
            let files = written.files.iter().map(|file| format!("{file}: written"));
            (files.collect(), written.differences, Some(!written.files.is_empty()))
        } else {
            (Vec::new(), contracts::check(folder, &self.0)?, None)
        };
        said.extend(differences.iter().map(ToString::to_string));
        let lines: String = said.iter().map(|line| format!("{line}\n")).collect();
        match io::stdout().lock().write_all(lines.as_bytes()) {
            // The reader of our output has enough of it (`| head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
        match differences.len() {
            0 => Ok(()),
            count => Err(Error::Differs { count, folder: folder.to_owned(), wrote }),
        }
    }
}

/// Of `schemas write` that found differences.
fn outcome(wrote: Option<bool>) -> &'static str {
    match wrote {
        Some(false) => "; nothing was written",
        Some(true) | None => "",
    }
}
