//! The runs of runners.

use highwater_tables::runs::{Attempt, Run, attempt, begin, end, find};

use super::{id, key, tables};

#[tokio::test]
async fn a_run_is_one_runners_until_that_ends_it_or_another_begins() {
    let pool = tables("statements_runs").await;
    let mut connection = pool.acquire().await.expect("a connection");
    let keys = [key("b", 1), key("a", 1), key("b", 0)];
    let over = |first, deaths| Attempt { first, end: first + 4, deaths };
    let run = |runner, attempt| Some(Run { runner: id(runner), attempt });
    assert_eq!(find(&mut connection, &keys).await.expect("runs"), [None; 3]);
    let begun = [(keys[0], None), (keys[1], Some(over(3, 2)))];
    begin(&mut connection, id(1), &begun).await.expect("begun");
    let found = find(&mut connection, &keys).await.expect("runs");
    assert_eq!(found, [run(1, None), run(1, Some(over(3, 2))), None]);

    // What is another's stays as it is, and so does what is not asked for.
    attempt(&mut connection, id(2), keys[0], over(9, 0)).await.expect("noted");
    attempt(&mut connection, id(1), keys[1], over(7, 1)).await.expect("noted");
    attempt(&mut connection, id(1), keys[2], over(7, 1)).await.expect("noted");
    end(&mut connection, id(2), &keys).await.expect("ended");
    let found = find(&mut connection, &keys).await.expect("runs");
    assert_eq!(found, [run(1, None), run(1, Some(over(7, 1))), None]);

    begin(&mut connection, id(2), &[(keys[1], None), (keys[2], None)]).await.expect("begun");
    end(&mut connection, id(1), &keys).await.expect("ended");
    let found = find(&mut connection, &keys).await.expect("runs");
    assert_eq!(found, [None, run(2, None), run(2, None)]);
}
