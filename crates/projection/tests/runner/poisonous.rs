//! One event in a hundred cannot be applied: how far the others are behind meanwhile, and what a
//! retry makes of it. `HIGHWATER_POISON_EVENTS` says how many events there are, and
//! `HIGHWATER_POISON_RATE` how many a second.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use highwater_log::{LocalLog, Log, Reply, Ticket};
use highwater_projection::{
    parked::{self, Retried},
    runner::{
        Failure, Key, Limits, PostgresStore, PostgresTx, Progress, Projection, Slice, Step,
        TopicPartition,
    },
};
use highwater_protocol::{
    entry::{Body, CommandMetadata, Entry, EventBody, Part},
    time::Micros,
    wire::{self, Fingerprint, Meta, Wire},
};
use highwater_tables::{
    parked::{Filter, list},
    postgres::Connections,
};
use serde_json::json;
use sqlx::PgPool;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    tables::{projections, tables},
    world::{PARTITIONS, World, event, halted},
};

const EVENTS_OF_ONE: u64 = 10;
/// Of every so many aggregates one has an event that cannot be applied.
const ONE_IN: u128 = 10;
const TICK: Duration = Duration::from_millis(20);
/// Before it others are to see an event.
const LAG: Duration = Duration::from_secs(1);

/// `counters`, which does not apply some.
struct Poisoned {
    inner: Arc<dyn Projection<PostgresTx>>,
    is_mended: Arc<AtomicBool>,
}

impl Projection<PostgresTx> for Poisoned {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn categories(&self) -> &[&'static str] {
        self.inner.categories()
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        let is_bad = |slice: &Slice<'_>| {
            slice.events().any(|(_, event)| {
                // Now an early one of its aggregate, and now a late one.
                let id = event.metadata.aggregate.as_u128();
                let bad = id / ONE_IN % u128::from(EVENTS_OF_ONE) + 1;
                id.is_multiple_of(ONE_IN) && u128::from(event.version) == bad
            })
        };
        if !self.is_mended.load(Ordering::Relaxed) && slices.iter().any(is_bad) {
            let why = Failure::Deterministic("it cannot be counted".to_owned());
            return Box::pin(std::future::ready(Err(why)));
        }
        self.inner.apply(tx, slices)
    }
}

/// A writer of every partition, faster than one command at a time.
struct Writer {
    log: Arc<LocalLog>,
    seqs: Vec<u64>,
    /// When each record was appended, by partition and offset above the fence.
    appended: Vec<Vec<Instant>>,
    fences: Vec<u64>,
}

impl Writer {
    async fn of(world: &World) -> Self {
        let partitions = usize::try_from(PARTITIONS).expect("few");
        let log = world.log.clone();
        let mut writer = Self {
            log,
            seqs: vec![0; partitions],
            appended: vec![Vec::new(); partitions],
            fences: Vec::new(),
        };
        for index in 0..PARTITIONS {
            let partition = World::partition("counter", index);
            writer.fences.push(Log::end(&*writer.log, &partition).await.expect("an end"));
            writer.append(&[(index, Body::Fence)]).await;
        }
        writer
    }

    async fn append(&mut self, records: &[(u32, Body<Wire>)]) {
        let (to, mut reports) = mpsc::unbounded_channel();
        for (index, body) in records {
            let at = usize::try_from(*index).expect("few");
            let seq = matches!(body, Body::Event(_)).then(|| self.seqs[at]);
            self.seqs[at] += u64::from(seq.is_some());
            let entry = Entry {
                epoch: 2,
                writer: Uuid::from_u128(77),
                seq,
                drained: None,
                body: body.clone(),
            };
            let record = wire::encode(&entry, "/test/counter", Uuid::from_u128(5));
            let reply = Reply { ticket: Ticket { writer: Uuid::nil(), seq }, to: to.clone() };
            self.log.append(&World::partition("counter", *index), record, reply).expect("accepted");
            self.appended[at].push(Instant::now());
        }
        for _ in records {
            reports.recv().await.expect("a report").result.expect("appended");
        }
    }

    /// Whether everything is projected.
    fn has_all(&self, progress: &Progress) -> bool {
        (0_u32..).zip(&self.appended).zip(&self.fences).all(|((index, appended), fence)| {
            let topic_partition = TopicPartition::of_events("counter", index);
            let reached = progress.offset(&Key { projection: "counters", topic_partition });
            reached.is_some_and(|reached| reached >= fence + appended.len() as u64)
        })
    }

    /// How long the oldest event waits that is not projected yet.
    fn lag(&self, progress: &Progress) -> Duration {
        let of = |index: u32| {
            let topic_partition = TopicPartition::of_events("counter", index);
            let reached = progress.offset(&Key { projection: "counters", topic_partition })?;
            let at = usize::try_from(index).ok()?;
            let next = reached.saturating_sub(self.fences[at]);
            Some(self.appended[at].get(usize::try_from(next).ok()?)?.elapsed())
        };
        (0..PARTITIONS).filter_map(of).max().unwrap_or_default()
    }
}

