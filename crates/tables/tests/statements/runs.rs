//! The runs of runners.

use highwater_tables::runs::{Attempt, Run, attempt, begin, end, find, live_on};

use super::{id, key, tables};

fn over(first: u64, dead: &[u128]) -> Attempt {
    Attempt { first, end: first + 4, dead: dead.iter().copied().map(id).collect() }
}

fn run(runner: u128, attempt: Option<Attempt>, applying: bool) -> Option<Run> {
    Some(Run { runner: id(runner), attempt, applying })
}

#[tokio::test]
async fn a_run_is_one_runners_until_that_ends_it_or_another_begins() {
    let pool = tables("statements_runs").await;
    let mut connection = pool.acquire().await.expect("a connection");
    let keys = [key("b", 1), key("a", 1), key("b", 0)];
    assert_eq!(find(&mut connection, &keys).await.expect("runs"), [None, None, None]);
    let begun = [(keys[0], None), (keys[1], Some(over(3, &[7, 8])))];
    begin(&mut connection, id(1), &begun).await.expect("begun");
    let found = find(&mut connection, &keys).await.expect("runs");
    let expected = [run(1, None, false), run(1, Some(over(3, &[7, 8])), false), None];
    assert_eq!(found, expected);

    // What is another's stays as it is, and so does what is not asked for.
    attempt(&mut connection, id(2), keys[0], &(9..13)).await.expect("noted");
    attempt(&mut connection, id(1), keys[1], &(7..11)).await.expect("noted");
    attempt(&mut connection, id(1), keys[2], &(7..11)).await.expect("noted");
    end(&mut connection, id(2), &keys).await.expect("ended");
    let found = find(&mut connection, &keys).await.expect("runs");
    assert_eq!(found, [run(1, None, false), run(1, Some(over(7, &[])), true), None]);

    begin(&mut connection, id(2), &[(keys[1], None), (keys[2], None)]).await.expect("begun");
    end(&mut connection, id(1), &keys).await.expect("ended");
    let found = find(&mut connection, &keys).await.expect("runs");
    assert_eq!(found, [None, run(2, None, false), run(2, None, false)]);
}

#[tokio::test]
async fn those_that_ended_over_the_same_are_known_and_those_that_live_are_not_among_them() {
    let pool = tables("statements_runs_dead").await;
    let mut connection = pool.acquire().await.expect("a connection");
    let keys = [key("a", 1), key("a", 0)];
    let begun = [(keys[0], Some(over(3, &[7, 8]))), (keys[1], Some(over(3, &[7])))];
    begin(&mut connection, id(1), &begun).await.expect("begun");
    let rest = run(1, Some(over(3, &[7])), false);
    // Each step: what is done, and the run of the first key then.
    attempt(&mut connection, id(1), keys[0], &(3..7)).await.expect("noted");
    let found = find(&mut connection, &keys).await.expect("runs");
    assert_eq!(found, [run(1, Some(over(3, &[7, 8])), true), rest.clone()]);
    live_on(&mut connection, id(7), keys[0]).await.expect("it lives");
    let found = find(&mut connection, &keys).await.expect("runs");
    assert_eq!(found, [run(1, Some(over(3, &[8])), true), rest.clone()]);
    live_on(&mut connection, id(1), keys[0]).await.expect("it lives");
    let found = find(&mut connection, &keys).await.expect("runs");
    assert_eq!(found, [run(1, Some(over(3, &[8])), false), rest.clone()]);
    for other in [3..6, 2..6] {
        begin(&mut connection, id(1), &begun).await.expect("begun");
        attempt(&mut connection, id(1), keys[0], &other).await.expect("noted");
        let found = find(&mut connection, &keys[..1]).await.expect("runs");
        let attempt = Attempt { first: other.start, end: other.end, dead: Vec::new() };
        assert_eq!(found, [run(1, Some(attempt), true)]);
    }
}
