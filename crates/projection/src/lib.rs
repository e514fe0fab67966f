//! Projects the log into tables: the only writer of the database.
//!
//! | module | what it owns |
//! |---|---|
//! | [`Projections`] | what an application projects |
//! | [`runner`] | drives projections along the log; knows none of them |
//! | [`rows`] | rows that are the fold of one aggregate's events |
//! | [`table`] | the same without SQL: the statements follow from the row's columns |
//! | [`builtin`] | projections that every application has |
//! | [`parked`] | what an operator does about aggregates that are parked |
//! | [`rebuild`] | the tables of a projection anew, beside the live ones, and the switch |
//! | [`replay`] | a projection once more into another database, and its tables compared |
//! | [`settings`], [`pool`], [`process`] | what is configured; the connections; the process of its own |

mod application;
pub mod builtin;
#[cfg(test)]
#[path = "../../../tests/support/documented.rs"]
mod documented;
#[cfg(test)]
#[path = "../../../tests/support/lines.rs"]
mod lines;
pub mod parked;
pub mod pool;
pub mod process;
pub mod rebuild;
pub mod replay;
pub mod rows;
pub mod runner;
pub mod settings;
pub mod table;

use std::{sync::Arc, time::Duration};

use axum::Router;
use futures_util::future::ready;
use highwater_log::{Group, Log, LogSettings, Pace, check_values};
use highwater_runtime::{
    context::Context,
    health::Requirement,
    process::{Exit, Exits},
    start::StartSettings,
};
use highwater_tables::{identity, migrations, postgres::Connections};
use sqlx::Connection;
use tracing::info;
use uuid::Uuid;

pub use application::Projections;
use runner::{Assignment, Limits, PostgresStore, Progress, Runner, Topics};
use settings::ProjectorSettings;

/// So many projections are named in one answer.
const SHOWN: usize = 10;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(Box<highwater_runtime::config::Error>),
    #[error("projector.database.url is not usable: {0}")]
    Url(sqlx::Error),
    #[error(transparent)]
    Schema(#[from] migrations::Error),
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error(
        "the log belongs to another database (the owners topic says {theirs}, here it is {ours}): \
         name the database of the deployment; \
         if that one is lost, an empty one takes its place with the application's \
         `migrate --replace {theirs}`"
    )]
    OtherDatabase { theirs: String, ours: Uuid },
}

impl From<highwater_runtime::config::Error> for Error {
    fn from(error: highwater_runtime::config::Error) -> Self {
        Self::Config(Box::new(error))
    }
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Url(_) | Self::Log(highwater_log::Error::Setting(_)) => {
                Exit::Usage
            }
            Self::Schema(error) if error.is_unusable() => Exit::Usage,
            Self::Schema(error) if error.is_unreachable() => Exit::Unreachable,
            error if error.may_pass() => Exit::Unreachable,
            Self::Log(_) | Self::Schema(_) | Self::OtherDatabase { .. } => Exit::Failed,
        }
    }
}

impl Error {
    /// Whether the same start may succeed later although nothing is changed.
    fn may_pass(&self) -> bool {
        match self {
            Self::Log(error) => error.may_pass(),
            Self::Schema(error) => error.may_pass(),
            Self::Config(_) | Self::Url(_) | Self::OtherDatabase { .. } => false,
        }
    }
}

