//! What cannot be applied waits in tables of its own, and is applied once it can be.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::BoxFuture;
use highwater_log::{
    Error, LocalLog, Log, Partition,
    raw::{RawReader, RawTopic},
};
use highwater_projection::{
    parked::{self, Retried},
    runner::{
        Failure, Limits, PostgresStore, PostgresTx, Projection, Slice, Source, Start,
        TopicPartition,
    },
};
use highwater_protocol::record::StoredRecord;
use highwater_tables::{
    parked::{Aggregate, Filter, list},
    postgres::Connections,
};
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    tables::{dump, projections, tables},
    world::{PARTITIONS, World, event, halted},
};

/// A projection with a bug: it does not apply what was withdrawn of vouchers with even numbers, and
/// quotes them.
struct Buggy {
    inner: Arc<dyn Projection<PostgresTx>>,
    is_mended: Arc<AtomicBool>,
}

impl Projection<PostgresTx> for Buggy {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn categories(&self) -> &[&'static str] {
        self.inner.categories()
    }

    fn tables(&self) -> Vec<&'static str> {
        self.inner.tables()
    }

    fn source(&self) -> Source {
        self.inner.source()
    }

    fn parks(&self) -> bool {
        self.inner.parks()
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        let is_bad = |slice: &Slice<'_>| {
            slice.events().any(|(_, event)| {
                event.event.event_type == "voucher.withdrawn"
                    && event.metadata.aggregate.as_u128().is_multiple_of(2)
            })
        };
        let fails = self.inner.parks()
            && !self.is_mended.load(Ordering::Relaxed)
            && slices.iter().any(is_bad);
        if fails {
            let why = "cannot take back 4711 of \"Jane Doe\"".to_owned();
            return Box::pin(std::future::ready(Err(Failure::Deterministic(why))));
        }
        self.inner.apply(tx, slices)
    }

    fn resume<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        topic_partition: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<Start, Failure>> {
        self.inner.resume(tx, topic_partition)
    }
}

/// A log that is read for the first time once others have acted.
struct Gate {
    log: Arc<LocalLog>,
    is_open: AtomicBool,
    asked: Notify,
    go_on: Notify,
}

impl Gate {
    fn before(log: &Arc<LocalLog>) -> Self {
        let is_open = AtomicBool::new(false);
        Self { log: log.clone(), is_open, asked: Notify::new(), go_on: Notify::new() }
    }
}

impl RawReader for Gate {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, Error>> {
        RawReader::topics(&*self.log)
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        RawReader::end(&*self.log, of)
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        let of = of.clone();
        Box::pin(async move {
            if !self.is_open.swap(true, Ordering::Relaxed) {
                self.asked.notify_one();
                self.go_on.notified().await;
            }
            RawReader::fetch(&*self.log, &of, offset, limit).await
        })
    }
}

struct Shop {
    world: World,
    pool: PgPool,
    projections: Vec<Arc<dyn Projection<PostgresTx>>>,
    is_mended: Arc<AtomicBool>,
}

impl Shop {
    async fn with_a_bug(test: &str) -> Self {
        let mut world = World::new().await;
        world.live(0..24).await;
        let is_mended = Arc::new(AtomicBool::new(false));
        let buggy = |inner| -> Arc<dyn Projection<PostgresTx>> {
            Arc::new(Buggy { inner, is_mended: is_mended.clone() })
        };
        let all = projections().all().into_iter().map(buggy).collect();
        Self { world, pool: tables(test).await, projections: all, is_mended }
    }

    async fn project(&self) {
        self.project_with(100).await;
    }

    async fn project_with(&self, parked_most: u64) {
        let limits = Limits { parked_most, ..Limits::default() };
        let log: Arc<dyn Log> = self.world.log.clone();
        let store = PostgresStore::new(self.pool.clone());
        let (mut runner, _changes) = self.world.runner_of(
            self.projections.clone(),
            log,
            self.world.partitions(),
            store,
            limits,
        );
        self.world.to_the_end(&mut runner).await;
        assert!(halted(&runner).is_empty(), "{:?}", halted(&runner));
    }

    async fn parked(&self) -> Vec<Aggregate> {
        let mut connection = self.pool.acquire().await.expect("a connection");
        list(&mut connection, &Filter::default()).await.expect("what is parked")
    }

    async fn retry(&self, aggregate: &Aggregate) -> Retried {
        let log: &LocalLog = &self.world.log;
        self.retry_from(log, aggregate).await
    }

