//! What is parked, as it is counted and found.

use highwater_tables::{
    checkpoints::{Collection, collection},
    parked::{
        Cause, Commit, Count, Filter, among, counts, discard, failed_again, list, park, wait,
    },
};

use super::{at, id, key, project, tables};

fn commit(aggregate: u128, first_offset: i64) -> Commit {
    Commit {
        aggregate: id(aggregate),
        first_offset,
        end_offset: first_offset + 1,
        epoch: 1,
        writer: id(9),
        last_seq: first_offset,
        events: 1,
    }
}

fn cause(error: &str) -> Cause {
    Cause { schema: "thing.made.v1".to_owned(), version: 2, error: error.to_owned() }
}

#[tokio::test]
async fn what_waits_and_what_was_given_up_are_counted_apart_and_each_projection_by_itself() {
    let pool = tables("statements_parked").await;
    let mut connection = pool.acquire().await.expect("a connection");
    let keys = [key("a", 0), key("b", 0), key("a", 1)];
    for (aggregate, first) in [(1, 3), (2, 5), (3, 8)] {
        park(&mut connection, keys[0], &commit(aggregate, first), &cause("bad")).await.expect("in");
    }
    park(&mut connection, keys[2], &commit(4, 1), &cause("bad")).await.expect("in");
    discard(&mut connection, keys[0], id(2)).await.expect("given up");
    let count = |waiting, discarded| Count { waiting, discarded };
    let found = counts(&mut connection, &keys).await.expect("counts");
    assert_eq!(found, [count(2, 1), count(0, 0), count(1, 0)]);
    let mut found = among(&mut connection, keys[0], &[id(1), id(2), id(4)]).await.expect("those");
    found.sort_unstable();
    assert_eq!(found, [(id(1), false), (id(2), true)]);

    // Lists hear of it with the checkpoints.
    for (offset, key) in (20..).zip(&keys) {
        project(&pool, *key, offset).await;
    }
    let mut of_a = collection(&mut connection, "a", "thing").await.expect("of a");
    of_a.offsets.sort_unstable();
    let offsets = vec![(0, at(20).offset), (1, at(22).offset)];
    assert_eq!(of_a, Collection { live: 1, parked: true, offsets });
    let of_b = collection(&mut connection, "b", "thing").await.expect("of b");
    assert_eq!(of_b, Collection { live: 1, parked: false, offsets: vec![(0, at(21).offset)] });
    let other = collection(&mut connection, "a", "other").await.expect("of another");
    assert_eq!(other, Collection { live: 1, parked: false, offsets: Vec::new() });
}

#[tokio::test]
async fn what_is_parked_says_from_where_on_also_after_it_failed_again() {
    let pool = tables("statements_parked_from").await;
    let mut connection = pool.acquire().await.expect("a connection");
    let key = key("a", 0);
    park(&mut connection, key, &commit(1, 3), &cause("bad")).await.expect("in");
    wait(&mut connection, key, &[commit(1, 6), commit(1, 7)]).await.expect("in");
    for (from, commits, attempts) in [(3, 3, 1), (6, 2, 2), (7, 1, 3)] {
        if attempts > 1 {
            let cause = cause("worse");
            failed_again(&mut connection, key, id(1), from, &cause).await.expect("noted");
        }
        let found = list(&mut connection, &Filter::default()).await.expect("it");
        let said: Vec<_> =
            found.iter().map(|one| (one.from_offset, one.commits, one.attempts)).collect();
        assert_eq!(said, [(from, commits, attempts)]);
    }
}
