use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use highwater_log::{LocalLog, Membership, local};
use highwater_protocol::{position::Position, wire::Wire};
use highwater_tables::{
    parked,
    runs::{Attempt, Run},
};
use proptest::prelude::*;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    super::{
        Assignment, Failure, Group, Job, Key, Limits, Move, Projection, Slice, Step,
        TopicPartition, Topics,
        consumers::{Attempts, Consumer},
    },
    *,
};
use crate::documented::Row;

/// A database that is away, and how often it was tried.
#[derive(Clone, Default)]
struct Away(Arc<AtomicU32>);

fn away<T>() -> Result<T, Failure> {
    Err(Failure::Unreachable("away".to_owned()))
}

impl Store for Away {
    type Tx = ();

    fn begin(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { away() })
    }

    fn load<'a>(
        &'a self,
        (): &'a mut (),
        _: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>> {
        Box::pin(async { away() })
    }

    fn lock<'a>(
        &'a self,
        (): &'a mut (),
        _: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>> {
        Box::pin(async { away() })
    }

    fn reset<'a>(&'a self, (): &'a mut (), _: &'a Key) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { away() })
    }

    fn parked<'a>(
        &'a self,
        (): &'a mut (),
        _: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<parked::Count>, Failure>> {
        Box::pin(async { away() })
    }

    fn parked_among<'a>(
        &'a self,
        (): &'a mut (),
        _: &'a Key,
        _: &'a [Uuid],
    ) -> BoxFuture<'a, Result<BTreeMap<Uuid, bool>, Failure>> {
        Box::pin(async { away() })
    }

    fn park<'a>(
        &'a self,
        (): &'a mut (),
        _: &'a Key,
        _: &'a parked::Commit,
        _: &'a parked::Cause,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { away() })
    }

    fn wait<'a>(
        &'a self,
        (): &'a mut (),
        _: &'a Key,
        _: &'a [parked::Commit],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { away() })
    }

    fn runs<'a>(
        &'a self,
        (): &'a mut (),
        _: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Run>>, Failure>> {
        Box::pin(async { away() })
    }

    fn begin_runs<'a>(
        &'a self,
        (): &'a mut (),
        _: Uuid,
        _: &'a [(Key, Option<Attempt>)],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { away() })
    }

    fn note<'a>(
        &'a self,
        (): &'a mut (),
        _: Uuid,
        _: &'a Key,
        _: &'a Range<u64>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { away() })
    }

    fn live_on<'a>(
        &'a self,
        (): &'a mut (),
        _: Uuid,
        _: &'a Key,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { away() })
    }

    fn end_runs<'a>(
        &'a self,
        (): &'a mut (),
        _: Uuid,
        _: &'a [Key],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { away() })
    }

    fn advance<'a>(&'a self, (): &'a mut (), _: &'a [Move]) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { away() })
    }

    fn commit<'a>(&'a self, (): (), _: Option<&'a str>) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { away() })
    }
}

struct Counts;

impl Projection<()> for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    fn categories(&self) -> &[&'static str] {
        &["thing"]
    }

    fn apply<'a>(
        &'a self,
        (): &'a mut (),
        _: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { away() })
    }
}

/// Milliseconds from now; what is below 0 has passed.
type At = Option<i64>;

/// What stands in the runner when it begins to wait.
#[derive(Clone, Debug)]
struct Times {
    retry: At,
    verify: At,
    note: At,
    others_first: At,
    leaving: At,
    resume: Option<At>,
    queued: bool,
}

fn at() -> impl Strategy<Value = At> {
    prop_oneof![Just(None), Just(Some(-1)), Just(Some(0)), (1_i64..12_000).prop_map(Some)]
}

fn times() -> impl Strategy<Value = Times> {
    (at(), at(), at(), at(), at(), proptest::option::of(at()), any::<bool>()).prop_map(
        |(retry, verify, note, others_first, leaving, resume, queued)| Times {
            retry,
            verify,
            note,
            others_first,
            leaving,
            resume,
            queued,
        },
    )
}

fn runner(
    store: Away,
    folder: &std::path::Path,
) -> (Runner<Away>, mpsc::UnboundedSender<highwater_log::MembershipEvent>) {
    let log = Arc::new(LocalLog::open(folder, local::Settings::default()).expect("a log"));
    let (changes, events) = mpsc::unbounded_channel();
    let membership =
        Membership { events, leave: Box::new(|_| Box::pin(async {})), commit: Arc::new(|_| {}) };
    let assignment = Assignment::new(membership, Topics::of("test", &["thing"]));
    (
        Runner::new(
            store,
            log,
            vec![Arc::new(Counts)],
            assignment,
            Limits::default(),
            Uuid::from_u128(1),
        ),
        changes,
    )
}

