//! What an aggregate, a command, an event, a projection or a view needs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    names::Name,
    plan::{Error, Plan},
};

/// A migration has a number of at most nine digits.
const LAST: u32 = 999_999_998;
const REGISTERED: &str = "src/lib.rs";

/// The folder of an application; no other `add` changes it until this is dropped.
pub struct Application {
    folder: PathBuf,
    _lock: fs::File,
}

impl Application {
    pub fn in_folder(folder: &Path) -> Result<Self, Error> {
        for file in ["Cargo.toml", REGISTERED] {
            if !folder.join(file).is_file() {
                return Err(Error::NoApplication { folder: folder.to_owned(), file });
            }
        }
        let manifest = folder.join("Cargo.toml");
        let lock = fs::File::open(&manifest).map_err(Error::io(&manifest))?;
        lock.lock().map_err(Error::io(&manifest))?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    fn path(&self, file: &str) -> PathBuf {
        // `./src` reads as `src`.
        if self.folder == Path::new(".") { file.into() } else { self.folder.join(file) }
    }

    /// The file of a category.
    fn category(&self, name: &Name) -> Result<PathBuf, Error> {
        let path = self.path(&format!("src/{}.rs", name.snake()));
        if path.is_file() {
            return Ok(path);
        }
        Err(Error::NoAggregate(path))
    }

    /// The next migration, by number.
    fn migration(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.path("migrations");
        let mut last = 0;
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let file = entry.map_err(Error::io(&folder))?.file_name();
            let number = file.to_str().and_then(|file| file.split_once('_')?.0.parse::<u32>().ok());
            last = last.max(number.unwrap_or(0).min(LAST));
        }
        Ok(folder.join(format!("{:04}_{name}.sql", last + 1)))
    }

    /// Refuses a table that a migration makes already; `by` is the flag that names another one.
    fn check_table(&self, table: &str, by: Option<&'static str>) -> Result<(), Error> {
        refuse_system(table)?;
        let folder = self.path("migrations");
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let path = entry.map_err(Error::io(&folder))?.path();
            if path.extension().is_none_or(|extension| extension != "sql") {
                continue;
            }
            let sql = fs::read_to_string(&path).map_err(Error::io(&path))?.to_lowercase();
            let words = sql.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            let makes = |words: &[&str]| match words {
                ["create", "table", "if", "not", "exists", made, ..]
                | ["create", "table", made, ..] => *made == table,
                _ => false,
            };
            if (0..words.len()).any(|at| makes(&words[at..])) {
                return Err(Error::TableTaken { path, table: table.to_owned(), by });
            }
        }
        Ok(())
    }

    /// Refuses a collection or a list of the same route.
    fn check_route(&self, route: &Name, by: Option<&'static str>) -> Result<(), Error> {
        let path = self.path(REGISTERED);
        let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
        if ["", "/v1/"].iter().any(|before| text.contains(&format!("(\"{before}{route}\")"))) {
            return Err(Error::RouteTaken { path, route: route.to_string(), by });
        }
        Ok(())
    }

    fn register(&self, plan: &mut Plan, module: &Name, lines: &str) -> Result<(), Error> {
        let path = self.path(REGISTERED);
        let module = format!("pub mod {};", module.snake());
        refuse_twice(&path, &module)?;
        plan.add(&path, "modules", &module)?;
        plan.add(&path, "registrations", lines)
    }
}

/// Refuses a file with a line that begins with `what`, as a whole word.
fn refuse_twice(path: &Path, what: &str) -> Result<(), Error> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    let goes_on = |letter: char| letter.is_alphanumeric() || letter == '_';
    let is_it = |line: &str| {
        let rest = line.trim().strip_prefix(what);
        rest.is_some_and(|rest| !rest.starts_with(goes_on))
    };
    if text.lines().any(is_it) {
        return Err(Error::Twice { path: path.to_owned(), what: what.to_owned() });
    }
    Ok(())
}

fn written(template: &str, name: &Name, more: &[(&str, &str)]) -> String {
    let article = name.article();
    let capital = if article == "a" { "A" } else { "An" };
    let mut text = template
        .replace("{{kebab}}", name.kebab())
        .replace("{{snake}}", &name.snake())
        .replace("{{Pascal}}", &name.pascal())
        .replace("{{words}}", &name.words())
        .replace("{{article}}", article)
        .replace("{{Article}}", capital);
    for (key, value) in more {
        text = text.replace(key, value);
    }
    text
}

/// `highwater add aggregate voucher`.
pub fn aggregate(app: &Application, name: &Name, collection: Option<&Name>) -> Result<Plan, Error> {
    let collection = collection.cloned().unwrap_or_else(|| name.plural());
    let table = collection.snake();
    name.check_type()?;
    let module = app.path(&format!("src/{}.rs", name.snake()));
    if !module.exists() {
        app.check_route(&collection, Some("--collection"))?;
        app.check_table(&table, Some("--collection"))?;
    }
    let more = [("{{collection}}", collection.kebab()), ("{{table}}", table.as_str())];
    let mut plan = Plan::default();
    let rules = include_str!("../templates/aggregate.rs.template");
    plan.make(module, written(rules, name, &more))?;
    let sql = include_str!("../templates/aggregate.sql");
    plan.make(app.migration(&table)?, written(sql, name, &more))?;
    let (pascal, snake) = (name.pascal(), name.snake());
    let lines = format!(
        ".aggregate::<{snake}::{pascal}>(\"{}\")\n.rows::<{snake}::{pascal}Row>()",
        collection.kebab()
    );
    app.register(&mut plan, name, &lines)?;
    Ok(plan)
}

