//! A log with the records of an application, written as owners write them, and runners on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::mpsc;
use uuid::Uuid;

// Its parts by their names here, or the facade with all of them.
use crate::library::{
    log::{Appended, LocalLog, Log, Membership, MembershipEvent, Partition, Reply, Ticket, local},
    projection::{
        Projections,
        runner::{
            Assignment, Key, Limits, PostgresStore, PostgresTx, Progress, Projection, Runner,
            Source, Step, Store, TopicPartition, Topics,
        },
    },
    protocol::{
        command_queue,
        entry::{Body, CommandMetadata, Entry, EventBody, OutcomeBody, Part, Verdict},
        partition::partition_of,
        record::Record,
        time::Micros,
        wire::{self, Fingerprint, Meta, Reason, RecordedEvent, Wire},
        writer::Expected,
    },
};

pub const PARTITIONS: u32 = 4;

/// No runner has the id of another.
static RUNNERS: AtomicU32 = AtomicU32::new(1);

const PATIENCE: Duration = Duration::from_secs(120);
static FOLDERS: AtomicU32 = AtomicU32::new(0);

pub struct World {
    pub log: Arc<LocalLog>,
    topics: Topics,
    /// What the application projects, and what every application does; made anew for each runner,
    /// as each is a process of its own.
    projections: fn() -> Projections,
    categories: Vec<&'static str>,
    folder: PathBuf,
    writers: BTreeMap<Partition, Writer>,
    commands: u128,
    /// What lies in the command queue: the actor of each command, and the offset after its first
    /// record.
    pub accepted: BTreeMap<Uuid, (Uuid, i64)>,
    /// What the log stamps on its records.
    pub now_ms: Arc<AtomicI64>,
    /// What each command must have come to: aggregate, verdict, version, offset after it.
    pub outcomes: BTreeMap<Uuid, (Uuid, &'static str, i64, i64)>,
    /// The events of every commit that is whole, by aggregate, with the category.
    pub events: BTreeMap<(&'static str, Uuid), Vec<RecordedEvent>>,
}

#[derive(Clone, Copy, Default)]
struct Writer {
    epoch: u64,
    writer: Uuid,
    seq: u64,
    time: i64,
}

impl World {
    /// Histories of different numbers have different writers and commands.
    pub async fn with(projections: fn() -> Projections, history: u128) -> Self {
        let folder = std::env::temp_dir().join(format!(
            "highwater-test-log-{}-{}",
            std::process::id(),
            FOLDERS.fetch_add(1, Ordering::Relaxed)
        ));
        // Small deliveries, so that small batches are possible.
        let now_ms = Arc::new(AtomicI64::new(1_795_383_264_123));
        let clock = now_ms.clone();
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let settings = local::Settings { chunk_records: 3, clock, ..local::Settings::default() };
        let log = Arc::new(LocalLog::open(&folder, settings).expect("a local log"));
        let categories = projections().categories().to_vec();
        let topics = Topics::of("test", &categories);
        log.prepare(topics.wanted(PARTITIONS)).await.expect("topics");
        let mut world = Self {
            log,
            topics,
            projections,
            categories,
            folder,
            writers: BTreeMap::new(),
            commands: history << 64,
            accepted: BTreeMap::new(),
            now_ms,
            outcomes: BTreeMap::new(),
            events: BTreeMap::new(),
        };
        for category in world.categories.clone() {
            for partition in 0..PARTITIONS {
                world.fence(category, partition).await;
            }
        }
        world
    }

    /// Of the events of a category.
    pub fn partition(category: &str, index: u32) -> Partition {
        Partition { topic: format!("test.{category}.events").into(), index }
    }

    fn queue(category: &str, index: u32) -> Partition {
        Partition { topic: format!("test.{category}.commands").into(), index }
    }

    /// A command for the aggregate lies in the command queue; [`World::decide`] gives it its
    /// outcome.
    pub async fn accept(
        &mut self,
        category: &'static str,
        id: Uuid,
    ) -> command_queue::AcceptedCommand {
        let metadata = self.metadata(id);
        let command = command_queue::AcceptedCommand {
            aggregate: id,
            command: metadata.command,
            name: format!("{category}.test"),
            version: 1,
            fingerprint: metadata.fingerprint,
            caller_key: true,
            expected: Expected::Anything,
            actor: Uuid::from_u128(0xac),
            scopes: Vec::new(),
            deadline: Micros((self.now_ms.load(Ordering::Relaxed) + 3_600_000) * 1_000),
            correlation: metadata.command,
            traceparent: None,
            body: b"{}".to_vec(),
        };
        self.accept_again(category, &command).await;
        command
    }

    /// The same command once more, as a retry brings it.
    pub async fn accept_again(
        &mut self,
        category: &'static str,
        command: &command_queue::AcceptedCommand,
    ) {
        let end = self
            .append_to_queue(
                category,
                Self::partition_of(command.aggregate),
                command_queue::encode(command),
            )
            .await
            + 1;
        self.accepted
            .entry(command.command)
            .or_insert((command.actor, i64::try_from(end).expect("few")));
    }

    pub async fn append_to_queue(&self, category: &str, index: u32, record: Record) -> u64 {
        self.append(&Self::queue(category, index), record).await
    }

    /// The owner comes to a rejection of a queued command.
    pub async fn decide(
        &mut self,
        category: &'static str,
        command: &command_queue::AcceptedCommand,
        reason: &[u8],
    ) {
        let meta = Meta { actor: command.actor, ..Meta::default() };
        let metadata = CommandMetadata {
            aggregate: command.aggregate,
            command: command.command,
            fingerprint: command.fingerprint.clone(),
            meta,
            source: None,
        };
        self.rejected(category, metadata, Verdict::Rejected, reason).await;
    }

    pub fn partition_of(id: Uuid) -> u32 {
        partition_of(id.hyphenated().to_string().as_bytes(), PARTITIONS)
    }

    async fn append(&self, to: &Partition, record: Record) -> u64 {
        let (reports, mut reported) = mpsc::unbounded_channel();
        self.log
            .append(
                to,
                record,
                Reply { ticket: Ticket { writer: Uuid::nil(), seq: None }, to: reports },
            )
            .expect("accepted");
        let report = tokio::time::timeout(PATIENCE, reported.recv())
            .await
            .expect("in time")
            .expect("a report");
        match report.result.expect("appended") {
            Appended::At(offset) => offset,
            Appended::Somewhere => panic!("the local log says where"),
        }
    }

    /// A new owner takes the partition.
    pub async fn fence(&mut self, category: &str, index: u32) {
        let partition = Self::partition(category, index);
        let before = self.writers.get(&partition).copied().unwrap_or_default();
        self.commands += 1;
        let writer = Writer {
            epoch: before.epoch + 1,
            writer: Uuid::from_u128(self.commands),
            seq: 0,
            time: before.time,
        };
        let entry = Entry {
            epoch: writer.epoch,
            writer: writer.writer,
            seq: None,
            drained: None,
            body: Body::Fence,
        };
        self.append(&partition, encode(category, &entry)).await;
        self.writers.insert(partition, writer);
    }

    async fn write(&mut self, category: &str, index: u32, body: Body<Wire>) -> u64 {
        let partition = Self::partition(category, index);
        let writer = self.writers.get_mut(&partition).expect("a fence came first");
        let entry = Entry {
            epoch: writer.epoch,
            writer: writer.writer,
            seq: Some(writer.seq),
            drained: None,
            body,
        };
        writer.seq += 1;
        writer.time += 1;
        self.append(&partition, encode(category, &entry)).await
    }

    /// What a zombie writes: void for every reader.
    pub async fn void(&mut self, category: &str, index: u32) {
        let entry = Entry {
            epoch: 99,
            writer: Uuid::from_u128(99),
            seq: Some(7),
            drained: None,
            body: Body::Barrier,
        };
        self.append(&Self::partition(category, index), encode(category, &entry)).await;
    }

    fn metadata(&mut self, id: Uuid) -> CommandMetadata<Wire> {
        self.commands += 1;
        CommandMetadata {
            aggregate: id,
            command: Uuid::from_u128(self.commands),
            fingerprint: Fingerprint {
                key_number: 1,
                hmac: [u8::try_from(self.commands % 251).unwrap_or(0); 32],
            },
            meta: Meta::default(),
            source: None,
        }
    }

    /// The first `written` of the events of one command. Whole if that is all of them.
    pub async fn commit(
        &mut self,
        category: &'static str,
        id: Uuid,
        events: Vec<RecordedEvent>,
        written: usize,
    ) {
        let (index, metadata) = (Self::partition_of(id), self.metadata(id));
        let before = self.events.get(&(category, id)).map_or(0, Vec::len) as u64;
        let of = u32::try_from(events.len()).expect("few");
        let mut end = 0;
        for (at, event) in events.iter().take(written).enumerate() {
            let part = if of == 1 {
                Part::WHOLE
            } else {
                Part { index: u32::try_from(at).expect("few") + 1, of }
            };
            let version = before + at as u64 + 1;
            let body = EventBody {
                metadata: metadata.clone(),
                version,
                part,
                time: Micros(1_700_000_000_000_000),
                event: event.clone(),
            };
            end = self.write(category, index, Body::Event(body)).await + 1;
        }
        if written == events.len() {
            let version = i64::try_from(before).expect("few") + i64::from(of);
            self.outcomes.insert(
                metadata.command,
                (id, "accepted", version, i64::try_from(end).expect("few")),
            );
            self.events.entry((category, id)).or_default().extend(events);
        }
    }

    pub async fn outcome(
        &mut self,
        category: &'static str,
        id: Uuid,
        verdict: Verdict,
        reason: &[u8],
    ) {
        let metadata = self.metadata(id);
        self.rejected(category, metadata, verdict, reason).await;
    }

    async fn rejected(
        &mut self,
        category: &'static str,
        metadata: CommandMetadata<Wire>,
        verdict: Verdict,
        reason: &[u8],
    ) {
        let id = metadata.aggregate;
        let version = self.events.get(&(category, id)).map_or(0, Vec::len) as u64;
        let body = OutcomeBody {
            metadata: metadata.clone(),
            version,
            verdict,
            reason: Reason(reason.to_vec()),
        };
        let end = self.write(category, Self::partition_of(id), Body::Outcome(body)).await + 1;
        let name = if verdict == Verdict::Rejected { "rejected" } else { "unchanged" };
        let expected =
            (id, name, i64::try_from(version).expect("few"), i64::try_from(end).expect("few"));
        self.outcomes.insert(metadata.command, expected);
    }

    /// One on every partition.
    pub async fn barriers(&mut self) {
        for category in self.categories.clone() {
            for partition in 0..PARTITIONS {
                self.write(category, partition, Body::Barrier).await;
            }
        }
    }

    /// Of both topics of every category.
    pub fn partitions(&self) -> Vec<Partition> {
        let all = |name: fn(&str, u32) -> Partition| {
            self.categories
                .iter()
                .flat_map(move |category| (0..PARTITIONS).map(move |index| name(category, index)))
        };
        all(Self::partition).chain(all(Self::queue)).collect()
    }

    fn partition_at(topic_partition: &TopicPartition) -> Partition {
        match topic_partition.source {
            Source::Events => Self::partition(&topic_partition.category, topic_partition.partition),
            Source::Commands => Self::queue(&topic_partition.category, topic_partition.partition),
        }
    }

    /// A runner of all projections that was assigned everything; the sender tells it of changes.
    pub fn runner<S: Store<Tx = PostgresTx>>(
        &self,
        store: S,
        limits: Limits,
    ) -> (Runner<S>, mpsc::UnboundedSender<MembershipEvent>) {
        self.runner_on(self.log.clone(), self.partitions(), store, limits)
    }

    /// The same with these partitions alone, as this log says them.
    pub fn runner_on<S: Store<Tx = PostgresTx>>(
        &self,
        log: Arc<dyn Log>,
        partitions: Vec<Partition>,
        store: S,
        limits: Limits,
    ) -> (Runner<S>, mpsc::UnboundedSender<MembershipEvent>) {
        self.runner_of((self.projections)().all(), log, partitions, store, limits)
    }

    /// The same of these projections.
    pub fn runner_of<S: Store<Tx = PostgresTx>>(
        &self,
        projections: Vec<Arc<dyn Projection<PostgresTx>>>,
        log: Arc<dyn Log>,
        partitions: Vec<Partition>,
        store: S,
        limits: Limits,
    ) -> (Runner<S>, mpsc::UnboundedSender<MembershipEvent>) {
        let (changes, events) = mpsc::unbounded_channel();
        changes.send(MembershipEvent::Assigned(partitions)).expect("a runner");
        let membership = Membership {
            events,
            leave: Box::new(|_| Box::pin(std::future::ready(()))),
            commit: Arc::new(|_| {}),
        };
        let assignment = Assignment::new(membership, self.topics.clone());
        let runner = Uuid::from_u128(RUNNERS.fetch_add(1, Ordering::Relaxed).into());
        (Runner::new(store, log, projections, assignment, limits, runner), changes)
    }

    /// Projects everything that is in the log.
    pub async fn project(&self, pool: &PgPool, batch_events: usize) {
        let limits = Limits { batch_events, ..Limits::default() };
        let (mut runner, _changes) = self.runner(PostgresStore::new(pool.clone()), limits);
        self.to_the_end(&mut runner).await;
        assert!(halted(&runner).is_empty(), "{:?}", halted(&runner));
    }

    /// One partition after the other, so that nothing of the next one comes before the end of the
    /// last one.
    pub async fn project_in_turn(&self, pool: &PgPool, partitions: Vec<Partition>) {
        for partition in partitions {
            let (mut runner, _changes) = self.runner_on(
                self.log.clone(),
                vec![partition.clone()],
                PostgresStore::new(pool.clone()),
                Limits::default(),
            );
            let end = self.log.end(&partition).await.expect("an end");
            let readers = self.readers_of(&partition);
            let stepping = async {
                loop {
                    let reached = runner.progress().all();
                    if reached.len() == readers && reached.values().all(|offset| *offset >= end) {
                        return;
                    }
                    if matches!(runner.step().await, Step::Waiting | Step::CaughtUp) {
                        runner.wait().await;
                    }
                }
            };
            tokio::time::timeout(PATIENCE, stepping).await.expect("projected in time");
        }
    }

    fn readers_of(&self, partition: &Partition) -> usize {
        let mut names = partition.topic.split('.').skip(1);
        let category = names.next().expect("a category");
        let source = if names.next() == Some("events") { Source::Events } else { Source::Commands };
        let reads = |projection: &dyn Projection<PostgresTx>| {
            projection.source() == source && projection.categories().contains(&category)
        };
        (self.projections)().all().iter().filter(|projection| reads(&***projection)).count()
    }

    /// Steps until every projection has everything, or has halted. Returns how often a step failed.
    pub async fn to_the_end<S: Store<Tx = PostgresTx>>(&self, runner: &mut Runner<S>) -> usize {
        let mut failed = 0;
        let stepping = async {
            loop {
                match runner.step().await {
                    Step::Waiting | Step::CaughtUp
                        if self.is_projected(&runner.progress()).await =>
                    {
                        return;
                    }
                    Step::Waiting | Step::CaughtUp => runner.wait().await,
                    Step::Failed => failed += 1,
                    Step::Projected { .. } | Step::Resumed | Step::Verified => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, stepping).await.expect("everything is projected in time");
        failed
    }

    /// How many the projections have.
    pub fn checkpoints(&self) -> usize {
        let all = (self.projections)().all();
        let readers: usize = all.iter().map(|projection| projection.categories().len()).sum();
        readers * usize::try_from(PARTITIONS).expect("few")
    }

    /// Whether a runner knows that everything is projected, or halted.
    pub async fn is_projected(&self, progress: &Progress) -> bool {
        let (reached, halted) = (progress.all(), progress.all_halted());
        let known: BTreeSet<_> = reached.keys().chain(halted.keys()).collect();
        if known.len() < self.checkpoints() {
            return false;
        }
        for (key, offset) in &reached {
            let end =
                self.log.end(&Self::partition_at(&key.topic_partition)).await.expect("an end");
            if *offset < end && !halted.contains_key(key) {
                return false;
            }
        }
        true
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Best effort: the folder lies under the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn halted<S: Store>(runner: &Runner<S>) -> BTreeSet<Key> {
    runner.progress().all_halted().into_keys().collect()
}

/// Everything that projections wrote, as comparable text; `own` are the tables of the application.
pub async fn dump(pool: &PgPool, own: &[&str]) -> String {
    let mut all = String::new();
    for table in own.iter().chain(&["snapshots", "outcomes", "operations", "checkpoints"]) {
        let rows = sqlx::query_scalar::<_, String>(AssertSqlSafe(format!(
            "SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1"
        )));
        for row in rows.fetch_all(pool).await.expect("rows") {
            all.push_str(&format!("{table} {row}\n"));
        }
    }
    all
}

pub fn event(event_type: &str, version: u32, data: Value) -> RecordedEvent {
    RecordedEvent {
        event_type: event_type.to_owned().into(),
        schema: format!("{event_type}.v{version}").into(),
        data: data.to_string().into_bytes(),
    }
}

fn encode(category: &str, entry: &Entry<Wire>) -> Record {
    wire::encode(entry, &format!("/test/{category}"), Uuid::from_u128(5))
}

#[track_caller]
pub fn pretty_eq(found: &str, expected: &str) {
    let missing: Vec<&str> = expected.lines().filter(|line| !found.contains(line)).collect();
    let extra: Vec<&str> = found.lines().filter(|line| !expected.contains(line)).collect();
    assert!(found == expected, "missing: {missing:#?}\nextra: {extra:#?}");
}
