//! Puts the parts together: topics, check values, owners of every category, routes, health.

mod checks;
mod error;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use highwater_http::server::HttpSettings;
use highwater_log::{Log, LogSettings, Pace, Topic, TopicKind, check_values};
use highwater_runtime::{
    config::Config,
    context::Context,
    health::{Check, Requirement},
    identity::DeploymentKeys,
    process::chain,
    resilience::{Backoff, Once},
    start::StartSettings,
};
use highwater_tables::{migrations, postgres::Connections};
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

pub use error::Error;

use crate::{
    category::{Category, Commands},
    command_queue::{CommandQueue, Ends},
    http::{self, App, Figures},
    owner::{
        actor::Shared,
        admin::{self, Admin},
        announcements::Announcements,
        command_queue::Source,
        eager_failover::{EagerFailover, EagerFailoverSettings},
        forward::Forwarder,
        members::Members,
        origin::Origins,
        snapshots::{self, PostgresSnapshots, TypedSnapshots},
        status::Statuses,
        supervise::{Assignable, Supervisors, Timing},
        table::Table,
    },
    settings::{OwnerSettings, PeerSettings, QueueSettings},
};

const OTHER_DATABASE: &str = "name the database of the deployment; if that one is lost, an empty \
                              one takes its place with the application's `migrate --replace`";

/// Section `identity`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct IdentitySettings {
    /// The file of the deployment keys.
    keys: String,
}