    async fn retry_from(&self, log: &dyn RawReader, aggregate: &Aggregate) -> Retried {
        let projection = self
            .projections
            .iter()
            .find(|projection| projection.name() == aggregate.projection)
            .expect("its projection");
        let topic = World::partition(&aggregate.category, 0).topic;
        let pool = Connections::from(self.pool.clone());
        parked::retry(log, &topic, &**projection, &pool, aggregate).await.expect("it is tried")
    }

    /// The tables of the log without the bug.
    async fn expected(&self, test: &str) -> String {
        let reference = tables(test).await;
        self.world.project(&reference, 5_000).await;
        dump(&reference).await
    }
}

/// Of those that are withdrawn: `0x2000 + n` with n = 0, 6, 12, 18.
fn bad() -> BTreeSet<Uuid> {
    (0..24).step_by(6).map(|n| Uuid::from_u128(0x2000 + n)).collect()
}

#[tokio::test]
async fn after_the_mend_a_retry_gives_the_tables_of_the_log() {
    let mut shop = Shop::with_a_bug("parked").await;
    shop.project().await;
    let parked = shop.parked().await;
    for projection in ["vouchers", "worth_daily"] {
        let of = parked.iter().filter(|aggregate| aggregate.projection == projection);
        assert_eq!(of.map(|aggregate| aggregate.id).collect::<BTreeSet<_>>(), bad());
    }
    assert!(parked.iter().all(|one| (one.commits, one.attempts, one.version) == (1, 1, 2)));
    assert_eq!(parked.len(), 2 * bad().len());

    // What comes later of them waits behind that, and what comes of others does not.
    let late = Uuid::from_u128(0x2006);
    let given = event("voucher.given-away", 1, json!({"to": Uuid::from_u128(7)}));
    shop.world.commit("voucher", late, vec![given], 1).await;
    shop.world.live(24..30).await;
    shop.project().await;
    let waits = |parked: &[Aggregate]| {
        let of = parked.iter().filter(|one| one.id == late).map(|one| one.commits);
        of.collect::<Vec<_>>()
    };
    let parked = shop.parked().await;
    assert_eq!(waits(&parked), [2, 2]);
    assert_eq!(parked.len(), 2 * bad().len() + 2, "and 0x2018");

    // Not mended yet: nothing changes but what is known of it, and no data of events is.
    let before = dump(&shop.pool).await;
    let again = shop.retry(&parked[0]).await;
    let error = "cannot take back N of \"…\"".to_owned();
    assert_eq!(again, Retried::ParkedAgain(0, error.clone()));
    assert_eq!(dump(&shop.pool).await, before);
    let parked = shop.parked().await;
    assert_eq!((parked[0].attempts, &parked[0].error), (2, &error));
    let prints: BTreeSet<_> =
        parked.iter().map(|one| (&one.projection, &one.fingerprint)).collect();
    assert_eq!(prints.len(), 2, "{prints:?}");

    shop.is_mended.store(true, Ordering::Relaxed);
    for aggregate in &parked {
        let commits = usize::try_from(aggregate.commits).expect("few");
        assert_eq!(shop.retry(aggregate).await, Retried::Applied(commits));
        assert_eq!(shop.retry(aggregate).await, Retried::NothingWaits);
    }
    assert_eq!(shop.parked().await, []);
    let redeemed = event("voucher.redeemed", 1, json!({}));
    shop.world.commit("voucher", late, vec![redeemed], 1).await;
    shop.project().await;
    assert_eq!(dump(&shop.pool).await, shop.expected("parked_expected").await);
}

#[tokio::test]
async fn a_commit_behind_one_that_is_applied_may_be_parked_again() {
    let mut shop = Shop::with_a_bug("parked_again").await;
    // A commit that no code applies, behind one that the mend makes applicable.
    let (id, nonsense) =
        (Uuid::from_u128(0x2006), event("voucher.given-away", 1, json!({"to": 7})));
    shop.world.commit("voucher", id, vec![nonsense], 1).await;
    shop.project().await;
    shop.is_mended.store(true, Ordering::Relaxed);
    let of = |parked: Vec<Aggregate>| {
        let found = parked.into_iter().find(|one| one.projection == "vouchers" && one.id == id);
        found.expect("it is parked")
    };
    let first = of(shop.parked().await);
    assert_eq!(first.schema, "voucher.withdrawn.v1");
    let Retried::ParkedAgain(1, why) = shop.retry(&first).await else { panic!("it was not") };
    let second = of(shop.parked().await);
    assert_eq!(
        (second.schema.as_str(), second.commits, second.version),
        ("voucher.given-away.v1", 1, 3)
    );
    assert_eq!((second.error, second.attempts), (why, 2));
}

