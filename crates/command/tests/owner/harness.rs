//! Owners of counters that run on any log, and a reader that folds what came of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use highwater_command::{
    category::{Category, Commands},
    owner::{
        Delivery,
        actor::{self, End, Notices, Shared},
        announcements::Announcements,
        assignment::Right,
        command_queue::Source,
        forward::Forwarder,
        snapshots::{Error, Loaded, Snapshots},
        status::Status,
    },
    settings::PeerSettings,
};
use highwater_log::{LocalLog, Log, Partition, Topic, TopicKind, local::Settings};
use highwater_protocol::{
    fold::{self, Fold},
    position::Position,
    time::Micros,
    wire::{Fingerprint, Meta, Wire, decode},
    writer::{Answer, Expected, Limits, Outcome, RecordedOutcome, Snapshot, Submission},
};
use highwater_runtime::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    identity::DeploymentKeys,
    resilience::Backoff,
};
use highwater_tables::dedup_filter::DedupFilter;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use crate::counter::{Add, Counters};

/// No test waits longer for anything.
pub const SOON: Duration = Duration::from_secs(60);

/// Snapshots as a test wants them: by default a projection that has not begun.
#[derive(Clone, Default)]
pub struct TestSnapshots(pub Arc<Mutex<Kept>>);

#[derive(Default)]
pub struct Kept {
    pub position: Position<Wire>,
    pub states: BTreeMap<Uuid, (u64, u64)>,
    pub loads: usize,
    pub unreachable: bool,
    pub unreadable: BTreeSet<Uuid>,
    pub outcomes: BTreeMap<Uuid, RecordedOutcome<Wire>>,
    /// There is a filter of seen ids; else every id may have been seen.
    pub filters: bool,
    /// What the filter holds.
    pub seen: Vec<Uuid>,
    /// What is projected as soon as an owner has looked.
    pub arrives: Option<Box<Kept>>,
}

impl TestSnapshots {
    fn look<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        let mut kept = self.0.lock().unwrap();
        let seen = look(&mut kept);
        if let Some(arrived) = kept.arrives.take() {
            *kept = *arrived;
        }
        seen
    }
}

impl Snapshots<u64> for TestSnapshots {
    async fn position(&self, _: u32) -> Result<Position<Wire>, Error> {
        // A statement takes its time: whatever is asked at the same time is looked up first.
        tokio::task::yield_now().await;
        Ok(self.look(|kept| kept.position.clone()))
    }

    async fn dedup_filter(&self, _: u32, _: u64, limit_bytes: usize) -> Result<DedupFilter, Error> {
        Ok(self.look(|kept| {
            let mut seen = if kept.filters {
                DedupFilter::new(Vec::new(), limit_bytes)
            } else {
                DedupFilter::blind()
            };
            kept.seen.iter().for_each(|id| seen.add(*id));
            seen
        }))
    }

    async fn load(
        &self,
        _: u32,
        aggregates: Vec<Uuid>,
        commands: Vec<Uuid>,
    ) -> Result<Loaded<u64>, Error> {
        let mut kept = self.0.lock().unwrap();
        kept.loads += 1;
        if kept.unreachable {
            return Err(Error::Malformed("unreachable".into()));
        }
        let state = |id: &Uuid| {
            kept.states
                .get(id)
                .map(|(version, state)| (*id, Snapshot::State { version: *version, state: *state }))
        };
        let unreadable = |id: &Uuid| {
            kept.unreadable.contains(id).then_some((*id, Snapshot::Unreadable { version: 1 }))
        };
        let aggregates =
            aggregates.iter().filter_map(|id| state(id).or_else(|| unreadable(id))).collect();
        let outcomes = commands
            .iter()
            .filter_map(|id| kept.outcomes.get_key_value(id))
            .map(|(id, recorded)| (*id, recorded.clone()));
        Ok(Loaded { checkpoint: kept.position.offset, aggregates, outcomes: outcomes.collect() })
    }
}

/// A log of its own in a folder of its own.
pub struct World {
    pub log: Arc<dyn Log>,
    pub partition: Partition,
    /// The command queue.
    pub commands: Partition,
    /// Of how many the one partition is the first, as far as the command queue looks at keys.
    pub partitions: u32,
    folder: PathBuf,
}