fn counted(number: u64, aggregates: u64) -> (u32, Body<Wire>) {
    let id = Uuid::from_u128(0x9000_0000 + u128::from(number % aggregates));
    let metadata = CommandMetadata {
        aggregate: id,
        command: Uuid::from_u128((1 << 100) + u128::from(number)),
        fingerprint: Fingerprint { key_number: 1, hmac: [0; 32] },
        meta: Meta::default(),
        source: None,
    };
    let count = i64::try_from(number).expect("small");
    let event = event("counter.counted", 1, json!({"by": 1, "count": count}));
    let (version, time) = (number / aggregates + 1, Micros(1_700_000_000_000_000));
    let body = EventBody { metadata, version, part: Part::WHOLE, time, event };
    (World::partition_of(id), Body::Event(body))
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

async fn counters(pool: &PgPool) -> Vec<String> {
    let sql = "SELECT to_jsonb(c)::text FROM counters c ORDER BY id";
    sqlx::query_scalar(sql).fetch_all(pool).await.expect("rows")
}

fn only_counters(is_mended: &Arc<AtomicBool>) -> Vec<Arc<dyn Projection<PostgresTx>>> {
    let inner = projections().all().into_iter().find(|projection| projection.name() == "counters");
    vec![Arc::new(Poisoned { inner: inner.expect("counters"), is_mended: is_mended.clone() })]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: bin/long"]
async fn with_one_bad_event_in_a_hundred_the_others_are_less_than_a_second_behind() {
    let (events, rate) =
        (number("HIGHWATER_POISON_EVENTS", 100_000), number("HIGHWATER_POISON_RATE", 1_000));
    let (world, pool) = (World::new().await, tables("poisonous").await);
    let is_mended = Arc::new(AtomicBool::new(false));
    let all = only_counters(&is_mended);
    let limits = Limits { parked_most: events, handoff: Duration::ZERO, ..Limits::default() };
    let (runner, _changes) = world.runner_of(
        all.clone(),
        world.log.clone(),
        world.partitions(),
        PostgresStore::new(pool.clone()),
        limits.clone(),
    );
    let (progress, stop) = (runner.progress(), CancellationToken::new());
    let running = tokio::spawn(runner.run(stop.clone()));
    let mut writer = Writer::of(&world).await;
    let (began, mut written, mut lags) = (Instant::now(), 0, Vec::new());
    let mut ticks = tokio::time::interval(TICK);
    while written < events {
        ticks.tick().await;
        let due = u64::try_from(began.elapsed().as_millis()).expect("short") * rate / 1_000;
        let batch: Vec<_> = (written..due.min(events))
            .map(|number| counted(number, events / EVENTS_OF_ONE))
            .collect();
        written = due.min(events).max(written);
        writer.append(&batch).await;
        lags.push(writer.lag(&progress));
    }
    while !writer.has_all(&progress) {
        lags.push(writer.lag(&progress));
        ticks.tick().await;
    }
    let took = began.elapsed();
    stop.cancel();
    running.await.expect("it ends");
    assert!(progress.all_halted().is_empty(), "{:?}", progress.all_halted());
    let mut connection = pool.acquire().await.expect("a connection");
    let found = list(&mut connection, &Filter::default()).await.expect("what is parked");
    drop(connection);
    lags.sort_unstable();
    let longest = lags.last().copied().unwrap_or_default();
    let of_a_hundred = |part: usize| lags.get(lags.len() * part / 100).copied();
    println!(
        "{events} events in {took:.1?}, {} aggregates parked; lag {:.3?} (half), {:.3?} (99 of \
         100), {longest:.3?} (longest)",
        found.len(),
        of_a_hundred(50).unwrap_or_default(),
        of_a_hundred(99).unwrap_or_default(),
    );
    assert_eq!(found.len() as u64, events / EVENTS_OF_ONE / u64::try_from(ONE_IN).expect("small"));

    is_mended.store(true, Ordering::Relaxed);
    let (connections, retrying) = (Connections::from(pool.clone()), Instant::now());
    let log: &LocalLog = &world.log;
    let topic = World::partition("counter", 0).topic;
    for aggregate in &found {
        let retried = parked::retry(log, &topic, &*all[0], &connections, aggregate).await;
        let waited = usize::try_from(aggregate.commits).expect("few");
        assert_eq!(retried.expect("it is tried"), Retried::Applied(waited));
    }
    println!("retried in {:.1?}", retrying.elapsed());
    let fresh = tables("poisonous_fresh").await;
    let store = PostgresStore::new(fresh.clone());
    let (mut runner, _changes) =
        world.runner_of(all, world.log.clone(), world.partitions(), store, limits);
    while !writer.has_all(&runner.progress()) {
        if matches!(runner.step().await, Step::Waiting | Step::CaughtUp) {
            runner.wait().await;
        }
    }
    assert!(halted(&runner).is_empty(), "{:?}", halted(&runner));
    assert!(counters(&pool).await == counters(&fresh).await, "the tables differ");
    assert!(longest < LAG, "{longest:?} behind");
}
