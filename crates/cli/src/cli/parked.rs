//! `parked`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use chrono::{DateTime, SecondsFormat, Utc};
use highwater_projection::{
    parked::{self as parking, Retried},
    pool,
    settings::DatabaseSettings,
};
use highwater_tables::{
    parked::{self, Aggregate, Filter},
    postgres::Connections,
};
use serde::Serialize;

use uuid::Uuid;

use super::{
    End, Error,
    database::{self, Database},
    source::{OpenLog, Source},
};
use crate::{application::Application, lag};

const FINGERPRINT_CHARACTERS: usize = 12;

/// Show and mend what projections could not apply.
///
/// A projection that cannot apply an event parks its aggregate: what follows of it waits, in its
/// sequence, and all others go on. `list` shows what failed alike as one group. After a mend
/// `retry` applies what waits with the code of this program, which must be that of the projectors.
/// `discard` gives an aggregate up: what waits of it is forgotten, and so is what follows.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 something is parked again, 2 wrong usage, 3 the log or the \
                  database cannot be reached"
)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show what failed alike, as groups
    List {
        #[command(flatten)]
        tables: Tables,
        /// Only of this projection
        #[arg(long)]
        projection: Option<String>,
    },
    /// Show each aggregate of a group, or one aggregate
    Show {
        #[command(flatten)]
        tables: Tables,
        /// The fingerprint of a group, or the id of an aggregate
        #[arg(value_parser = Selection::parse)]
        what: Selection,
    },
    /// Apply what waits, in its sequence, with the code of this program
    Retry(Change),
    /// Give aggregates up
    Discard(Change),
}

/// Where the tables are, and how what is found is shown.
#[derive(Debug, clap::Args)]
struct Tables {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    database: Database,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Change {
    #[command(flatten)]
    tables: Tables,
    /// The fingerprint of a group, or the id of an aggregate
    #[arg(value_parser = Selection::parse, required_unless_present = "all", conflicts_with = "all")]
    what: Option<Selection>,
    /// Only of this projection
    #[arg(long)]
    projection: Option<String>,
    /// Everything that is parked
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Debug)]
enum Selection {
    Group(String),
    Aggregate(Uuid),
}

impl Selection {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(id) = Uuid::try_parse(text) {
            return Ok(Self::Aggregate(id));
        }
        let is_fingerprint = text.len() == FINGERPRINT_CHARACTERS
            && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        is_fingerprint.then(|| Self::Group(text.to_owned())).ok_or_else(|| {
            format!(
                "is neither the fingerprint of a group ({FINGERPRINT_CHARACTERS} hexadecimal \
                 digits, see `parked list`) nor the id of an aggregate (a UUID)"
            )
        })
    }
}

fn filter(what: Option<&Selection>, projection: Option<&String>) -> Filter {
    let projection = projection.cloned();
    match what {
        None => Filter { projection, ..Filter::default() },
        Some(Selection::Group(group)) => {
            Filter { projection, fingerprint: Some(group.clone()), ..Filter::default() }
        }
        Some(Selection::Aggregate(id)) => {
            Filter { projection, aggregate: Some(*id), ..Filter::default() }
        }
    }
}

pub(super) async fn run(args: Args, application: &Application) -> Result<End, Error> {
    let (tables, filter) = match &args.action {
        Action::List { tables, projection } => (tables, filter(None, projection.as_ref())),
        Action::Show { tables, what } => (tables, filter(Some(what), None)),
        Action::Retry(change) | Action::Discard(change) => {
            (&change.tables, filter(change.what.as_ref(), change.projection.as_ref()))
        }
    };
    let log = tables.source.open().await?;
    let found = tables.database.find(&tables.source, &log).await?;
    let ended = match found.url() {
        Ok(url) => act(&args.action, tables, &filter, &log, &url, application).await,
        Err(why) => Err(Error::Usage(format!("what is parked is in the database: {why}"))),
    };
    found.stop().await?;
    ended
}