pub async fn world() -> World {
    let folder = std::env::temp_dir().join(format!("highwater-owner-{}", SystemIds.v4()));
    let log: Arc<dyn Log> = Arc::new(LocalLog::open(&folder, Settings::default()).unwrap());
    let topic = |name: &str, kind| Topic { name: name.into(), partitions: 1, kind };
    log.prepare(vec![
        topic("counters", TopicKind::Events),
        topic("queue", TopicKind::Commands),
        topic("owners", TopicKind::Owners),
    ])
    .await
    .unwrap();
    World {
        log,
        commands: Partition { topic: "queue".into(), index: 0 },
        partition: Partition { topic: "counters".into(), index: 0 },
        partitions: 1,
        folder,
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub const KEYS: &str = "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

pub fn keys() -> Arc<DeploymentKeys> {
    Arc::new(DeploymentKeys::parse(KEYS).unwrap())
}

pub fn owners() -> Partition {
    Partition { topic: "owners".into(), index: 0 }
}

/// No peer but on loopback.
pub fn forwarder(announcements: &Announcements) -> Arc<Forwarder> {
    Arc::new(
        Forwarder::new(
            &PeerSettings::default(),
            announcements.deployment.clone(),
            Arc::new(SystemClock),
            Arc::new(SystemIds),
        )
        .unwrap(),
    )
}

/// What an owner of `world` shares with others, and the way to tell it where `snapshots` stands.
pub fn shared(
    world: &World,
    log: Arc<dyn Log>,
    snapshots: TestSnapshots,
    limits: Limits,
    announcements: Arc<Announcements>,
) -> (Shared<Counters, TestSnapshots>, watch::Sender<BTreeMap<u32, u64>>) {
    let (checkpoints, watched) = watch::channel(BTreeMap::new());
    let shared = Shared {
        domain: Counters,
        log,
        snapshots,
        checkpoints: watched,
        origins: Arc::default(),
        announcements,
        clock: Arc::new(SystemClock),
        ids: Arc::new(SystemIds),
        limits,
        filter_bytes: 1 << 20,
        source: "/test/counter".into(),
        command_queue: Source {
            topic: world.commands.topic.clone(),
            partitions: world.partitions,
            commands: Arc::new(Commands::of::<Counters>().unwrap()),
            keys: keys(),
            announce_step: 1,
        },
        clock_skew: Duration::from_secs(60),
        accept_ahead: Duration::ZERO,
        drain: Duration::from_secs(2),
        fences: Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(10) },
    };
    (shared, checkpoints)
}

/// A running owner.
pub struct Owner {
    pub intake: mpsc::Sender<Delivery<Add>>,
    pub stop: CancellationToken,
    pub checkpoints: watch::Sender<BTreeMap<u32, u64>>,
    task: JoinHandle<End>,
}

impl Owner {
    pub fn start(
        world: &World,
        log: Arc<dyn Log>,
        snapshots: TestSnapshots,
        limits: Limits,
    ) -> Self {
        let fences =
            Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(10) };
        Self::start_with(world, log, snapshots, limits, |shared| shared.fences = fences)
    }

    /// Although the partition's last time lies so far ahead.
    pub fn accepting(
        world: &World,
        log: Arc<dyn Log>,
        snapshots: TestSnapshots,
        limits: Limits,
        ahead: Duration,
    ) -> Self {
        Self::start_with(world, log, snapshots, limits, |shared| shared.accept_ahead = ahead)
    }

    /// By this clock, which may be so far off.
    pub fn by_clock(world: &World, clock: Arc<dyn Clock>, skew: Duration) -> Self {
        Self::start_with(
            world,
            world.log.clone(),
            TestSnapshots::default(),
            Limits::default(),
            |shared| {
                (shared.clock, shared.clock_skew) = (clock, skew);
            },
        )
    }

    pub fn start_paced(
        world: &World,
        log: Arc<dyn Log>,
        snapshots: TestSnapshots,
        limits: Limits,
        fences: Backoff,
    ) -> Self {
        Self::start_with(world, log, snapshots, limits, |shared| shared.fences = fences)
    }

    fn start_with(
        world: &World,
        log: Arc<dyn Log>,
        snapshots: TestSnapshots,
        limits: Limits,
        set: impl FnOnce(&mut Shared<Counters, TestSnapshots>),
    ) -> Self {
        let (announcements, _reports) = Announcements::new(
            world.log.clone(),
            owners(),
            keys(),
            "http://127.0.0.1:1".into(),
            SystemIds.v4(),
        );
        let (mut shared, checkpoints) =
            shared(world, log, snapshots.clone(), limits, Arc::new(announcements));
        set(&mut shared);
        let (intake, mut deliveries) = mpsc::channel(4096);
        let (stop, partition) = (CancellationToken::new(), world.partition.clone());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let from = snapshots.position(0).await.unwrap();
            let seen = snapshots.dedup_filter(0, from.offset, 1 << 20).await.unwrap();
            let (announcements, clock) = (shared.announcements.clone(), shared.clock.clone());
            let status =
                Status::new(announcements, clock, Counters::NAME, 0, Right::Group, "assigned");
            actor::run(
                &shared,
                &partition,
                &status,
                &mut Notices::default(),
                (from, seen),
                &mut deliveries,
                &stopped,
            )
            .await
        });
        Self { intake, stop, checkpoints, task }
    }

    /// Sends a command and does not wait.
    pub fn send(&self, submission: Submission<Wire, Add>) -> oneshot::Receiver<Answer<Wire>> {
        let (reply, answer) = oneshot::channel();
        let delivery = Delivery { submission, reply, deadline: Instant::now() + SOON };
        self.intake
            .try_send(delivery)
            .unwrap_or_else(|_| panic!("the owner takes nothing any more"));
        answer
    }

    pub async fn ask(&self, submission: Submission<Wire, Add>) -> Answer<Wire> {
        soon(self.send(submission)).await.unwrap()
    }

    pub async fn ended(self) -> End {
        soon(self.task).await.unwrap()
    }

    /// As a process that dies: what it has appended may still come to be in the log.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }
}

pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.expect("it takes too long")
}

/// A command by a caller who chose the key.
pub fn add(command: u128, aggregate: u128, events: usize) -> Submission<Wire, Add> {
    Submission {
        token: 0,
        command: Uuid::from_u128(command),
        aggregate: Uuid::from_u128(aggregate),
        fingerprint: Fingerprint {
            key_number: 1,
            hmac: [u8::try_from(command % 256).unwrap(); 32],
        },
        older_fingerprints: Vec::new(),
        expected: Expected::Anything,
        payload: Ok(Arc::new(Add { events, must_exist: false })),
        caller_key: true,
        fresh: false,
        new_aggregate: false,
        meta: Meta::default(),
        at: Micros(0),
        deadline_ms: 0,
        queued: None,
    }
}

pub fn accepted(answer: &Answer<Wire>) -> Option<(u64, u64)> {
    match answer {
        Answer::Done { outcome: Outcome::Accepted { version, end, .. }, .. } => {
            Some((*version, *end))
        }
        _ => None,
    }
}

/// What a reader makes of the whole partition.
#[derive(Debug, Default)]
pub struct History {
    /// By command: the version after it and the offset after its last record.
    pub commits: BTreeMap<Uuid, (u64, u64)>,
    pub rejected: BTreeMap<Uuid, Value>,
    /// `hw-source`, by command.
    pub sources: BTreeMap<Uuid, u64>,
    /// The largest `hw-drained`.
    pub drained: u64,
    pub fences: usize,
    pub voids: usize,
    pub barriers: usize,
    pub last_time: Option<Micros>,
}

/// Folds everything; fails on a command that is there twice and on a version that is not the next.
pub async fn history(world: &World) -> History {
    let (mut fold, mut history, mut versions) =
        (Fold::<Wire>::new(), History::default(), BTreeMap::<Uuid, u64>::new());
    loop {
        let records = world.log.fetch(&world.partition, fold.next_offset(), 1_000).await.unwrap();
        if records.is_empty() {
            (history.drained, history.last_time) = (fold.head().drained, fold.head().last_time);
            return history;
        }
        for stored in records {
            match fold.apply(stored.offset, decode(stored.record)).unwrap() {
                fold::Effect::Commit(commit) => {
                    let metadata = commit.events[0].metadata.clone();
                    let version = versions.entry(metadata.aggregate).or_default();
                    for event in &commit.events {
                        assert_eq!(
                            event.metadata.source, metadata.source,
                            "every event of a commit names the same source"
                        );
                        assert_eq!(event.version, *version + 1, "versions have no gap");
                        *version = event.version;
                    }
                    history
                        .sources
                        .extend(metadata.source.map(|source| (metadata.command, source)));
                    let before = history.commits.insert(metadata.command, (*version, commit.end));
                    assert_eq!(before, None, "command {} is in the log twice", metadata.command);
                }
                fold::Effect::Outcome(outcome) => {
                    let command = outcome.metadata.command;
                    history.sources.extend(outcome.metadata.source.map(|source| (command, source)));
                    let reason = serde_json::from_slice(&outcome.reason.0).unwrap();
                    assert_eq!(
                        history.rejected.insert(command, reason),
                        None,
                        "an outcome is there twice"
                    );
                }
                fold::Effect::Fence { .. } => history.fences += 1,
                fold::Effect::Void(_) => history.voids += 1,
                fold::Effect::Barrier => history.barriers += 1,
                _ => {}
            }
        }
    }
}
