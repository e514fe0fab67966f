//! [`App`]: an application, registered once, as its programs run it.

mod bridge;

use std::{process::ExitCode, sync::Arc};

use highwater_audit::projected::rows::Table;
use highwater_cli::{Application, Subcommand};
use highwater_command::{Categories, Commanded};
use highwater_projection::{
    Projections,
    builtin::aggregates::{self, Aggregates},
    runner::{PostgresTx, Projection},
};
use highwater_query::{Views, list::List, resource::View};
use highwater_tables::migrations;
use sqlx::migrate::Migrator;

use crate::{Aggregate, Category, Rules};

static NO_MIGRATIONS: Migrator = Migrator::DEFAULT;

/// An application. What is registered here is all that its programs know: routes, owners,
/// snapshots, operations, topics and shares of the budgets follow from it.
pub struct App {
    name: &'static str,
    categories: Vec<Category>,
    commands: Categories,
    aggregates: Vec<Box<dyn Aggregates>>,
    projections: Vec<Arc<dyn Projection<PostgresTx>>>,
    views: Views,
    migrations: &'static Migrator,
    audited: fn() -> Vec<Box<dyn Table>>,
    first_command: Option<fn(&str) -> String>,
    subcommands: Vec<Box<dyn Subcommand>>,
}

impl App {
    /// `name` is that of its program for people (`NAME up`), and of its tables in
    /// `schema_version`.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            categories: Vec::new(),
            commands: Categories::new(),
            aggregates: Vec::new(),
            projections: Vec::new(),
            views: Views::default(),
            migrations: &NO_MIGRATIONS,
            audited: Vec::new,
            first_command: None,
            subcommands: Vec::new(),
        }
    }

    /// Serves the commands of `A` under `/v1/{collection}`, and keeps its states and outcomes.
    #[must_use]
    pub fn aggregate<A: Aggregate>(mut self, collection: &'static str) -> Self {
        let domain = Rules::<A>::new();
        self.categories.push(Category::of::<A>(collection));
        self.commands.push(Arc::new(Commanded { domain, collection }));
        let name = Rules::<A>::CATEGORY;
        self.aggregates.push(Box::new(aggregates::Category { name, domain }));
        self
    }

    /// Adds a projection with statements of its own.
    #[must_use]
    pub fn projection(mut self, projection: impl Projection<PostgresTx> + 'static) -> Self {
        self.projections.push(Arc::new(projection));
        self
    }

    /// Shows single resources at `path`, which ends with `{id}`.
    #[must_use]
    pub fn resource<V: View>(mut self, path: &str) -> Self {
        self.views = self.views.resource::<V>(path);
        self
    }

    /// Shows a list at `path`.
    #[must_use]
    pub fn list<L: List>(mut self, path: &str) -> Self {
        self.views = self.views.list::<L>(path);
        self
    }

    /// The tables of its projections, numbered from 1001.
    #[must_use]
    pub fn migrations(mut self, migrations: &'static Migrator) -> Self {
        self.migrations = migrations;
        self
    }

    /// A second account of its tables, which `audit` compares with them.
    #[must_use]
    pub fn audited(mut self, tables: fn() -> Vec<Box<dyn Table>>) -> Self {
        self.audited = tables;
        self
    }

    /// A first command as a line for a shell, made from the URL: `up` shows it when it is ready.
    #[must_use]
    pub fn first_command(mut self, command: fn(&str) -> String) -> Self {
        self.first_command = Some(command);
        self
    }

    /// Adds a subcommand to its program for people.
    #[must_use]
    pub fn subcommand(mut self, subcommand: impl Subcommand + 'static) -> Self {
        self.subcommands.push(Box::new(subcommand));
        self
    }

    /// Every category, in the sequence in which they were registered.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// What the programs are made of, for those who embed them.
    pub fn build(self) -> Application {
        let tables = migrations::Application { name: self.name, migrations: self.migrations };
        let names = self.categories.iter().map(|category| category.name).collect();
        Application {
            name: self.name,
            categories: self.commands,
            projections: Projections::new(self.aggregates, self.projections, tables),
            views: self.views.of(names, tables),
            audited: self.audited,
            first_command: self.first_command,
            subcommands: self.subcommands,
        }
    }

    /// The `main` of the program for people: `up`, `migrate`, `audit` and the rest.
    pub fn main(self) -> ExitCode {
        self.build().main()
    }

    /// The `main` of the command API as a process of its own.
    pub fn command_api(self) -> ExitCode {
        self.build().command_api()
    }

    /// The `main` of the projectors as a process of their own.
    pub fn projectors(self) -> ExitCode {
        self.build().projectors()
    }

    /// The `main` of the query API as a process of its own.
    pub fn query_api(self) -> ExitCode {
        self.build().query_api()
    }
}
