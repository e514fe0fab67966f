//! The servers under load, each a process of its own: ours (command-api or projectors, on any log)
//! and the two baselines.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::Router;
use highwater_http::process::{self, Ended, Listen, Process};
use highwater_log::{Log, LogSettings, Topic, TopicKind};
use highwater_runtime::context::Context;
use highwater_tables::migrations;
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::store::{
    event_store::{self, ReadModel},
    produce_only,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Server {
    CommandApi,
    Projectors,
    QueryApi,
    ProduceOnly,
    EventStore,
    EventStoreLists,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Application(#[from] highwater::app::Misbuilt),
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error(transparent)]
    Config(#[from] highwater_runtime::config::Error),
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error(transparent)]
    EventStore(#[from] event_store::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Migrations(#[from] migrations::Error),
    #[error(transparent)]
    CommandApi(#[from] highwater_command::Error),
    #[error(transparent)]
    Projectors(#[from] highwater_projection::Error),
    #[error(transparent)]
    QueryApi(#[from] highwater_query::Error),
}

/// What a server is told.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(value_enum)]
    pub server: Server,
    #[arg(long)]
    pub listen: SocketAddr,
    #[arg(long)]
    pub database_url: String,
    /// Folder of the local log, used when no Kafka is configured.
    #[arg(long)]
    pub folder: PathBuf,
    /// `section.key=value`, as in the configuration.
    #[arg(long = "set")]
    pub settings: Vec<String>,
}

/// Serves until a signal.
pub async fn run(options: Options) -> Result<(), Error> {
    let flags = options
        .settings
        .iter()
        .filter_map(|setting| setting.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let address = options.listen;
    let process =
        Process::open(None, flags.collect(), |_| Ok(Listen { address, insecure: false })).await?;
    let ctx = process.ctx.clone();
    let settings: LogSettings = ctx.config.section("log")?;
    let log: Option<Arc<dyn Log>> = match options.server {
        Server::EventStore | Server::EventStoreLists | Server::QueryApi => None,
        _ => Some(settings.open(&options.folder, "highwater-bench")?),
    };
    let pool = PgPoolOptions::new()
        .max_connections(
            if matches!(options.server, Server::EventStore | Server::EventStoreLists) {
                32
            } else {
                8
            },
        )
        .connect_lazy(&options.database_url)?;
    let served = process.serve(router(options.server, &settings, &ctx, log.clone(), pool)).await;
    served.map_err(|ended| match ended {
        Ended::Frame(error) => error.into(),
        Ended::Served(error) => error,
    })?;
    if let Some(log) = log {
        log.close(ctx.shutdown.drain_limit).await;
    }
    Ok(())
}

async fn router(
    server: Server,
    settings: &LogSettings,
    ctx: &Context,
    log: Option<Arc<dyn Log>>,
    pool: PgPool,
) -> Result<Router, Error> {
    let app = ::store::app().build()?;
    Ok(match (server, log) {
        (Server::CommandApi, Some(log)) => {
            // An earlier build has tables of its own.
            migrations::migrate(&pool, Some(&::store::app().tables())).await?;
            highwater_command::start(ctx, log, pool, &app.categories).await?
        }
        (Server::Projectors, Some(log)) => {
            highwater_projection::start(ctx, log, pool, &app.projections).await?
        }
        (Server::ProduceOnly, Some(log)) => {
            let topic: Arc<str> = "highwater.baseline.events".into();
            let partitions = settings.partitions.get();
            log.prepare(vec![Topic { name: topic.clone(), partitions, kind: TopicKind::Events }])
                .await?;
            produce_only::routes(ctx.clone(), log, topic, partitions)
        }
        (Server::QueryApi, _) => highwater_query::start(ctx, pool, &app.views).await?,
        (Server::EventStoreLists, _) => {
            event_store::routes(ctx.clone(), pool, ReadModel::Lists).await?
        }
        _ => event_store::routes(ctx.clone(), pool, ReadModel::ById).await?,
    })
}
