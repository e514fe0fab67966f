//! What waits because it cannot be applied, and what goes on meanwhile.

use std::time::Duration;

use highwater_log::MembershipEvent;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::{
    history::aggregate_at,
    play,
    shown::{of, value},
    single::{SECOND, key, singles, stands},
    turns::Play,
};

/// An event of the first aggregate, and others before and after it of both.
fn poisoned(poison: u64, parked_most: u64) -> Play {
    Play { poison: vec![("a", poison)], parked_most, ..play(vec![singles(8)], 1) }
}

fn offsets(play: &super::alone::Alone, projection: &'static str) -> (Vec<u64>, Vec<u64>) {
    let server = play.store.server();
    let applied = server.tables.rows.get(&key(projection)).cloned().unwrap_or_default();
    let parked = server.tables.parked.get(&key(projection)).cloned().unwrap_or_default();
    let mut waits: Vec<u64> = parked.into_values().flatten().map(|shown| shown.first).collect();
    waits.sort_unstable();
    (applied.iter().map(|shown| shown.first).collect(), waits)
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_waits_with_all_that_follows_of_it_and_the_others_go_on() {
    let mut alone = poisoned(3, 10).alone();
    alone.go_on_for(SECOND).await;
    assert_eq!(offsets(&alone, "a"), (vec![1, 2, 4, 6, 8], vec![3, 5, 7]));
    assert_eq!(offsets(&alone, "b"), ((1..=8).collect(), vec![]));
    assert_eq!((stands(&alone, "a"), stands(&alone, "b")), (9, 9));
    assert!(alone.progress.all_halted().is_empty());
    assert!(alone.progress.failing(Duration::ZERO).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_comes_later_waits_also_for_another_runner() {
    let play = Play { visible: 4, ..poisoned(3, 10) };
    let mut alone = play.alone();
    alone.go_on_for(SECOND).await;
    assert_eq!(offsets(&alone, "a"), (vec![1, 2], vec![3]));
    let mut next = play.another(&alone.shelf, &alone.store);
    while alone.shelf.grow(1) {
        next.go_on_for(SECOND).await;
    }
    assert_eq!(offsets(&next, "a"), (vec![1, 2, 4, 6, 8], vec![3, 5, 7]));
}

#[tokio::test(start_paused = true)]
async fn more_than_may_be_parked_halt_the_projection_before_them() {
    let both = Play { poison: vec![("a", 3), ("a", 6)], ..poisoned(3, 1) };
    let mut alone = both.alone();
    alone.go_on_for(SECOND).await;
    assert_eq!(offsets(&alone, "a"), (vec![1, 2, 4], vec![3, 5]));
    assert_eq!(stands(&alone, "a"), 6);
    let halted = alone.progress.all_halted();
    assert_eq!(halted.get(&key("a")), Some(&6), "{halted:?}");
    assert_eq!(offsets(&alone, "b"), ((1..=8).collect(), vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_projection_that_others_depend_on_halts_before_what_it_cannot_apply() {
    let strict = Play { projections: vec!["strict", "b"], ..poisoned(3, 10) };
    let mut alone = Play { poison: vec![("strict", 3)], ..strict }.alone();
    alone.go_on_for(SECOND).await;
    assert_eq!(offsets(&alone, "strict"), (vec![1, 2], vec![]));
    assert_eq!(alone.progress.all_halted().get(&key("strict")), Some(&3));
    assert_eq!(offsets(&alone, "b"), ((1..=8).collect(), vec![]));
}

/// No transaction more, in which something would be parked and then not be.
#[tokio::test(start_paused = true)]
async fn where_none_may_be_parked_a_projection_halts_as_one_does_that_never_parks() {
    let mut begun = Vec::new();
    for (projection, most) in [("a", 0), ("strict", 10)] {
        let poison = vec![(projection, 3)];
        let play = Play { projections: vec![projection], poison, ..poisoned(3, most) };
        let mut alone = play.alone();
        alone.go_on_for(SECOND).await;
        assert_eq!(alone.progress.all_halted().get(&key(projection)), Some(&3));
        begun.push(alone.store.server().begins);
    }
    assert_eq!(begun[0], begun[1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_no_more_is_applied_again_and_shown_no_more() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let shown = || value(&recorder, &of("highwater_projection_parked", "a"));
    let play = Play { visible: 4, ..poisoned(3, 10) };
    let mut alone = play.alone();
    alone.go_on_for(SECOND).await;
    assert_eq!(shown(), Some(1.0));
    // Another runner finds them there.
    let mut alone = play.another(&alone.shelf, &alone.store);
    alone.go_on_for(SECOND).await;
    assert_eq!(shown(), Some(1.0));
    {
        // As an operator does it after the mend, in one transaction.
        let mut server = alone.store.server();
        server.poison.clear();
        let parked = server.tables.parked.remove(&key("a")).expect("it is parked");
        let shown = parked.into_values().flatten();
        server.tables.rows.entry(key("a")).or_default().extend(shown);
    }
    while alone.shelf.grow(1) {
        alone.go_on_for(SECOND).await;
    }
    assert_eq!(offsets(&alone, "a"), ((1..=8).collect(), vec![]));
    assert_eq!(shown(), Some(0.0));
    assert_ne!(aggregate_at(3), aggregate_at(4));
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_has_applied_is_shown_no_more_although_nothing_happens() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let shown = || value(&recorder, &of("highwater_projection_parked", "a"));
    let both = Play { poison: vec![("a", 3), ("a", 6)], ..poisoned(3, 10) };
    let mut alone = both.alone();
    alone.go_on_for(SECOND).await;
    assert_eq!(offsets(&alone, "a"), (vec![1, 2, 4], vec![3, 5, 6, 7, 8]));
    for (first, left) in [(3, 1_u32), (6, 0)] {
        assert_eq!(shown(), Some(f64::from(left + 1)));
        assert_eq!(alone.progress.all_parked().get(&key("a")), Some(&u64::from(left + 1)));
        {
            let mut server = alone.store.server();
            let parked = server.tables.parked.get_mut(&key("a")).expect("they are parked");
            let shown = parked.remove(&aggregate_at(first)).expect("it is parked");
            server.tables.rows.entry(key("a")).or_default().extend(shown);
        }
        alone.go_on_for(SECOND).await;
        assert_eq!(shown(), Some(f64::from(left)));
    }
    assert!(alone.progress.all_parked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_is_shown_by_the_runner_that_has_the_partition() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let shown = || value(&recorder, &of("highwater_projection_parked", "a"));
    let play = poisoned(3, 10);
    let mut alone = play.alone();
    alone.go_on_for(SECOND).await;
    assert_eq!(shown(), Some(1.0));
    let partitions = play.partitions();
    let taken = MembershipEvent::Revoked { partitions, lost: false };
    alone.changes.send(taken).expect("a runner");
    alone.go_on_for(SECOND).await;
    assert_eq!(shown(), Some(0.0));
    assert!(alone.progress.all_parked().is_empty());
}
