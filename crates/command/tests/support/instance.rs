//! Whole instances on one log, each with its port: routes, owners, announcements, and no database.
//! Included by `#[path]`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use highwater_command::{
    category::{Category, Commands},
    command_queue::CommandQueue,
    http::{App, Figures, routes},
    owner::{
        actor::Shared,
        announcements::Announcements,
        command_queue::Source,
        forward::Forwarder,
        snapshots::{Error, Loaded, Snapshots},
        supervise::{Assignable, Supervisors, Timing},
        table::Table,
    },
    settings::{OwnerSettings, PeerSettings, QueueSettings},
};
use highwater_http::server::{HttpSettings, layers};
use highwater_log::{LocalLog, Log, Partition, Topic, TopicKind, local::Settings};
use highwater_protocol::{position::Position, wire::Wire, writer::Limits};
use highwater_runtime::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    context::Context,
    identity::DeploymentKeys,
    resilience::Backoff,
};
use highwater_tables::dedup_filter::DedupFilter;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};

/// No test waits longer for anything.
pub const SOON: Duration = Duration::from_secs(60);

pub const KEYS: &str = "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A log in a folder of its own, with the topics of `categories`, one partition each.
pub struct Place {
    pub log: Arc<dyn Log>,
    folder: PathBuf,
}

impl Place {
    pub async fn new(categories: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("highwater-instances-{}", SystemIds.v4()));
        let log: Arc<dyn Log> = Arc::new(LocalLog::open(&folder, Settings::default()).unwrap());
        let topic = |name: String, kind| Topic { name: name.into(), partitions: 1, kind };
        let of = |category: &&str| {
            [
                topic(format!("test.{category}.events"), TopicKind::Events),
                topic(format!("test.{category}.commands"), TopicKind::Commands),
            ]
        };
        let topics = categories
            .iter()
            .flat_map(of)
            .chain([topic("test.owners".to_owned(), TopicKind::Owners)]);
        log.prepare(topics.collect()).await.unwrap();
        Self { log, folder }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn owners() -> Partition {
    Partition { topic: "test.owners".into(), index: 0 }
}

pub fn keys(text: &str) -> Arc<DeploymentKeys> {
    Arc::new(DeploymentKeys::parse(text).unwrap())
}

/// Without any row.
#[derive(Clone)]
struct Nothing;

impl<S: Send> Snapshots<S> for Nothing {
    async fn position(&self, _: u32) -> Result<Position<Wire>, Error> {
        Ok(Position::default())
    }

    async fn dedup_filter(&self, _: u32, _: u64, _: usize) -> Result<DedupFilter, Error> {
        Ok(DedupFilter::blind())
    }

    async fn load(
        &self,
        _: u32,
        _: Vec<uuid::Uuid>,
        _: Vec<uuid::Uuid>,
    ) -> Result<Loaded<S>, Error> {
        Ok(Loaded { checkpoint: 0, aggregates: Vec::new(), outcomes: Vec::new() })
    }
}

pub struct Instance {
    pub address: std::net::SocketAddr,
    pub announcements: Arc<Announcements>,
    pub forwarder: Arc<Forwarder>,
    ctx: Context,
    keys: Arc<DeploymentKeys>,
    log: Arc<dyn Log>,
    listener: Option<TcpListener>,
    router: Router,
    owned: Vec<Arc<dyn Assignable>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Instance {
    /// Has its port, and serves nothing yet.
    pub async fn new(place: &Place, key_file: &str) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (keys, log) = (keys(key_file), place.log.clone());
        let (announcements, reports) = Announcements::new(
            log.clone(),
            owners(),
            keys.clone(),
            format!("http://{address}"),
            SystemIds.v4(),
        );
        let announcements = Arc::new(announcements);
        let tasks = vec![tokio::spawn(announcements.clone().follow(reports))];
        let ctx =
            Context { clock: clock.clone(), ids: Arc::new(SystemIds), ..Context::for_tests() };
        let forwarder = Forwarder::new(
            &PeerSettings::default(),
            announcements.deployment.clone(),
            clock,
            Arc::new(SystemIds),
        )
        .unwrap();
        let forwarder = Arc::new(forwarder);
        let (router, owned, listener) = (Router::new(), Vec::new(), Some(listener));
        Self { address, announcements, forwarder, ctx, keys, log, listener, router, owned, tasks }
    }

    pub fn add<C: Category>(&mut self, domain: C, collection: &'static str) {
        let table = Arc::new(Table::<C::Command>::new());
        let topic = |kind: &str| -> Arc<str> { format!("test.{}.{kind}", C::NAME).into() };
        let commands = Arc::new(Commands::of::<C>().unwrap());
        let shared = Shared {
            domain,
            log: self.log.clone(),
            snapshots: Nothing,
            checkpoints: watch::channel(Default::default()).1,
            origins: Arc::default(),
            announcements: self.announcements.clone(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            limits: Limits::default(),
            filter_bytes: 1 << 20,
            source: format!("/test/{}", C::NAME),
            command_queue: Source {
                topic: topic("commands"),
                partitions: 1,
                commands: commands.clone(),
                keys: self.keys.clone(),
                announce_step: 1,
            },
            clock_skew: Duration::from_secs(60),
            accept_ahead: Duration::ZERO,
            drain: Duration::from_secs(2),
            fences: Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(10) },
        };
        let short = Duration::from_millis(20);
        let timing = Timing { deposed: short, handoff: SOON, intake: 64 };
        let (statuses, shutdown) = (Arc::default(), self.ctx.shutdown.clone());
        self.owned.push(Arc::new(Supervisors::new(
            topic("events"),
            Arc::new(shared),
            table.clone(),
            statuses,
            shutdown,
            timing,
        )));
        let app = App::<C> {
            collection,
            ctx: self.ctx.clone(),
            keys: self.keys.clone(),
            commands,
            table,
            announcements: self.announcements.clone(),
            forwarder: self.forwarder.clone(),
            hop_age: Duration::from_secs(30),
            partitions: 1,
            figures: Figures::new(C::NAME),
            waiting: Semaphore::new(2),
            settings: OwnerSettings { ownerless_wait_ms: 400, ..OwnerSettings::default() },
            command_queue: CommandQueue {
                log: self.log.clone(),
                announcements: self.announcements.clone(),
                category: C::NAME,
                topic: topic("commands"),
                settings: QueueSettings::default(),
                room: Arc::new(tokio::sync::Semaphore::new(1 << 20)),
                shutdown: self.ctx.shutdown.clone(),
                ends: Default::default(),
            },
        };
        self.router = std::mem::take(&mut self.router).merge(routes(Arc::new(app)));
    }

    pub fn serve(&mut self) {
        let router = layers(std::mem::take(&mut self.router), &HttpSettings::default(), &self.ctx);
        let listener = self.listener.take().unwrap();
        self.tasks.push(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
    }

    /// Owns everything that was added.
    pub fn own(&self) {
        self.owned.iter().for_each(|category| category.assign(0));
    }

    /// Knows who owns each of `categories`.
    pub async fn knows(&self, categories: &[&str], owner: &Self) {
        let mut changes = self.announcements.watch();
        let known = || {
            let of_owner = |category: &&str| {
                self.announcements.other(category, 0).is_some_and(|announcement| {
                    announcement.instance == owner.announcements.instance
                })
            };
            categories.iter().all(of_owner)
        };
        tokio::time::timeout(SOON, async {
            while !known() {
                changes.changed().await.unwrap();
            }
        })
        .await
        .expect("the owner is not heard of");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.ctx.shutdown.soft.cancel();
        self.ctx.shutdown.hard.cancel();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
