//! What holds for the fold of every log: several writers, take-overs, torn commits, void records of
//! every sort.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

#[path = "arbitrary/logs.rs"]
mod logs;

use highwater_protocol::{
    entry::{Body, Entry},
    fold::{Effect, Fold, Gap, Void},
    position::Position,
    wire::Defect,
};
use logs::{Intended, Row, Small};
use proptest::{collection::vec, prelude::*, sample::Index, strategy::ValueTree};

/// A record's effect, and the position that could be stored after it.
type Step = (Effect<Small>, Position<Small>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn resumed_at_every_stored_position_it_equals_the_fold_in_one_go(log in logs::any()) {
        let rows = log.rows();
        let whole = run(Position::start(), &rows);
        let positions = std::iter::once(Position::start())
            .chain(whole.iter().map(|(_, position)| position.clone()));
        for position in positions {
            let resumed = run(position.clone(), &rows);
            prop_assert_eq!(&resumed[..], &whole[whole.len() - resumed.len()..], "resumed at \
                {:?}", position);
        }
    }

    #[test]
    fn void_records_inserted_anywhere_change_nothing_but_offsets(
        log in logs::any(),
        voids in vec((any::<Index>(), logs::void()), 1..20),
    ) {
        let rows = log.rows();
        // Each record with its place in the log without the inserted ones.
        let mut with: Vec<(Option<usize>, Row)> =
            rows.iter().cloned().enumerate().map(|(at, row)| (Some(at), row)).collect();
        for (at, void) in voids {
            with.insert(at.index(with.len() + 1), (None, void));
        }
        let places: Vec<Option<usize>> = with.iter().map(|(place, _)| *place).collect();
        let written: Vec<Row> = with.into_iter().map(|(_, row)| row).collect();
        let (before, after) = (run(Position::start(), &rows), run(Position::start(), &written));
        for (step, place) in after.iter().zip(&places) {
            match place {
                None => prop_assert!(matches!(step.0, Effect::Void(_)), "{:?}", step.0),
                Some(at) => prop_assert_eq!(&without(&places, step), &before[*at]),
            }
        }
    }

    #[test]
    fn without_its_void_records_a_log_says_the_same(log in logs::any()) {
        let rows = log.rows();
        let whole = run(Position::start(), &rows);
        let valid = |at: &usize| !matches!(whole[*at].0, Effect::Void(_));
        let kept: Vec<usize> = (0..rows.len()).filter(valid).collect();
        let alone = run(
            Position::start(),
            &kept.iter().map(|at| rows[*at].clone()).collect::<Vec<_>>(),
        );
        let places: Vec<Option<usize>> =
            (0..rows.len()).map(|at| kept.binary_search(&at).ok()).collect();
        for (step, at) in alone.iter().zip(&kept) {
            prop_assert_eq!(step, &without(&places, &whole[*at]));
        }
    }

    #[test]
    fn exactly_the_commits_that_a_writer_finished_become_visible(log in logs::any()) {
        let seen: Vec<Intended> = run(Position::start(), &log.rows())
            .into_iter()
            .filter_map(|(effect, _)| match effect {
                Effect::Commit(commit) => Some(
                    commit
                        .events
                        .iter()
                        .map(|e| (e.metadata.aggregate, e.metadata.command, e.version))
                        .collect(),
                ),
                _ => None,
            })
            .collect();
        prop_assert_eq!(seen, log.intended);
    }

    #[test]
    fn a_position_is_never_inside_a_commit_and_never_runs_ahead(log in logs::any()) {
        let rows = log.rows();
        let whole = run(Position::start(), &rows);
        let mut commits = whole.iter().filter_map(|(effect, _)| match effect {
            Effect::Commit(commit) => Some((commit.first, commit.end)),
            _ => None,
        });
        for (offset, (_, position)) in (0_u64..).zip(&whole) {
            prop_assert!(position.offset <= offset + 1);
            prop_assert!(position.witness.as_ref().is_none_or(|w| w.offset < position.offset));
            prop_assert!(
                commits
                    .clone()
                    .all(|(first, end)| position.offset <= first || end <= position.offset)
            );
        }
        prop_assert!(commits.all(|(first, end)| first < end));
    }

    #[test]
    fn arbitrary_entries_never_panic(
        rows in vec(logs::wild(), 0..40),
        from in logs::wild_position(),
    ) {
        run_from(from, &rows);
    }
}

#[test]
fn a_gap_is_refused_and_changes_nothing() {
    let mut fold = Fold::<Small>::resume(Position { offset: 5, ..Position::start() });
    let before = fold.clone();
    for found in [0, 4, 6, u64::MAX] {
        assert_eq!(fold.apply(found, Err(Defect::Value)), Err(Gap { expected: 5, found }));
        assert_eq!(fold, before);
    }
    assert!(fold.apply(5, Err(Defect::Value)).is_ok());
}

/// No record decodes to such an entry, but a driver could make one.
#[test]
fn only_a_fence_does_without_a_sequence() {
    for body in [Body::Barrier, Body::Sealed, Body::Unknown] {
        let mut fold = Fold::<Small>::new();
        let effect =
            fold.apply(0, Ok(Entry { epoch: 1, writer: 1, seq: None, drained: None, body }));
        assert_eq!(effect, Ok(Effect::Void(Void::Unexpected)));
    }
}

/// The strategies would be worth little if they never made what the properties are about.
#[test]
fn random_logs_have_torn_commits_and_voids_of_every_sort() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = logs::any();
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..300 {
        let log = strategy.new_tree(&mut runner).unwrap().current();
        for (effect, _) in run(Position::start(), &log.rows()) {
            let name = format!("{effect:?}");
            let name = name.split([' ', '{']).next().unwrap_or_default().to_owned();
            *seen.entry(name).or_default() += 1;
        }
    }
    for name in [
        "Void(Undecodable(Missing(\"hw-kind\")))",
        "Void(StaleFence)",
        "Void(Unexpected)",
        "Void(Sealed)",
        "Opened",
        "Ineffective",
        "Unknown",
        "Barrier",
        "Sealed",
    ] {
        assert!(seen.get(name).is_some_and(|n| *n >= 10), "{name} in {seen:?}");
    }
}

/// Folds `rows`, which begin at offset 0, from `position` on.
fn run(position: Position<Small>, rows: &[Row]) -> Vec<Step> {
    let skip = usize::try_from(position.offset).unwrap();
    run_from(position, &rows[skip..])
}

fn run_from(position: Position<Small>, rows: &[Row]) -> Vec<Step> {
    let mut fold = Fold::resume(position);
    let step = |row: &Row| {
        let offset = fold.next_offset();
        let effect = fold.apply(offset, row.clone()).unwrap_or_else(|gap| panic!("{gap}"));
        (effect, fold.position().clone())
    };
    rows.iter().map(step).collect()
}

/// The same step in the log without the records that have no place in it.
fn without(places: &[Option<usize>], (effect, position): &Step) -> Step {
    let below =
        |offset: u64| places[..usize::try_from(offset).unwrap()].iter().flatten().count() as u64;
    let mut position = position.clone();
    position.offset = below(position.offset);
    if let Some(witness) = &mut position.witness {
        witness.offset = below(witness.offset);
    }
    let mut effect = effect.clone();
    if let Effect::Commit(commit) = &mut effect {
        (commit.first, commit.end) = (below(commit.first), below(commit.end));
    }
    (effect, position)
}
