//! Answers queries from the tables that the projectors write. Reads, and nothing else: its database
//! role can do no more.
//!
//! | module | what it owns |
//! |---|---|
//! | [`Views`] | what an application shows |
//! | [`resource`] | one resource: conditional, at a position, cacheable |
//! | [`cache`] | single resources in memory, until a projector changes them |
//! | [`circuit`] | whether the database answers, so that no request waits while it is away |
//! | [`freshness`] | the position asked for, and what an answer says of its age |
//! | [`list`] | many of them: filters, sorts, pages by signed cursor |
//! | [`operations`] | what a command came to, by its id |
//! | [`positions`] | waiting for a position, without asking the database for every caller |
//! | [`principal`] | which principal asks, and what only it may see |
//! | [`database`] | connections in a role that can only read, and the check of the tables' version |
//! | [`rows`] | detail and list of a table of rows, without SQL of one's own |
//! | [`settings`], [`process`] | what is configured; the process of its own |

mod application;
pub mod cache;
pub mod circuit;
pub mod database;
pub mod freshness;
pub mod list;
pub mod operations;
pub mod positions;
pub mod principal;
pub mod process;
pub mod resource;
pub mod rows;
pub mod settings;

#[cfg(test)]
#[path = "../../../tests/support/documented.rs"]
mod documented;

use std::{sync::Arc, time::Duration};

use axum::Router;
use highwater_http::{
    cursor::CursorKey,
    headers::{MinPosition, Prefer},
    problem::Problem,
    server::{Admission, Bulkhead, HttpSettings},
};
use highwater_runtime::{
    clock::Ids,
    context::Context,
    health::Requirement,
    identity::DeploymentKeys,
    process::{Exit, Exits},
    resilience,
    start::StartSettings,
};
use highwater_tables::{migrations, postgres::Connections};
use tokio::time::Instant;
use tracing::{error, warn};

pub use application::Views;
use cache::Cache;
use circuit::CircuitBreaker;
use operations::Awaited;
use positions::{Full, Positions};
use principal::Viewers;
use settings::{IdentitySettings, LogSettings, QuerySettings};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(Box<highwater_runtime::config::Error>),
    #[error("query.database.url is not usable: {0}")]
    Url(sqlx::Error),
    #[error(transparent)]
    Tables(#[from] migrations::Error),
}

impl From<highwater_runtime::config::Error> for Error {
    fn from(error: highwater_runtime::config::Error) -> Self {
        Self::Config(Box::new(error))
    }
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Url(_) => Exit::Usage,
            Self::Tables(error) if error.is_unusable() => Exit::Usage,
            Self::Tables(error) if error.is_unreachable() => Exit::Unreachable,
            Self::Tables(_) => Exit::Failed,
        }
    }
}

/// What every handler has.
#[derive(Clone)]
pub struct App(Arc<Parts>);

struct Parts {
    pool: Connections,
    positions: Positions,
    cache: Cache,
    circuit: CircuitBreaker,
    cursors: CursorKey,
    awaited: Awaited,
    viewers: Viewers,
    /// Lists that read from the database.
    lists: Bulkhead,
    settings: QuerySettings,
    categories: Vec<&'static str>,
    /// How many partitions each category has.
    partitions: u32,
    ids: Arc<dyn Ids>,
}