/// Joins the group and projects what the application says until `ctx.shutdown`; returns when that
/// has begun. The router is
/// for operators of this process.
pub async fn start(
    ctx: &Context,
    log: Arc<dyn Log>,
    pool: impl Into<Connections>,
    projections: &Projections,
) -> Result<Router, Error> {
    let pool = pool.into();
    let settings: ProjectorSettings = ctx.config.section("projector")?;
    let naming: LogSettings = ctx.config.section("log")?;
    let patience = ctx.config.section::<StartSettings>("start")?.patience();
    let tables = async || {
        let mut connection = migrations::open(&pool, Some(projections.tables())).await?;
        let found = identity::database_identity(&mut connection).await;
        let identity = found.map_err(migrations::Error::from)?;
        connection.close().await.map_err(migrations::Error::from)?;
        Ok(identity)
    };
    let identity = patience.until("the database", Error::may_pass, tables).await?;
    pool.open().await;
    let topics = Topics::of(&naming.prefix, projections.categories());
    let wanted = topics
        .wanted(naming.partitions.get())
        .into_iter()
        .chain([check_values::topic(&naming.prefix)]);
    let wanted: Vec<_> = wanted.collect();
    let prepared = async || {
        log.prepare(wanted.clone()).await?;
        log.warm(topics.topics(), Pace::Prompt).await?;
        check_database(&*log, &naming.prefix, identity).await
    };
    patience.until("the log", Error::may_pass, prepared).await?;

    // Two databases never share a group.
    let group = format!("{}.projectors.{identity}", naming.prefix);
    let membership = log.join(Group {
        id: group.clone(),
        topics: topics.topics(),
        client: "highwater-projectors".to_owned(),
    })?;
    let assignment = Assignment::new(membership, topics.clone());
    // No other runner can project a log that is in this process.
    let handoff = if naming.is_local() { Duration::ZERO } else { settings.limits().handoff };
    let limits = Limits { handoff, ..settings.limits() };
    let runner = Runner::new(
        PostgresStore::new(pool.clone()),
        log.clone(),
        projections.all(),
        assignment,
        limits,
        ctx.ids.v4(),
    );
    let progress = runner.progress();
    let lag = runner::lag::watch(
        log,
        topics,
        progress.clone(),
        ctx.clock.clone(),
        settings.lag_interval(),
        ctx.shutdown.soft.clone(),
    );
    ctx.shutdown.tasks.spawn(lag);
    let hard = ctx.shutdown.hard.clone();
    let soft = ctx.shutdown.soft.clone();
    ctx.shutdown.tasks.spawn(async move {
        tokio::select! {
            () = runner.run(soft) => {}
            () = hard.cancelled() => {}
        }
    });
    let tables = pool.clone();
    ctx.health.register(
        "projectors.connections",
        Requirement::Degraded,
        Arc::new(move || Box::pin(ready(tables.complete()))),
    );
    ctx.health.register(
        "projectors.database",
        Requirement::Ready,
        Arc::new(move || Box::pin(reachable(pool.clone()))),
    );
    let (halted, parked, failing, after) = (
        progress.clone(),
        progress.clone(),
        progress,
        Duration::from_millis(settings.degraded_after_ms),
    );
    ctx.health.register(
        "projectors.halted",
        Requirement::Degraded,
        Arc::new(move || Box::pin(ready(none_halted(&halted)))),
    );
    ctx.health.register(
        "projectors.parked",
        Requirement::Degraded,
        Arc::new(move || Box::pin(ready(none_parked(&parked)))),
    );
    ctx.health.register(
        "projectors.failing",
        Requirement::Degraded,
        Arc::new(move || Box::pin(ready(none_fails(&failing, after)))),
    );
    info!(group, "projecting");
    Ok(Router::new())
}

/// Refuses a database that the owners of this log do not load from. Before there is an owner, any
/// will do.
async fn check_database(log: &dyn Log, prefix: &str, ours: Uuid) -> Result<(), Error> {
    match check_values::find(log, &check_values::partition(prefix), check_values::DATABASE).await? {
        Some(theirs) if theirs != ours.to_string() => Err(Error::OtherDatabase { theirs, ours }),
        Some(_) | None => Ok(()),
    }
}

async fn reachable(tables: Connections) -> Result<(), String> {
    let asked = async { sqlx::query("SELECT 1").execute(&mut *tables.acquire().await?).await };
    match asked.await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::PoolTimedOut) => Err(tables.why().await.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn none_halted(progress: &Progress) -> Result<(), String> {
    let halted = progress.all_halted();
    name(halted.iter().map(|(key, offset)| {
        format!("{} on {} before offset {offset}", key.projection, key.topic_partition)
    }))
}

fn none_parked(progress: &Progress) -> Result<(), String> {
    let parked = progress.all_parked();
    name(
        parked.iter().map(|(key, count)| {
            format!("{count} of {} on {}", key.projection, key.topic_partition)
        }),
    )
}

/// Tried again and again, but for longer than any restart of a database takes.
fn none_fails(progress: &Progress, after: Duration) -> Result<(), String> {
    let failing = progress.failing(after);
    name(
        failing
            .iter()
            .map(|(key, error)| format!("{} on {}: {error}", key.projection, key.topic_partition)),
    )
}

fn name(bad: impl ExactSizeIterator<Item = String>) -> Result<(), String> {
    let count = bad.len();
    let named: Vec<String> = bad.take(SHOWN).collect();
    match count {
        0 => Ok(()),
        more if more > SHOWN => Err(format!("{} and {} more", named.join(", "), more - SHOWN)),
        _ => Err(named.join(", ")),
    }
}