#[tokio::test]
async fn what_is_given_up_is_not_applied_and_kept_no_more() {
    let mut shop = Shop::with_a_bug("parked_given_up").await;
    shop.project().await;
    let pool = Connections::from(shop.pool.clone());
    for aggregate in shop.parked().await {
        assert!(parked::discard(&pool, &aggregate).await.expect("it is given up"));
    }
    shop.is_mended.store(true, Ordering::Relaxed);
    let given = event("voucher.given-away", 1, json!({"to": Uuid::from_u128(7)}));
    shop.world.commit("voucher", Uuid::from_u128(0x2006), vec![given], 1).await;
    shop.project().await;
    let parked = shop.parked().await;
    assert!(parked.iter().all(|one| one.commits == 0 && one.discarded_at.is_some()));
    assert_eq!(shop.retry(&parked[0]).await, Retried::NothingWaits);
    let at = "SELECT version FROM vouchers WHERE id = $1";
    let version: i64 = sqlx::query_scalar(at)
        .bind(Uuid::from_u128(0x2006))
        .fetch_one(&shop.pool)
        .await
        .expect("its row");
    assert_eq!(version, 1);
}

#[tokio::test]
async fn projectors_go_on_while_a_retry_reads_the_log_and_what_they_park_meanwhile_is_applied_too()
{
    let mut shop = Shop::with_a_bug("parked_meanwhile").await;
    shop.project().await;
    let late = Uuid::from_u128(0x2006);
    let given = event("voucher.given-away", 1, json!({"to": Uuid::from_u128(7)}));
    shop.world.commit("voucher", late, vec![given], 1).await;
    shop.is_mended.store(true, Ordering::Relaxed);
    let mut parked = shop.parked().await;
    // First the one whose partition the projectors are to move.
    parked.sort_by_key(|one| one.id != late);
    for (number, aggregate) in parked.iter().enumerate() {
        let gate = Gate::before(&shop.world.log);
        let others = async {
            gate.asked.notified().await;
            if number == 0 {
                shop.project().await;
            }
            gate.go_on.notify_one();
        };
        let (retried, ()) = tokio::join!(shop.retry_from(&gate, aggregate), others);
        let commits = if aggregate.id == late { 2 } else { 1 };
        assert_eq!(retried, Retried::Applied(commits), "{aggregate:?}");
    }
    assert_eq!(shop.parked().await, []);
    assert_eq!(dump(&shop.pool).await, shop.expected("parked_meanwhile_expected").await);
}

#[tokio::test]
async fn what_is_given_up_while_a_retry_reads_the_log_is_not_applied() {
    let shop = Shop::with_a_bug("parked_meanwhile_given_up").await;
    shop.project().await;
    shop.is_mended.store(true, Ordering::Relaxed);
    let (before, aggregate) = (dump(&shop.pool).await, shop.parked().await.remove(0));
    let (gate, pool) = (Gate::before(&shop.world.log), Connections::from(shop.pool.clone()));
    let others = async {
        gate.asked.notified().await;
        assert!(parked::discard(&pool, &aggregate).await.expect("it is given up"));
        gate.go_on.notify_one();
    };
    let (retried, ()) = tokio::join!(shop.retry_from(&gate, &aggregate), others);
    assert_eq!(retried, Retried::NothingWaits);
    assert_eq!(dump(&shop.pool).await, before);
}

#[tokio::test]
async fn what_is_given_up_leaves_room_for_others_to_be_parked() {
    let mut shop = Shop::with_a_bug("parked_room").await;
    // As many as there are on the partition that has the most.
    let on = |index: u32| bad().into_iter().filter(|id| World::partition_of(*id) == index).count();
    let full = (0..PARTITIONS).max_by_key(|index| on(*index)).expect("a partition");
    let most = on(full) as u64;
    shop.project_with(most).await;
    let pool = Connections::from(shop.pool.clone());
    for aggregate in shop.parked().await {
        parked::discard(&pool, &aggregate).await.expect("it is given up");
    }
    // One more is bad there, and halts nothing.
    let mut even = (0x4000..).step_by(2).map(Uuid::from_u128);
    let more = even.find(|id| World::partition_of(*id) == full).expect("one");
    let worth = json!({"day": "2026-11-01", "kind": "kind 0", "worth": 900});
    for (name, version) in [("voucher.issued", 2), ("voucher.withdrawn", 1)] {
        shop.world.commit("voucher", more, vec![event(name, version, worth.clone())], 1).await;
    }
    shop.project_with(most).await;
    let parked = shop.parked().await;
    let waits = parked.iter().filter(|one| one.discarded_at.is_none()).map(|one| one.id);
    assert_eq!(waits.collect::<BTreeSet<_>>(), [more].into());
}
