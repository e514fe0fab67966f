//! [`App`]: an application, registered once, as its programs run it.

mod bridge;
mod replayed;
mod schemas;

use std::{collections::BTreeSet, process::ExitCode, sync::Arc};

use highwater_audit::projected::rows::Table;
use highwater_cli::{Accounts, Application, FirstCommand, Subcommand};
use highwater_command::{Categories, Commanded};
use highwater_projection::{
    Projections,
    builtin::aggregates::{self, Aggregates},
    runner::{PostgresTx, Projection},
};
use highwater_query::{
    Views,
    list::List,
    resource::View,
    rows::{Detail, RowList},
};
use highwater_runtime::process::{Exit, Exits, failed};
use highwater_tables::{migrations, rows};
use sqlx::{SqlStr, migrate::MigrationType};

pub(crate) use self::replayed::row_of;
use self::{
    bridge::FoldedRows,
    replayed::{ReplayedRows, states},
    schemas::Schemas,
};
use crate::{Aggregate, Category, Event, Fold, Migration, Rules, command::Target, contracts};

/// An application. What is registered here is all that its programs know: routes, owners,
/// snapshots, operations, topics and shares of the budgets follow from it.
pub struct App {
    name: &'static str,
    categories: Vec<Category>,
    commands: Categories,
    aggregates: Vec<Box<dyn Aggregates>>,
    projections: Vec<Arc<dyn Projection<PostgresTx>>>,
    /// Each by its path, made when all collections are known.
    views: Vec<ViewRoute>,
    /// The tables that rows describe.
    rows: Vec<rows::Table>,
    migrations: &'static [Migration],
    /// Of its own, which come before those by replay.
    audited: fn() -> Vec<Box<dyn Table>>,
    replayed: Vec<fn() -> Box<dyn Table>>,
    first_command: Option<FirstCommand>,
    subcommands: Vec<Box<dyn Subcommand>>,
}

/// A view, and where.
struct ViewRoute {
    path: Path,
    add: fn(Views, &str) -> Views,
}

enum Path {
    Of(String),
    /// The collection of this category, and what follows it.
    Within(&'static str, &'static str),
}

/// What is registered does not go together.
#[derive(Debug, thiserror::Error)]
#[error("the application cannot run: {}", wrong.join("; "))]
pub struct Misbuilt {
    wrong: Vec<String>,
}