/// Checks the tables and begins to watch the positions; the router has the routes of all `views`,
/// without the layers around them.
pub async fn start(
    ctx: &Context,
    pool: impl Into<Connections>,
    views: &Views,
) -> Result<Router, Error> {
    let pool = pool.into();
    let settings: QuerySettings = ctx.config.section("query")?;
    let naming: LogSettings = ctx.config.section("log")?;
    let patience = ctx.config.section::<StartSettings>("start")?.patience();
    let checked = async || database::check_tables(&pool, views.tables()).await;
    patience.until("the database", migrations::Error::may_pass, checked).await?;
    pool.open().await;
    let positions = Positions::watch(&pool, &settings.positions(), &ctx.shutdown);
    let circuit = CircuitBreaker::watch(&pool, settings.circuit(), &ctx.shutdown);
    let checked = (pool.clone(), circuit.clone());
    let check = move || -> futures_util::future::BoxFuture<'static, Result<(), String>> {
        let (pool, circuit) = checked.clone();
        Box::pin(async move { circuit.check(&pool).await })
    };
    ctx.health.register("query.database", Requirement::Ready, Arc::new(check));
    let tables = pool.clone();
    ctx.health.register(
        "query.connections",
        Requirement::Degraded,
        Arc::new(move || Box::pin(std::future::ready(tables.complete()))),
    );
    let cache = Cache::new(&settings.cache, views.kept());
    cache.listen(&pool, &circuit, &ctx.shutdown);
    let keys = deployment_keys(ctx.config.section("identity")?);
    let cursors = cursor_key(&settings, &keys, &*ctx.ids);
    let awaited = Awaited::watch(&pool, &positions, &ctx.shutdown);
    let viewers = Viewers::new(keys.as_ref().ok());
    let (partitions, ids) = (naming.partitions.get(), ctx.ids.clone());
    let http: HttpSettings = ctx.config.section("http")?;
    let lists = Bulkhead::new("lists", settings.lists(http.peer_share_percent), ids.clone());
    let app = App(Arc::new(Parts {
        pool,
        positions,
        cache,
        circuit,
        cursors,
        awaited,
        viewers,
        lists,
        settings,
        categories: views.categories().to_vec(),
        partitions,
        ids,
    }));
    Ok(views.routes().merge(operations::routes()).with_state(app))
}

/// If this process may read them.
fn deployment_keys(identity: IdentitySettings) -> Result<DeploymentKeys, String> {
    let path = identity.keys.ok_or_else(|| "identity.keys is not set".to_owned())?;
    DeploymentKeys::load(&path).map_err(|error| error.to_string())
}

/// From the setting; else from the deployment keys; else one that ends with this process.
fn cursor_key(
    settings: &QuerySettings,
    keys: &Result<DeploymentKeys, String>,
    ids: &dyn Ids,
) -> CursorKey {
    if let Some(secret) = &settings.cursor_secret {
        return CursorKey::from_secret(secret);
    }
    match keys {
        Ok(keys) => CursorKey::from_deployment(keys),
        Err(why) => {
            warn!(
                why,
                "cursors of lists end with this process and hold for no other: set \
                 query.cursor_secret"
            );
            CursorKey::random(ids)
        }
    }
}

/// How long a request waits, and for what rather than for nothing.
struct Wait<'a> {
    admission: &'a Admission,
    prefer: Prefer,
    deadline: Instant,
}

impl App {
    /// Waits until `projection` has reached all of `wanted`, or until `deadline`, without the
    /// permit of the request. Says whether it has. A caller that would take an older answer does
    /// without where no more requests may wait.
    async fn reached(
        &self,
        wait: Wait<'_>,
        projection: &str,
        wanted: &MinPosition,
    ) -> Result<bool, Problem> {
        let Wait { admission, prefer, deadline } = wait;
        match admission
            .while_waiting(self.0.positions.wait(projection, &wanted.0, deadline))
            .await?
        {
            Ok(reached) => Ok(reached),
            Err(Full) if prefer.stale => Ok(false),
            Err(full) => Err(self.crowded(full)),
        }
    }

    fn crowded(&self, _: Full) -> Problem {
        let detail = "too many queries wait for their position; try again after the given time";
        Problem::unavailable("positions.busy", detail, self.retry_after())
    }

    fn retry_after(&self) -> Duration {
        resilience::retry_after(Duration::from_millis(self.0.settings.retry_after_ms), &*self.0.ids)
    }

    /// The database is away or busy: 503. Anything else is ours: 500.
    fn database_problem(&self, cause: &circuit::Error) -> Problem {
        match cause {
            // Said once, when it was found out.
            circuit::Error::Open => {}
            circuit::Error::Failed(cause) => warn!(error = %cause, "the database did not answer"),
            circuit::Error::Query(cause) => {
                error!(error = %cause, "a query failed");
                return Problem::internal();
            }
        }
        let detail = "the database cannot be reached now; try again after the given time";
        Problem::unavailable("database.unavailable", detail, self.retry_after())
    }
}