/// What the categories of an application are added to, each by [`ServedCategory::serve`].
pub struct Registry {
    ctx: Context,
    log: Arc<dyn Log>,
    pool: Connections,
    keys: Arc<DeploymentKeys>,
    announcements: Arc<Announcements>,
    forwarder: Arc<Forwarder>,
    hop_age: Duration,
    naming: LogSettings,
    owner: OwnerSettings,
    queue: QueueSettings,
    /// Bytes on their way into the command queue.
    queue_room: Arc<Semaphore>,
    router: Router,
    assignable: Vec<Arc<dyn Assignable>>,
    statuses: Arc<Statuses>,
    command_queues: Vec<(&'static str, Arc<str>)>,
}

/// Where other instances reach this one.
pub fn advertised(config: &Config) -> Result<String, Box<highwater_runtime::config::Error>> {
    let peers: PeerSettings = config.section("peers")?;
    if !peers.advertise.is_empty() {
        return Ok(peers.advertise);
    }
    let http: HttpSettings = config.section("http")?;
    Ok(format!("http://{}", http.listen))
}

/// Serves the commands of `categories` until `ctx.shutdown`.
pub async fn start(
    ctx: &Context,
    log: Arc<dyn Log>,
    pool: impl Into<Connections>,
    categories: &Categories,
) -> Result<Router, Error> {
    let pool = pool.into();
    let names: Vec<&'static str> = categories.iter().map(|category| category.name()).collect();
    let naming: LogSettings = ctx.config.section("log")?;
    let mut owner: OwnerSettings = ctx.config.section("owner")?;
    let queue: QueueSettings = ctx.config.section("queue")?;
    let peers: PeerSettings = ctx.config.section("peers")?;
    owner.in_flight_bytes = checks::share(&owner, &queue, &naming, names.len())?;
    checks::queue(&queue)?;
    checks::advertise(&peers)?;
    let keys = Arc::new(checks::load_keys(&ctx.config.section("identity")?)?);
    let patience = ctx.config.section::<StartSettings>("start")?.patience();
    let identity = patience
        .until("the database", migrations::Error::may_pass, async || checks::database(&pool).await)
        .await?;
    pool.open().await;
    let topics = topics(&naming, &names);
    let followed: Vec<_> = topics
        .iter()
        .filter(|topic| topic.kind == TopicKind::Events)
        .map(|topic| topic.name.clone())
        .collect();
    let prepared = async || {
        log.prepare(topics.clone()).await?;
        Ok(log.warm(followed.clone(), Pace::Behind).await?)
    };
    patience.until("the log", Error::may_pass, prepared).await?;

    let url = advertised(&ctx.config).map_err(Error::Config)?;
    let owners = check_values::partition(&naming.prefix);
    let (announcements, reports) =
        Announcements::new(log.clone(), owners, keys.clone(), url, ctx.ids.v4());
    let announcements = Arc::new(announcements);
    let following = AbortOnDropHandle::new(tokio::spawn(announcements.clone().follow(reports)));
    let same = async || {
        announcements
            .check(
                check_values::DEPLOYMENT_KEY,
                &keys.check_value(),
                "bring the key file of the deployment",
            )
            .await?;
        Ok(announcements
            .check(check_values::DATABASE, &identity.to_string(), OTHER_DATABASE)
            .await?)
    };
    patience.until("the owners topic", Error::may_pass, same).await?;

    let forwarder = Arc::new(Forwarder::new(
        &peers,
        announcements.deployment.clone(),
        ctx.clock.clone(),
        ctx.ids.clone(),
    )?);
    let tables = pool.clone();
    let mut registry = Registry {
        ctx: ctx.clone(),
        log: log.clone(),
        pool,
        keys,
        announcements,
        forwarder,
        hop_age: Duration::from_millis(peers.hop_age_ms),
        naming: naming.clone(),
        owner: owner.clone(),
        queue_room: Arc::new(Semaphore::new(queue.in_flight_bytes.min(Semaphore::MAX_PERMITS))),
        queue,
        router: Router::new(),
        assignable: Vec::new(),
        statuses: Arc::default(),
        command_queues: Vec::new(),
    };
    for category in categories {
        category.serve(&mut registry)?;
    }
    registry.serve_operator().await?;
    registry.join(&peers, following)?;
    ctx.health.register(
        "log",
        Requirement::Ready,
        Arc::new(move || Box::pin(reachable(log.clone()))),
    );
    let statuses = registry.statuses.clone();
    ctx.health.register(
        "owner.times",
        Requirement::Degraded,
        Arc::new(move || Box::pin(std::future::ready(statuses.times()))),
    );
    ctx.health.register(
        "owner.connections",
        Requirement::Degraded,
        Arc::new(move || Box::pin(std::future::ready(tables.complete()))),
    );
    ctx.health.register(
        "partitions",
        Requirement::Ready,
        partitions_check(registry.announcements.clone(), naming.partitions.get(), names),
    );
    Ok(registry.router)
}

/// A category as an application registers it.
pub trait ServedCategory: Send + Sync {
    /// As in topics, `ce_source` and positions.
    fn name(&self) -> &'static str;

    /// Adds its routes, and an owner for every partition that the group assigns.
    fn serve(&self, registry: &mut Registry) -> Result<(), Error>;
}

/// Every category of an application.
pub type Categories = Vec<Arc<dyn ServedCategory>>;

/// The commands of a domain under `/v1/{collection}`.
pub struct Commanded<C> {
    pub domain: C,
    /// The plural of the category's name, as in routes.
    pub collection: &'static str,
}

impl<C: Category> ServedCategory for Commanded<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn serve(&self, registry: &mut Registry) -> Result<(), Error> {
        registry.add(self.domain.clone(), self.collection)
    }
}

