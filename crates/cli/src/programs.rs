//! The programs of an application: the `main` of each, and what a test runs of them.

use std::process::ExitCode;

use highwater_audit::report::Report;
use highwater_log::RawReader;
use highwater_runtime::{process, telemetry};

use crate::{application::Application, cli};

impl Application {
    /// What `audit` finds in this log and in the database at `url`. `scratch` names an empty
    /// database: projections with statements of their own and without an account are replayed into
    /// it.
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
