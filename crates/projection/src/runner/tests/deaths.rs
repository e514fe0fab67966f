//! Events that the process does not survive, and what the runners after it do about them. A process
//! dies when its runner is dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use highwater_log::MembershipEvent;
use proptest::prelude::*;
use tokio::time::Instant;

use super::{
    super::{Step, careful::MOST_DEATHS},
    alone::Alone,
    history::{Act, History, aggregate_at},
    memory::Budget,
    play,
    single::{SECOND, key, singles, stands},
    turns::Play,
};

/// Longer than any transaction of these runners, and shorter than any wait.
const NO_ANSWER: Duration = Duration::from_millis(1);

/// Steps for so long, unless the process dies: whether it lives.
async fn lives(alone: &mut Alone, time: Duration) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until {
        let Ok(step) = tokio::time::timeout(NO_ANSWER, alone.runner.step()).await else {
            assert!(alone.store.server().died, "a step has no end");
            return false;
        };
        if matches!(step, Step::Waiting | Step::CaughtUp) {
            let _ = tokio::time::timeout_at(until, alone.runner.wait()).await;
        }
    }
    true
}

/// One runner after the other, until one lives: it, and how many died.
async fn survivor(play: &Play, alone: Alone) -> (Alone, usize) {
    let (mut alone, mut deaths) = (alone, 0);
    while !lives(&mut alone, SECOND * 3).await {
        deaths += 1;
        assert!(deaths < 60, "each one dies");
        alone.store.server().died = false;
        let next = play.another(&alone.shelf, &alone.store);
        alone = next;
    }
    (alone, deaths)
}

/// Applied, and waiting.
fn firsts(alone: &Alone, projection: &'static str) -> (Vec<u64>, Vec<u64>) {
    let server = alone.store.server();
    let applied = server.tables.rows.get(&key(projection)).cloned().unwrap_or_default();
    let parked = server.tables.parked.get(&key(projection)).cloned().unwrap_or_default();
    let mut waits: Vec<u64> = parked.into_values().flatten().map(|shown| shown.first).collect();
    waits.sort_unstable();
    (applied.iter().map(|shown| shown.first).collect(), waits)
}