impl Registry {
    /// Takes partitions: as the groups assign them, and where an owner is gone before they do.
    fn join(&self, peers: &PeerSettings, following: AbortOnDropHandle<()>) -> Result<(), Error> {
        let shutdown = &self.ctx.shutdown;
        if self.owner.eager_failover {
            let settings = EagerFailoverSettings {
                probe: Duration::from_millis(self.owner.eager_failover_probe_ms.max(10)),
                connect_timeout: Duration::from_millis(peers.connect_timeout_ms),
                again: Duration::from_millis(self.owner.eager_failover_again_ms),
            };
            let (announcements, forwarder, ids) =
                (self.announcements.clone(), self.forwarder.clone(), self.ctx.ids.clone());
            shutdown.tasks.spawn(
                EagerFailover::new(
                    announcements,
                    forwarder,
                    &self.assignable,
                    settings,
                    ids,
                    shutdown.clone(),
                )
                .run(),
            );
        }
        let leave_within = Duration::from_millis(self.owner.drain_ms) + Duration::from_secs(3);
        let members = Members::new(
            self.assignable.clone(),
            Duration::from_millis(self.owner.leave_ms),
            leave_within,
        );
        let memberships =
            members.join(self.log.as_ref(), &self.naming.prefix, "highwater-command-api")?;
        let stopping = shutdown.clone();
        shutdown.tasks.spawn(members.run(memberships, stopping));
        let hard = shutdown.hard.clone();
        tokio::spawn(async move {
            // As long as a request waits to hear whose its partition is now.
            hard.cancelled().await;
            drop(following);
        });
        Ok(())
    }

    async fn serve_operator(&self) -> Result<(), Error> {
        let listen = self.owner.admin_listen.trim();
        if listen.is_empty() {
            return Ok(());
        }
        let address = listen.parse().map_err(|_| Error::AdminListen(listen.to_owned()))?;
        let admin = Admin {
            instance: self.announcements.instance,
            url: self.announcements.url.clone(),
            statuses: self.statuses.clone(),
            log: self.log.clone(),
            command_queues: self.command_queues.clone(),
        };
        admin::serve(address, admin, &self.ctx).await?;
        Ok(())
    }

    fn add<C: Category>(&mut self, domain: C, collection: &'static str) -> Result<(), Error> {
        let topic: Arc<str> = events_topic(&self.naming, C::NAME).into();
        let commands_topic: Arc<str> = commands_topic(&self.naming, C::NAME).into();
        let commands = Arc::new(Commands::of::<C>()?);
        let tables = PostgresSnapshots::new(self.pool.clone(), C::NAME);
        let (checkpoints, watched) = watch::channel(std::collections::BTreeMap::new());
        let every = Duration::from_millis(self.owner.checkpoint_interval_ms.max(10));
        self.ctx.shutdown.tasks.spawn(follow_checkpoints(
            tables.clone(),
            checkpoints,
            every,
            self.ctx.clone(),
        ));
        let origins = Arc::new(Origins::default());
        let (log, soft) = (self.log.clone(), self.ctx.shutdown.soft.clone());
        self.ctx.shutdown.tasks.spawn(origins.clone().keep_warm(
            log,
            topic.clone(),
            watched.clone(),
            soft,
        ));
        let shared = Shared {
            domain: domain.clone(),
            log: self.log.clone(),
            snapshots: TypedSnapshots::new(tables, domain),
            checkpoints: watched,
            origins,
            announcements: self.announcements.clone(),
            clock: self.ctx.clock.clone(),
            ids: self.ctx.ids.clone(),
            limits: self.owner.limits(&self.queue),
            filter_bytes: self.owner.filter_bytes,
            source: format!("/{}/{}", self.naming.prefix, C::NAME),
            command_queue: Source {
                topic: commands_topic.clone(),
                partitions: self.naming.partitions.get(),
                commands: commands.clone(),
                keys: self.keys.clone(),
                announce_step: (self.queue.max_backlog / 16).max(1),
            },
            clock_skew: Duration::from_millis(self.owner.clock_skew_ms),
            accept_ahead: Duration::from_millis(self.owner.accept_ahead_ms),
            drain: Duration::from_millis(self.owner.drain_ms),
            fences: Backoff {
                first: Duration::from_millis(self.owner.retry_first_ms.max(1)),
                longest: Duration::from_millis(
                    self.owner.retry_longest_ms.max(self.owner.retry_first_ms),
                ),
            },
        };
        let table = Arc::new(Table::new());
        let timing = Timing {
            deposed: Duration::from_millis(self.owner.deposed_wait_ms),
            handoff: Duration::from_millis(self.owner.handoff_ms),
            intake: self.owner.partition_queue.max(1),
        };
        let (statuses, shutdown) = (self.statuses.clone(), self.ctx.shutdown.clone());
        let supervisors =
            Supervisors::new(topic, Arc::new(shared), table.clone(), statuses, shutdown, timing);
        self.assignable.push(Arc::new(supervisors));
        self.command_queues.push((C::NAME, commands_topic.clone()));
        let app = App::<C> {
            collection,
            ctx: self.ctx.clone(),
            keys: self.keys.clone(),
            commands,
            table,
            announcements: self.announcements.clone(),
            forwarder: self.forwarder.clone(),
            hop_age: self.hop_age,
            partitions: self.naming.partitions.get(),
            figures: Figures::new(C::NAME),
            waiting: Semaphore::new(self.owner.waiting_limit.min(Semaphore::MAX_PERMITS)),
            settings: self.owner.clone(),
            command_queue: CommandQueue {
                log: self.log.clone(),
                announcements: self.announcements.clone(),
                category: C::NAME,
                topic: commands_topic,
                settings: self.queue.clone(),
                room: self.queue_room.clone(),
                shutdown: self.ctx.shutdown.clone(),
                ends: Ends::default(),
            },
        };
        let router = std::mem::take(&mut self.router);
        self.router = router.merge(http::routes(Arc::new(app)));
        Ok(())
    }
}