async fn act(
    action: &Action,
    tables: &Tables,
    filter: &Filter,
    log: &OpenLog,
    url: &str,
    application: &Application,
) -> Result<End, Error> {
    let mut connection = database::connect(url, application).await?;
    let found = parked::list(&mut connection, filter).await?;
    if found.is_empty() && !matches!(action, Action::List { .. }) && *filter != Filter::default() {
        return Err(Error::Usage("nothing like that is parked: see `parked list`".to_owned()));
    }
    match action {
        Action::List { .. } => shown(tables.json, &Groups::of(&found)).map(|()| End::Done),
        Action::Show { .. } => {
            let all = found.iter().map(Shown::of).collect();
            shown(tables.json, &Aggregates { aggregates: all }).map(|()| End::Done)
        }
        Action::Retry(_) => retry(tables.json, &found, log, &writing(url)?, application).await,
        Action::Discard(_) => discard(tables.json, &found, &writing(url)?).await,
    }
}

/// Connections as projectors have them.
fn writing(url: &str) -> Result<Connections, Error> {
    let settings =
        DatabaseSettings { url: url.to_owned(), connections: 1, ..DatabaseSettings::default() };
    Ok(pool::pool(&settings)?)
}

async fn retry(
    json: bool,
    found: &[Aggregate],
    log: &OpenLog,
    pool: &Connections,
    application: &Application,
) -> Result<End, Error> {
    let prefix = match &log.prefix {
        Some(prefix) => prefix.clone(),
        None => lag::prefix(&*log.log).await?,
    };
    let projections = application.projections.all();
    let mut report = Changes::default();
    for aggregate in found.iter().filter(|aggregate| aggregate.discarded_at.is_none()) {
        let Some(projection) =
            projections.iter().find(|projection| projection.name() == aggregate.projection)
        else {
            return Err(Error::Usage(format!(
                "this program has no projection `{}`: run the program that has",
                aggregate.projection
            )));
        };
        let topic = format!("{prefix}.{}.events", aggregate.category);
        let retried = parking::retry(&*log.log, &topic, &**projection, pool, aggregate).await?;
        report.add(aggregate, &retried);
    }
    shown(json, &report)?;
    Ok(if report.parked_again.is_empty() { End::Done } else { End::Difference })
}

async fn discard(json: bool, found: &[Aggregate], pool: &Connections) -> Result<End, Error> {
    let mut report = Changes::default();
    for aggregate in found {
        parking::discard(pool, aggregate).await?;
        report.discarded += 1;
    }
    shown(json, &report)?;
    Ok(End::Done)
}

fn shown<T: Serialize + std::fmt::Display>(json: bool, what: &T) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, what).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{what}")?;
    }
    Ok(out.flush()?)
}

/// What failed alike.
#[derive(Debug, Serialize)]
struct Group {
    fingerprint: String,
    projection: String,
    schema: String,
    error: String,
    aggregates: usize,
    commits: i64,
    discarded: usize,
    /// When the first of them was parked.
    since: String,
}

#[derive(Debug, Serialize)]
struct Groups {
    groups: Vec<Group>,
}

impl Groups {
    /// The largest first.
    fn of(found: &[Aggregate]) -> Self {
        let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
        for aggregate in found {
            let group = groups.entry(&aggregate.fingerprint).or_insert_with(|| Group {
                fingerprint: aggregate.fingerprint.clone(),
                projection: aggregate.projection.clone(),
                schema: aggregate.schema.clone(),
                error: aggregate.error.clone(),
                aggregates: 0,
                commits: 0,
                discarded: 0,
                since: time(aggregate.parked_at),
            });
            group.aggregates += 1;
            group.commits += aggregate.commits;
            group.discarded += usize::from(aggregate.discarded_at.is_some());
            group.since = group.since.clone().min(time(aggregate.parked_at));
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by(|a, b| {
            b.aggregates.cmp(&a.aggregates).then_with(|| a.fingerprint.cmp(&b.fingerprint))
        });
        Self { groups }
    }
}

impl std::fmt::Display for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.groups.is_empty() {
            return writeln!(f, "nothing is parked");
        }
        writeln!(
            f,
            "{:12} {:>10} {:>9} {:>9} {:27} {:20} error",
            "fingerprint", "aggregates", "commits", "discarded", "since", "projection"
        )?;
        for group in &self.groups {
            writeln!(
                f,
                "{:12} {:>10} {:>9} {:>9} {:27} {:20} {}: {}",
                group.fingerprint,
                group.aggregates,
                group.commits,
                group.discarded,
                group.since,
                group.projection,
                group.schema,
                group.error
            )?;
        }
        Ok(())
    }
}