/// A long log, in which one event of the aggregate of the odd ones ends the process.
fn deadly(killer: u64, batch_events: usize) -> Play {
    let play = play(vec![singles(300)], 1);
    Play { killers: vec![("a", killer)], parked_most: 9, batch_events, chunk: 50, ..play }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_kills_is_parked_on_the_third_death_over_it_and_all_others_go_on() {
    for (batch_events, narrowing) in [(10, 1), (200, 2)] {
        let play = deadly(77, batch_events);
        let (alone, deaths) = survivor(&play, play.alone()).await;
        // The first is not known to be over anything.
        assert_eq!(deaths, 1 + narrowing + MOST_DEATHS, "batches of {batch_events}");
        let waits: Vec<u64> = (77..=300).filter(|first| first % 2 == 1).collect();
        let applied = (1..=300).filter(|first| !waits.contains(first));
        assert_eq!(firsts(&alone, "a"), (applied.collect(), waits));
        assert_eq!(firsts(&alone, "b"), ((1..=300).collect(), vec![]));
        assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (301, 301));
        assert!(alone.progress.all_halted().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_noted_but_after_a_death_and_then_no_longer_than_needed() {
    let play = Play { killers: Vec::new(), visible: 100, ..deadly(0, 20) };
    let mut alone = play.alone();
    assert!(lives(&mut alone, SECOND).await);
    assert_eq!(alone.store.server().notes, 0);
    // In good order: as the group takes it back, and as the process ends.
    let taken = MembershipEvent::Revoked { partitions: play.partitions(), lost: false };
    alone.changes.send(taken).expect("a runner");
    assert!(lives(&mut alone, SECOND).await);
    let mut next = play.another(&alone.shelf, &alone.store);
    alone.shelf.grow(100);
    assert!(lives(&mut next, SECOND).await);
    assert_eq!((stands(&next, "a"), next.store.server().notes), (200, 0));
    next.runner.hand_off_all().await;
    assert!(next.store.server().runs.is_empty(), "{:?}", next.store.server().runs);
    // A death: the next one is careful until it has caught up.
    let mut dies = play.another(&alone.shelf, &alone.store);
    assert!(lives(&mut dies, SECOND).await);
    drop(dies.runner);
    alone.shelf.grow(10);
    let mut careful = play.another(&alone.shelf, &alone.store);
    assert!(lives(&mut careful, SECOND).await);
    let noted = alone.store.server().notes;
    assert!(noted > 0, "it is careful");
    while alone.shelf.grow(10) {
        assert!(lives(&mut careful, SECOND).await);
    }
    assert_eq!((stands(&careful, "a"), alone.store.server().notes), (301, noted));
}

#[tokio::test(start_paused = true)]
async fn what_kills_a_projection_that_does_not_park_halts_it_and_is_tried_again_by_the_next() {
    let strict = Play { projections: vec!["strict", "b"], ..deadly(7, 10) };
    let play = Play { killers: vec![("strict", 7)], ..strict };
    let (mut alone, deaths) = survivor(&play, play.alone()).await;
    assert_eq!(deaths, 2 + MOST_DEATHS);
    assert_eq!(alone.progress.all_halted().get(&key("strict")), Some(&7));
    assert_eq!((stands(&alone, "strict"), stands(&alone, "b")), (7, 301));
    alone.runner.hand_off_all().await;
    alone.store.server().killers.clear();
    let mut mended = play.another(&alone.shelf, &alone.store);
    assert!(lives(&mut mended, SECOND * 3).await);
    assert_eq!(stands(&mended, "strict"), 301);
}

/// Whose transactions fail for a while, one that parks and one that does not.
async fn take_from_each_other(projection: &'static str) {
    let busy = Play { projections: vec![projection, "b"], ..deadly(0, 1) };
    let play = Play { killers: Vec::new(), histories: vec![singles(20)], ..busy };
    let mut dies = play.alone();
    dies.store.server().busy.insert(projection, 10_000);
    assert!(lives(&mut dies, SECOND).await);
    drop(dies.runner);
    let (shelf, store) = (&dies.shelf, &dies.store);
    // More than the deaths that park.
    let mut runners: Vec<Alone> =
        (0..MOST_DEATHS + 2).map(|_| play.another(shelf, store)).collect();
    let assigned = || MembershipEvent::Assigned(play.partitions());
    let taken = || MembershipEvent::Revoked { partitions: play.partitions(), lost: false };
    let many = runners.len();
    for turn in 0..3 * many {
        let (has, had) = (turn % many, (turn + many - 1) % many);
        runners[has].changes.send(assigned()).expect("a runner");
        assert!(lives(&mut runners[has], SECOND).await);
        runners[had].changes.send(taken()).expect("a runner");
        assert!(lives(&mut runners[had], SECOND).await);
    }
    assert!(store.server().notes > 12, "they are careful");
    store.server().busy.clear();
    let last = runners.last_mut().expect("a runner");
    assert!(lives(last, SECOND * 3).await);
    assert!(last.progress.all_halted().is_empty(), "{projection}");
    assert_eq!(firsts(last, projection), ((1..=20).collect(), vec![]));
}

#[tokio::test(start_paused = true)]
async fn runners_that_take_a_partition_from_each_other_are_not_taken_for_dead() {
    for projection in ["a", "strict"] {
        take_from_each_other(projection).await;
    }
}

fn any_history() -> impl Strategy<Value = Arc<History>> {
    let act = prop_oneof![
        6 => (1_u32..3).prop_map(Act::Commit),
        1 => Just(Act::Void),
        1 => Just(Act::Outcome),
    ];
    prop::collection::vec(act, 1..60).prop_map(|acts| {
        Arc::new(History::of(&std::iter::once(Act::Fence).chain(acts).collect::<Vec<_>>()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Some of them end for no reason, too, in the middle of anything, which parks nothing.
    #[test]
    fn whatever_kills_is_parked_and_nothing_else_is(
        history in any_history(),
        killers in prop::collection::btree_set(1_u64..80, 0..3),
        batch_events in 1_usize..30,
        kills in prop::collection::vec((1_usize..40, 0_usize..12), 0..4),
    ) {
        let killers: BTreeSet<u64> =
            killers.into_iter().filter(|first| history.is_commit(*first)).collect();
        let play = Play {
            killers: killers.iter().map(|first| ("a", *first)).collect(),
            parked_most: 99,
            batch_events,
            budget: Budget { fine: true, ..Budget::default() },
            ..play(vec![history.clone()], 1)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let wrong = runtime.block_on(async {
            let mut alone = play.alone();
            for (steps, polls) in kills {
                for _ in 0..steps {
                    if tokio::time::timeout(NO_ANSWER, alone.runner.step()).await.is_err() {
                        break;
                    }
                }
                // What has died does nothing more.
                if !alone.store.server().died {
                    let mut step = pin!(alone.runner.step());
                    (0..polls).any(|_| step.as_mut().now_or_never().is_some());
                }
                alone.store.server().died = false;
                alone = play.another(&alone.shelf, &alone.store);
            }
            let (alone, _) = survivor(&play, alone).await;
            let server = alone.store.server();
            if let Some(wrong) = &server.wrong {
                return Some(wrong.clone());
            }
            let parked = server.tables.parked.get(&key("a")).cloned().unwrap_or_default();
            let first = |id| killers.iter().copied().find(|first| aggregate_at(*first) == id);
            let ids: BTreeSet<_> = killers.iter().map(|first| aggregate_at(*first)).collect();
            let right = parked.keys().copied().collect::<BTreeSet<_>>() == ids
                && parked.iter().all(|(id, all)| first(*id) == all.first().map(|one| one.first));
            let end = history.positions.keys().last().copied();
            let at = server.tables.checkpoints.get(&key("a")).map(|at| at.offset);
            let others = server.tables.parked.get(&key("b"));
            let right = right && others.is_none_or(BTreeMap::is_empty);
            (!right || at != end).then(|| format!("{parked:?}, {others:?} at {at:?} of {end:?}"))
        });
        prop_assert_eq!(wrong, None);
    }
}
