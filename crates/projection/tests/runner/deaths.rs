//! An event that the process does not survive, with the tables that say so. A process dies when its
//! runner is dropped in the middle of a transaction.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use highwater_log::{LocalLog, Log};
use highwater_projection::{
    parked::{self, Retried},
    runner::{
        Failure, Limits, PostgresStore, PostgresTx, Projection, Slice, Source, Start,
        TopicPartition,
    },
};
use highwater_tables::{
    parked::{Filter, list},
    postgres::Connections,
};
use sqlx::PgPool;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    tables::{dump, projections, tables},
    world::{World, halted},
};

const KILLER: Uuid = Uuid::from_u128(0x2006);

/// `vouchers`, which does not survive what was withdrawn of one of them.
struct Deadly {
    inner: Arc<dyn Projection<PostgresTx>>,
    is_mended: Arc<AtomicBool>,
    died: Arc<Notify>,
}

impl Projection<PostgresTx> for Deadly {
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
        let kills = |slice: &Slice<'_>| {
            slice.events().any(|(_, event)| {
                event.event.event_type == "voucher.withdrawn" && event.metadata.aggregate == KILLER
            })
        };
        let dies = self.name() == "vouchers"
            && !self.is_mended.load(Ordering::Relaxed)
            && slices.iter().any(kills);
        if dies {
            self.died.notify_one();
            return Box::pin(std::future::pending());
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

/// One process: whether it lives until all is projected.
async fn lives(
    world: &World,
    pool: &PgPool,
    projections: &[Arc<dyn Projection<PostgresTx>>],
    died: &Notify,
) -> bool {
    let log: Arc<dyn Log> = world.log.clone();
    let (store, limits) =
        (PostgresStore::new(pool.clone()), Limits { parked_most: 100, ..Limits::default() });
    let (mut runner, _changes) =
        world.runner_of(projections.to_vec(), log, world.partitions(), store, limits);
    let lives = tokio::select! {
        _ = world.to_the_end(&mut runner) => true,
        () = died.notified() => false,
    };
    assert!(halted(&runner).is_empty(), "{:?}", halted(&runner));
    lives
}

#[tokio::test]
async fn what_kills_the_process_is_parked_on_the_third_death_over_it_and_applied_after_the_mend() {
    let mut world = World::new().await;
    world.live(0..24).await;
    let pool = tables("deaths").await;
    let (is_mended, died) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let deadly = |inner| -> Arc<dyn Projection<PostgresTx>> {
        Arc::new(Deadly { inner, is_mended: is_mended.clone(), died: died.clone() })
    };
    let all: Vec<_> = projections().all().into_iter().map(deadly).collect();
    let mut deaths = 0;
    while !lives(&world, &pool, &all, &died).await {
        deaths += 1;
        assert!(deaths < 10, "each one dies");
    }
    // Over a batch, over what is the projection's of it, and three times over the commit.
    assert_eq!(deaths, 5);
    let found = async || {
        let mut connection = pool.acquire().await.expect("a connection");
        list(&mut connection, &Filter::default()).await.expect("what is parked")
    };
    let parked = found().await;
    let said: Vec<_> =
        parked.iter().map(|one| (one.projection.as_str(), one.id, one.error.as_str())).collect();
    assert_eq!(said, [("vouchers", KILLER, "killed the process")]);

    is_mended.store(true, Ordering::Relaxed);
    let vouchers = all.iter().find(|projection| projection.name() == "vouchers").expect("it");
    let (topic, connections) =
        (World::partition(&parked[0].category, 0).topic, Connections::from(pool.clone()));
    let log: &LocalLog = &world.log;
    let retried = parked::retry(log, &topic, &**vouchers, &connections, &parked[0]).await;
    assert_eq!(retried.expect("it is tried"), Retried::Applied(1));
    let reference = tables("deaths_reference").await;
    world.project(&reference, 5_000).await;
    assert_eq!(dump(&pool).await, dump(&reference).await);
}

#[tokio::test]
async fn a_process_that_ends_in_good_order_leaves_no_run_and_one_that_does_not_leaves_its_runs() {
    let mut world = World::new().await;
    world.live(0..6).await;
    let pool = tables("runs").await;
    let runs = async || {
        let sql = "SELECT count(*) FROM projection_runs";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await.expect("a number")
    };
    for ends in [false, true] {
        let store = PostgresStore::new(pool.clone());
        let limits = Limits { handoff: Duration::ZERO, ..Limits::default() };
        let (mut runner, _changes) = world.runner(store, limits);
        world.to_the_end(&mut runner).await;
        assert!(runs().await > 0);
        if ends {
            let stop = tokio_util::sync::CancellationToken::new();
            stop.cancel();
            runner.run(stop).await;
            assert_eq!(runs().await, 0);
        }
    }
}