/// One aggregate as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    projection: String,
    category: String,
    partition: i32,
    aggregate: Uuid,
    fingerprint: String,
    /// Of the event that fails, and the version that it makes.
    schema: String,
    version: i64,
    /// Where its commit begins: from there on nothing of the aggregate is applied.
    from_offset: i64,
    error: String,
    attempts: i32,
    commits: i64,
    parked_at: String,
    tried_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    discarded_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct Aggregates {
    aggregates: Vec<Shown>,
}

impl Shown {
    fn of(aggregate: &Aggregate) -> Self {
        Self {
            projection: aggregate.projection.clone(),
            category: aggregate.category.clone(),
            partition: aggregate.partition,
            aggregate: aggregate.id,
            fingerprint: aggregate.fingerprint.clone(),
            schema: aggregate.schema.clone(),
            version: aggregate.version,
            from_offset: aggregate.from_offset,
            error: aggregate.error.clone(),
            attempts: aggregate.attempts,
            commits: aggregate.commits,
            parked_at: time(aggregate.parked_at),
            tried_at: time(aggregate.tried_at),
            discarded_at: aggregate.discarded_at.map(time),
        }
    }
}

impl std::fmt::Display for Aggregates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for one in &self.aggregates {
            writeln!(
                f,
                "{} of {} on {}/{}",
                one.aggregate, one.projection, one.category, one.partition
            )?;
            writeln!(
                f,
                "  fails at  {} (version {}, offset {}): {}",
                one.schema, one.version, one.from_offset, one.error
            )?;
            writeln!(f, "  group     {}", one.fingerprint)?;
            writeln!(
                f,
                "  parked    {}, tried {} times, last {}",
                one.parked_at, one.attempts, one.tried_at
            )?;
            match &one.discarded_at {
                Some(when) => writeln!(f, "  discarded {when}")?,
                None => writeln!(f, "  waits     {} commits", one.commits)?,
            }
        }
        Ok(())
    }
}

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Changes {
    /// Aggregates that nothing waits of any more, and their commits.
    applied: usize,
    commits: usize,
    discarded: usize,
    parked_again: Vec<Again>,
}

#[derive(Debug, Serialize)]
struct Again {
    projection: String,
    aggregate: Uuid,
    error: String,
}

impl Changes {
    fn add(&mut self, aggregate: &Aggregate, retried: &Retried) {
        match retried {
            Retried::Applied(commits) => {
                self.applied += 1;
                self.commits += commits;
            }
            Retried::ParkedAgain(commits, error) => {
                self.commits += commits;
                self.parked_again.push(Again {
                    projection: aggregate.projection.clone(),
                    aggregate: aggregate.id,
                    error: error.clone(),
                });
            }
            Retried::NothingWaits => {}
        }
    }
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.discarded > 0 {
            return writeln!(f, "{} aggregates are given up", self.discarded);
        }
        writeln!(
            f,
            "{} aggregates are projected again, {} commits applied",
            self.applied, self.commits
        )?;
        for again in &self.parked_again {
            writeln!(
                f,
                "parked again: {} of {}: {}",
                again.aggregate, again.projection, again.error
            )?;
        }
        Ok(())
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl From<parking::Error> for Error {
    fn from(error: parking::Error) -> Self {
        match error {
            parking::Error::Log(error) => Self::Log(error),
            parking::Error::Database(error) => Self::Database(error),
            other => Self::Parked(other),
        }
    }
}