impl Times {
    fn put_into(&self, runner: &mut Runner<Away>) {
        let base = Instant::now();
        let instant = |ms: i64| {
            let by = Duration::from_millis(ms.unsigned_abs());
            if ms < 0 { base - by } else { base + by }
        };
        let topic_partition = || TopicPartition::of_events("thing", 0);
        let (schedule, handoff) = (&mut runner.schedule, &mut runner.handoff);
        (schedule.retry_at, schedule.verify_at) =
            (self.retry.map(instant), self.verify.map(instant));
        (schedule.note_at, handoff.others_first) =
            (self.note.map(instant), self.others_first.map(instant));
        handoff
            .leaving
            .extend(self.leaving.map(|ms| (TopicPartition::of_events("thing", 1), instant(ms))));
        let consumer = self.resume.map(|ms| {
            (Consumer::of(topic_partition()), Attempts { failed: 0, not_before: ms.map(instant) })
        });
        runner.consumers.waiting.extend(consumer);
        if self.queued {
            let key = Key {
                projection: "counts",
                topic_partition: TopicPartition::of_events("thing", 2),
            };
            let to = Position { offset: 7, ..Position::start() };
            let job =
                Job { key, from: Position::start(), to, items: Arc::from([]), first: 0, end: 0 };
            runner.schedule.queue.push_back(Group::of(vec![job]));
        }
    }
}

/// Turns as [`Runner::run`] takes them, for a while of the paused clock.
#[derive(Debug, Default)]
struct Turns {
    taken: u32,
    /// Waits that ended at once, though the step before and the step after had nothing to do.
    in_vain: u32,
    waits: u32,
}

async fn turns(runner: &mut Runner<Away>, within: Duration) -> Turns {
    let (until, mut turns, mut idle) = (Instant::now() + within, Turns::default(), false);
    while Instant::now() < until && turns.taken < 10_000 {
        turns.taken += 1;
        let step = runner.step().await;
        let waits = matches!(step, Step::Waiting | Step::CaughtUp);
        turns.in_vain += u32::from(waits && std::mem::take(&mut idle));
        if waits {
            let began = Instant::now();
            let _ = tokio::time::timeout_at(until, runner.wait()).await;
            turns.waits += 1;
            idle = began.elapsed().is_zero();
        }
    }
    turns
}

#[test]
fn no_wait_is_for_something_that_the_next_step_does_not_do() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let folder = std::env::temp_dir().join(format!("highwater-due-{}", std::process::id()));
    let cases = ProptestConfig { cases: 400, ..ProptestConfig::default() };
    let store = Away::default();
    let (mut runner, _changes) = runtime.block_on(async {
        // Nothing passed before there was a clock.
        tokio::time::advance(Duration::from_secs(60)).await;
        runner(store.clone(), &folder)
    });
    let tested = std::cell::RefCell::new(&mut runner);
    proptest!(cases, |(times in times())| {
        let mut runner = tested.borrow_mut();
        runner.consumers.waiting.clear();
        runner.handoff.leaving.clear();
        runner.schedule.queue.clear();
        let (turns, tries) = runtime.block_on(async {
            times.put_into(&mut runner);
            let before = store.0.load(Ordering::Relaxed);
            let turns = turns(&mut runner, Duration::from_secs(60)).await;
            (turns, store.0.load(Ordering::Relaxed) - before)
        });
        prop_assert_eq!(turns.in_vain, 0, "{:?}", &turns);
        // One turn more for what a step did, and at most one attempt of each kind for each wait.
        prop_assert!(turns.taken <= 3 * (turns.waits + 1), "{:?}", &turns);
        prop_assert!(tries <= 3 * (turns.waits + 1), "{tries} tries: {:?}", &turns);
        // The waits grow, so a minute is not full of them.
        prop_assert!(tries <= 400, "{tries} tries in a minute");
    });
    drop(runner);
    let _ = std::fs::remove_dir_all(&folder);
    Row {
        id: "L2",
        situation: "a database that answers and refuses, with every combination of what a runner \
                    has due: again after a failure, a check, the lag, a partition of others, or \
                    nothing",
        answer: "no wait ends for something that the next step does not do; at most three turns \
                 and three tries a wait, and at most 400 tries a minute",
        test: (file!(), "no_wait_is_for_something_that_the_next_step_does_not_do"),
    }
    .check();
}