/// Tables of the library, and words of SQL that name no table.
fn refuse_system(table: &str) -> Result<(), Error> {
    const OWN: [&str; 11] = [
        "application_migrations",
        "checkpoints",
        "database_identity",
        "operations",
        "outcomes",
        "parked_aggregates",
        "parked_commits",
        "projection_runs",
        "schema_version",
        "seen_filters",
        "snapshots",
    ];
    // Those that Postgres reserves.
    const SQL: &str = "all analyse analyze and any array as asc asymmetric authorization binary \
        both case cast check collate collation column concurrently constraint create cross \
        current_catalog current_date current_role current_schema current_time current_timestamp \
        current_user default deferrable desc distinct do else end except false fetch for foreign \
        freeze from full grant group having ilike in initially inner intersect into is isnull join \
        lateral leading left like limit localtime localtimestamp natural not notnull null offset \
        on only or order outer overlaps placing primary references returning right select \
        session_user similar some symmetric system_user table tablesample then to trailing true \
        union unique user using variadic verbose when where window with";
    let of_postgres = table.starts_with("pg_") || SQL.split(' ').any(|word| word == table);
    if OWN.contains(&table) || of_postgres {
        return Err(Error::Table(table.to_owned()));
    }
    Ok(())
}

/// `voucher.redeem` as its category and its name.
fn within(name: &str) -> Result<(Name, Name), Error> {
    let (category, name) =
        name.split_once('.').ok_or_else(|| Error::NoCategory(name.to_owned()))?;
    Ok((category.parse()?, name.parse()?))
}

/// `highwater add command voucher.redeem`.
pub fn command(app: &Application, name: &str) -> Result<Plan, Error> {
    let (category, name) = within(name)?;
    let path = app.category(&category)?;
    let (pascal, of) = (name.pascal(), category.pascal());
    refuse_twice(&path, &format!("{of}Command::{pascal}"))?;
    let mut plan = Plan::default();
    let variant = format!(
        "/// Asks {} {} to {}: say what that is.\n{pascal},",
        category.article(),
        category.words(),
        name.words()
    );
    plan.add(&path, "commands", &variant)?;
    let decision =
        format!("{of}Command::{pascal} => {{\n    state.ok_or(Missing)?;\n    nothing()\n}}");
    plan.add(&path, "decisions", &decision)?;
    Ok(plan)
}

/// `highwater add event voucher.redeemed`.
pub fn event(app: &Application, name: &str) -> Result<Plan, Error> {
    let (category, name) = within(name)?;
    let path = app.category(&category)?;
    let (pascal, of) = (name.pascal(), category.pascal());
    refuse_twice(&path, &format!("#[event(\"{name}\""))?;
    let mut plan = Plan::default();
    let variant = format!(
        "/// {} {} was {}: say what that means.\n#[event(\"{name}\")]\n{pascal},",
        if category.article() == "a" { "A" } else { "An" },
        category.words(),
        name.words()
    );
    plan.add(&path, "events", &variant)?;
    let change = format!("(Some(state), {of}Event::{pascal}) => state.clone(),");
    plan.add(&path, "changes", &change)?;
    plan.add(&path, "rows", &format!("(Some(row), {of}Event::{pascal}) => row,"))?;
    Ok(plan)
}

/// `highwater add projection voucher-holders --of voucher`.
pub fn projection(app: &Application, name: &Name, of: &Name) -> Result<Plan, Error> {
    app.category(of)?;
    let table = name.snake();
    let module = app.path(&format!("src/{}.rs", name.snake()));
    if !module.exists() {
        app.check_table(&table, None)?;
    }
    let (of_snake, of_pascal) = (of.snake(), of.pascal());
    let more = [
        ("{{table}}", table.as_str()),
        ("{{of_snake}}", of_snake.as_str()),
        ("{{OfPascal}}", of_pascal.as_str()),
    ];
    let mut plan = Plan::default();
    let fold = include_str!("../templates/projection.rs.template");
    plan.make(module, written(fold, name, &more))?;
    let sql = include_str!("../templates/projection.sql");
    plan.make(app.migration(&table)?, written(sql, name, &more))?;
    let line = format!(".project::<{}::{}Row>()", name.snake(), name.pascal());
    app.register(&mut plan, name, &line)?;
    Ok(plan)
}

/// `highwater add view archived-vouchers --of voucher`.
pub fn view(app: &Application, name: &Name, of: &Name) -> Result<Plan, Error> {
    app.category(of)?;
    name.check_type()?;
    let module = app.path(&format!("src/{}.rs", name.snake()));
    if !module.exists() {
        app.check_route(name, None)?;
    }
    let (of_snake, of_pascal) = (of.snake(), of.pascal());
    let more = [
        ("{{of_snake}}", of_snake.as_str()),
        ("{{of_kebab}}", of.kebab()),
        ("{{OfPascal}}", of_pascal.as_str()),
    ];
    let mut plan = Plan::default();
    let list = include_str!("../templates/view.rs.template");
    plan.make(module, written(list, name, &more))?;
    let line = format!(".list::<{}::{}>(\"/v1/{}\")", name.snake(), name.pascal(), name.kebab());
    app.register(&mut plan, name, &line)?;
    Ok(plan)
}
