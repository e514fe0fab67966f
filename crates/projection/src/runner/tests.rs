//! Runners on a log and a store in memory, in every sequence of what may happen, against what a
//! naive fold of the log says.

mod alone;
mod beginning;
mod choices;
mod contested;
mod deaths;
mod ending;
pub mod history;
mod memory;
mod parks;
mod shown;
mod single;
mod standstill;
mod turns;
mod waiting;

use std::sync::Arc;

use choices::Choices;
use history::{Act, History};
use memory::{Budget, Tables, topic_partition};
use proptest::prelude::*;
use turns::{Events, Play};

use super::Key;

/// Small, and with one of everything.
fn short() -> Arc<History> {
    Arc::new(History::of(&[
        Act::Fence,
        Act::Commit(2),
        Act::Void,
        Act::Mixed(2),
        Act::Outcome,
        Act::Torn(2),
        Act::Commit(1),
        Act::Barrier,
    ]))
}

fn play(histories: Vec<Arc<History>>, runners: usize) -> Play {
    Play {
        visible: usize::MAX,
        histories,
        queues: Vec::new(),
        projections: vec!["a", "b"],
        of_queues: Vec::new(),
        tables: Tables::default(),
        runners,
        batch_events: 3,
        batch_bytes: usize::MAX,
        chunk: 2,
        budget: Budget::default(),
        events: Events::default(),
        poison: Vec::new(),
        killers: Vec::new(),
        parked_most: 0,
    }
}

/// The tables as they are when each projection stands at its offset.
fn tables(histories: &[Arc<History>], stands: &[(&'static str, u32, u64)]) -> Tables {
    let mut tables = Tables::default();
    for (projection, partition, offset) in stands {
        tables.stand(
            Key { projection, topic_partition: topic_partition(*partition) },
            &histories[*partition as usize],
            *offset,
        );
    }
    tables
}

/// Every run there is; how many.
#[track_caller]
fn all(play: &Play) -> usize {
    let (mut choices, mut runs) = (Choices::first(), 0);
    loop {
        let played = play.run(choices);
        runs += 1;
        if let Some(wrong) = played.wrong {
            panic!(
                "{wrong}\nin run {runs}, after {} turns, with {:?}",
                played.turns,
                played.choices.taken()
            );
        }
        match played.choices.next() {
            Some(next) => choices = next,
            None => return runs,
        }
    }
}

#[test]
fn projections_that_stand_apart_each_get_what_they_lack_once() {
    let history = short();
    let topic_partitions: Vec<u64> = history.positions.keys().copied().collect();
    let mut runs = 0;
    for (a, b) in
        topic_partitions.iter().flat_map(|a| topic_partitions.iter().map(move |b| (*a, *b)))
    {
        for (batch_events, chunk) in [(1, 1), (3, 2), (100, 100)] {
            let tables = tables(std::slice::from_ref(&history), &[("a", 0, a), ("b", 0, b)]);
            runs += all(&Play { tables, batch_events, chunk, ..play(vec![history.clone()], 1) });
        }
    }
    assert_eq!(runs, topic_partitions.len() * topic_partitions.len() * 3);
}

#[test]
fn two_runners_in_every_interleaving_project_everything_once() {
    let events = Events { switches: 2, ..Events::default() };
    let runs = all(&Play { events, ..play(vec![short()], 2) });
    assert!(runs > 100, "{runs} runs");
}

#[test]
fn two_runners_and_a_transaction_that_fails_in_every_interleaving() {
    let (events, budget) =
        (Events { switches: 1, ..Events::default() }, Budget { commits: 1, ..Budget::default() });
    let runs = all(&Play { events, budget, ..play(vec![short()], 2) });
    assert!(runs > 100, "{runs} runs");
}

#[test]
fn two_runners_and_an_event_that_cannot_be_applied_in_every_interleaving() {
    let (events, budget) =
        (Events { switches: 1, ..Events::default() }, Budget { commits: 1, ..Budget::default() });
    // The first commit, and the one behind the outcome.
    for poison in [1, 9] {
        let play = Play {
            poison: vec![("a", poison)],
            parked_most: 9,
            projections: vec!["a"],
            events,
            budget,
            ..play(vec![short()], 2)
        };
        assert!(all(&play) > 100, "{} runs", all(&play));
    }
}

#[test]
fn two_runners_and_a_store_that_falls_back_in_every_interleaving() {
    let events = Events { switches: 1, falls: 1, ..Events::default() };
    let runs = all(&Play { events, projections: vec!["a"], ..play(vec![short()], 2) });
    assert!(runs > 100, "{runs} runs");
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        1 => Just(Act::Fence),
        4 => (1_u32..4).prop_map(Act::Commit),
        1 => (2_u32..4).prop_map(Act::Mixed),
        1 => (2_u32..4).prop_map(Act::Torn),
        2 => Just(Act::Outcome),
        1 => Just(Act::Barrier),
        1 => Just(Act::Void),
    ]
}

fn history() -> impl Strategy<Value = Arc<History>> {
    (0_usize..3, prop::collection::vec(act(), 1..14)).prop_map(|(voids, acts)| {
        let before = std::iter::repeat_n(Act::Void, voids).chain([Act::Fence]);
        Arc::new(History::of(&before.chain(acts).collect::<Vec<_>>()))
    })
}

fn queue() -> impl Strategy<Value = Arc<History>> {
    prop::collection::vec(prop::bool::weighted(0.9), 0..12)
        .prop_map(|commands| Arc::new(History::of_queue(&commands)))
}

fn any_play() -> impl Strategy<Value = Play> {
    let logs = prop::collection::vec((history(), queue()), 1..3);
    let stands = prop::collection::vec(any::<prop::sample::Index>(), 10);
    let poison = prop::collection::btree_set(1_u64..20, 0..3);
    (logs, stands, 1_usize..3, 1_usize..6, 1_usize..4, 0_usize..12, poison).prop_map(
        |(logs, stands, runners, batch_events, chunk, visible, poison)| {
            let (histories, queues) = logs.into_iter().unzip();
            let events = Events {
                switches: 40,
                falls: 2,
                moves: 3,
                stops: 2,
                locks: 3,
                pauses: 3,
                forgets: 2,
            };
            let budget = Budget { commits: 4, begins: 3, fine: true };
            let (projections, of_queues) = (vec!["a", "b", "c"], vec!["d", "e"]);
            let poison = poison.into_iter().map(|first| ("b", first)).collect();
            let play = Play {
                queues,
                projections,
                of_queues,
                batch_events,
                chunk,
                visible,
                budget,
                events,
                poison,
                parked_most: 100,
                ..play(histories, runners)
            };
            let mut tables = Tables::default();
            for ((key, history), stand) in play.keys().into_iter().zip(stands) {
                // What is not there yet cannot have been projected.
                let there = |offset: &u64| *offset <= visible as u64;
                let topic_partitions: Vec<u64> =
                    history.positions.keys().copied().filter(there).collect();
                tables.stand(key, &history, topic_partitions[stand.index(topic_partitions.len())]);
            }
            Play { tables, ..play }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_everything_is_projected_once_and_in_sequence(
        play in any_play(),
        script in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let played = play.run(Choices::by_chance(script));
        prop_assert_eq!(played.wrong, None, "after {} turns with \
            {:?}", played.turns, played.choices.taken());
    }
}