/// Tells the owners where `snapshots` stands, so that they can forget what it has.
async fn follow_checkpoints(
    tables: PostgresSnapshots,
    to: watch::Sender<std::collections::BTreeMap<u32, u64>>,
    every: Duration,
    ctx: Context,
) {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut unread = Once::new("owner-checkpoints");
    loop {
        tokio::select! {
            () = ctx.shutdown.soft.cancelled() => return,
            _ = interval.tick() => {}
        }
        match snapshots::checkpoints(&tables).await {
            Ok(checkpoints) => {
                unread.over("checkpoints can be read again");
                to.send_if_modified(|before| {
                    let changed = *before != checkpoints;
                    *before = checkpoints;
                    changed
                });
            }
            Err(error) => unread.warn("checkpoints cannot be read", &chain(&error)),
        }
    }
}

fn events_topic(naming: &LogSettings, category: &str) -> String {
    format!("{}.{category}.events", naming.prefix)
}

fn commands_topic(naming: &LogSettings, category: &str) -> String {
    format!("{}.{category}.commands", naming.prefix)
}

fn topics(naming: &LogSettings, categories: &[&str]) -> Vec<Topic> {
    let partitions = naming.partitions.get();
    let mut topics = Vec::new();
    for category in categories {
        topics.push(Topic {
            name: events_topic(naming, category).into(),
            partitions,
            kind: TopicKind::Events,
        });
        topics.push(Topic {
            name: commands_topic(naming, category).into(),
            partitions,
            kind: TopicKind::Commands,
        });
    }
    topics.push(check_values::topic(&naming.prefix));
    topics
}

/// Ready once every partition has had an owner, here or elsewhere; an owner that is lost later is
/// no reason to send no requests here.
fn partitions_check(
    announcements: Arc<Announcements>,
    partitions: u32,
    categories: Vec<&'static str>,
) -> Check {
    let once = Arc::new(AtomicBool::new(false));
    Arc::new(move || {
        let owned = once.load(Ordering::Relaxed)
            || categories.iter().all(|category| announcements.all_owned(category, partitions));
        once.fetch_or(owned, Ordering::Relaxed);
        Box::pin(async move {
            if owned { Ok(()) } else { Err("not every partition has an owner yet".to_owned()) }
        })
    })
}

async fn reachable(log: Arc<dyn Log>) -> Result<(), String> {
    log.health().await.map_err(|error| error.to_string())
}