impl Exits for Misbuilt {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
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
            views: Vec::new(),
            rows: Vec::new(),
            migrations: &[],
            audited: Vec::new,
            replayed: Vec::new(),
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
        self.replayed.push(|| Box::new(states::<A>()));
        self
    }

    /// Projects `R` into its table, and shows it: `GET /v1/{collection}/{id}`, and
    /// `GET /v1/{collection}` by its filters and sorts.
    #[must_use]
    pub fn rows<R: Fold>(self) -> Self {
        let app = self.folded::<R>(rows::Table::listed::<R>());
        app.shown(Path::Within(category::<R>(), ""), |views, path| {
            views.list::<RowList<FoldedRows<R>>>(path)
        })
    }

    /// Projects `R` into its table, and shows single ones: `GET /v1/{collection}/{id}`. For a list
    /// of one's own, see [`App::list`].
    #[must_use]
    pub fn row<R: Fold>(self) -> Self {
        self.folded::<R>(rows::Table::of::<R>())
    }

    /// Projects `R` into its table, and shows nothing of it.
    #[must_use]
    pub fn project<R: Fold>(mut self) -> Self {
        self.rows.push(rows::Table::of::<R>());
        self.replayed.push(|| Box::new(ReplayedRows::<R>::new()));
        self.projection(highwater_projection::table::Table::<FoldedRows<R>>::new())
    }

    fn folded<R: Fold>(mut self, table: rows::Table) -> Self {
        self.rows.push(table);
        self.replayed.push(|| Box::new(ReplayedRows::<R>::new()));
        let app = self.projection(highwater_projection::table::Table::<FoldedRows<R>>::new());
        app.shown(Path::Within(category::<R>(), "/{id}"), |views, path| {
            views.resource::<Detail<FoldedRows<R>>>(path)
        })
    }

    /// Adds a projection with statements of its own.
    #[must_use]
    pub fn projection(mut self, projection: impl Projection<PostgresTx> + 'static) -> Self {
        self.projections.push(Arc::new(projection));
        self
    }

    /// Shows single resources at `path`, which ends with `{id}`.
    #[must_use]
    pub fn resource<V: View>(self, path: &str) -> Self {
        self.shown(Path::Of(path.to_owned()), |views, path| views.resource::<V>(path))
    }

    /// Shows a list at `path`.
    #[must_use]
    pub fn list<L: List>(self, path: &str) -> Self {
        self.shown(Path::Of(path.to_owned()), |views, path| views.list::<L>(path))
    }

    fn shown(mut self, path: Path, add: fn(Views, &str) -> Views) -> Self {
        self.views.push(ViewRoute { path, add });
        self
    }

    /// The tables of its projections: `highwater::migrations!()`.
    #[must_use]
    pub fn migrations(mut self, migrations: &'static [Migration]) -> Self {
        self.migrations = migrations;
        self
    }

    /// A second account of its tables, which `audit` compares with them. For rows and states
    /// without one it folds the events once more by the application's own folds, and says
    /// `replayed`.
    #[must_use]
    pub fn audited(mut self, tables: fn() -> Vec<Box<dyn Table>>) -> Self {
        self.audited = tables;
        self
    }

    /// A first command as a line for a shell, made from the URL: `up` shows it when it is ready.
    /// Without one, it is made from the first command that creates an aggregate.
    #[must_use]
    pub fn first_command(mut self, command: fn(&str) -> String) -> Self {
        self.first_command = Some(Box::new(command));
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

    /// What its migrations make, and what its rows say of that.
    pub fn tables(&self) -> migrations::Application {
        migrations::Application {
            name: self.name,
            migrations: self.migrations.iter().map(as_sqlx_has_it).collect(),
            rows: self.rows.clone(),
        }
    }

    /// What the programs are made of, for those who embed them.
    pub fn build(self) -> Result<Application, Misbuilt> {
        let mut wrong = Vec::new();
        if self.name == migrations::SYSTEM {
            wrong.push(format!("`{}` is the name of the library's own tables", self.name));
        }
        let categories = self.categories.iter();
        twice("category", categories.clone().map(|category| category.name), &mut wrong);
        twice("collection", categories.clone().map(|category| category.collection), &mut wrong);
        twice("projection", self.projections.iter().map(|each| each.name()), &mut wrong);
        let mut paths = Vec::new();
        let mut views = Views::default();
        for ViewRoute { path, add } in &self.views {
            let path = match path {
                Path::Of(path) => path.clone(),
                Path::Within(name, rest) => {
                    let found = categories.clone().find(|category| category.name == *name);
                    let Some(category) = found else {
                        wrong.push(format!("the aggregate of category `{name}` is missing"));
                        continue;
                    };
                    format!("/v1/{}{rest}", category.collection)
                }
            };
            if paths.contains(&path) {
                wrong.push(format!("two views are shown at {path}"));
                continue;
            }
            views = add(views, &path);
            paths.push(path);
        }
        if !wrong.is_empty() {
            return Err(Misbuilt { wrong });
        }
        let tables = self.tables();
        let names = self.categories.iter().map(|category| category.name).collect();
        let first_command = self.first_command.or_else(|| first_command(&self.categories));
        let mut subcommands: Vec<Box<dyn Subcommand>> = vec![Box::new(Schemas(self.categories))];
        subcommands.extend(self.subcommands);
        Ok(Application {
            name: self.name,
            categories: self.commands,
            projections: Projections::new(self.aggregates, self.projections, tables.clone()),
            views: views.of(names, tables),
            audited: accounts(self.audited, self.replayed),
            first_command,
            subcommands,
        })
    }

    fn run(self, main: impl FnOnce(Application) -> ExitCode) -> ExitCode {
        let name = self.name;
        match self.build() {
            Ok(application) => main(application),
            Err(error) => failed(name, &error),
        }
    }

    /// The `main` of the program for people: `up`, `migrate`, `audit` and the rest.
    pub fn main(self) -> ExitCode {
        self.run(Application::main)
    }

    /// The `main` of the command API as a process of its own.
    pub fn command_api(self) -> ExitCode {
        self.run(Application::command_api)
    }

    /// The `main` of the projectors as a process of their own.
    pub fn projectors(self) -> ExitCode {
        self.run(Application::projectors)
    }

    /// The `main` of the query API as a process of its own.
    pub fn query_api(self) -> ExitCode {
        self.run(Application::query_api)
    }
}

/// Those of its own, and by replay where there are none.
fn accounts(own: fn() -> Vec<Box<dyn Table>>, replayed: Vec<fn() -> Box<dyn Table>>) -> Accounts {
    Box::new(move || {
        let mut all = own();
        for account in replayed.iter().map(|account| account()) {
            let same = |other: &dyn Table| {
                (other.name(), other.category()) == (account.name(), account.category())
            };
            if !all.iter().any(|other| same(&**other)) {
                all.push(account);
            }
        }
        all
    })
}

/// Creates the first aggregate that can be created.
fn first_command(categories: &[Category]) -> Option<FirstCommand> {
    let (collection, body) = categories.iter().find_map(|category| {
        let contracts = category.command_contracts();
        let creates = |name| {
            let kind = category.commands.iter().find(|kind| kind.name == name);
            kind.is_some_and(|kind| kind.target == Target::Creates)
        };
        // `application/json` is the oldest version.
        let contract = contracts.iter().find(|contract| creates(contract.name))?;
        let mut body = contracts::example(&contract.schema);
        body.as_object_mut()?.remove("id");
        Some((category.collection, body))
    })?;
    Some(Box::new(move |url| {
        format!(
            "curl -i {url}/v1/{collection} -H 'Content-Type: application/json' \
             -H 'Idempotency-Key: first' -d '{body}'"
        )
    }))
}

fn as_sqlx_has_it(migration: &Migration) -> sqlx::migrate::Migration {
    sqlx::migrate::Migration::new(
        migration.number.into(),
        migration.name.replace('_', " ").into(),
        MigrationType::Simple,
        SqlStr::from_static(migration.sql),
        false,
    )
}

fn category<R: Fold>() -> &'static str {
    <R::Of as Aggregate>::Event::CATEGORY
}

fn twice<'a>(what: &str, names: impl Iterator<Item = &'a str>, wrong: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    let again = names.filter(|name| !seen.insert(*name));
    wrong.extend(again.map(|name| format!("{what} `{name}` is registered twice")));
}
