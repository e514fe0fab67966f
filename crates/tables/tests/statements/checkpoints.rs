use std::time::Duration;

use highwater_protocol::position::Position;
use highwater_tables::{
    Malformed, ReadError,
    changes::{self, notify},
    checkpoints::{
        CHANNEL, Checkpoint, Error, Key, Moves, ProjectionOffset, advance, all, find, live_offsets,
        lock, make, offsets, offsets_of, position, reset,
    },
};
use sqlx::postgres::PgListener;

use super::{at, id, key, project, run, tables};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn checkpoints_are_found_in_the_sequence_in_which_they_are_asked_for() {
    let pool = tables("statements_found").await;
    let mut connection = pool.acquire().await.expect("a connection");
    let keys = [key("b", 1), key("a", 1), key("b", 0)];
    assert_eq!(find(&mut connection, &keys).await.expect("rows"), [None, None, None]);
    make(&mut connection, &keys[..1]).await.expect("made");
    let start = || Some(Position::start());
    assert_eq!(find(&mut connection, &keys).await.expect("rows"), [start(), None, None]);
    for (offset, key) in (5..).zip(&keys[1..]) {
        project(&pool, *key, offset).await;
    }
    // What is there stays.
    make(&mut connection, &keys).await.expect("made");
    let found = find(&mut connection, &keys).await.expect("rows");
    assert_eq!(found, [start(), Some(at(5)), Some(at(6))]);
    reset(&mut connection, keys[1]).await.expect("reset");
    let found = find(&mut connection, &keys).await.expect("rows");
    assert_eq!(found, [start(), start(), Some(at(6))]);
}

#[tokio::test]
async fn those_move_that_are_where_they_were_said_to_be() {
    let pool = tables("statements_moved").await;
    let mut connection = pool.acquire().await.expect("a connection");
    let keys = [key("a", 0), key("a", 1), key("a", 2)];
    for key in keys {
        project(&pool, key, 5).await;
    }
    let of_another_log = Position { identity: Some(id(2)), ..at(5) };
    let mut moves = Moves::default();
    for (key, from) in keys.into_iter().zip([at(5), at(4), of_another_log]) {
        moves.push(key, &from, &at(9)).expect("columns");
    }
    assert_eq!(advance(&mut connection, &moves).await.expect("moved"), 1);
    let found = find(&mut connection, &keys).await.expect("rows");
    assert_eq!(found, [Some(at(9)), Some(at(5)), Some(at(5))]);
}

#[tokio::test]
async fn what_is_locked_is_not_moved_meanwhile() {
    let pool = tables("statements_locked").await;
    let (one, other) = (key("a", 0), key("a", 1));
    for key in [one, other] {
        project(&pool, key, 5).await;
    }
    let mut holding = pool.begin().await.expect("a transaction");
    lock(&mut holding, &[one]).await.expect("locked");
    let mut connection = pool.acquire().await.expect("a connection");
    let to_nine = |key| {
        let mut moves = Moves::default();
        moves.push(key, &at(5), &at(9)).expect("columns");
        moves
    };
    assert!(advance(&mut connection, &to_nine(one)).await.is_err(), "it is locked");
    assert_eq!(advance(&mut connection, &to_nine(other)).await.expect("moved"), 1);
    holding.rollback().await.expect("unlocked");
    assert_eq!(advance(&mut connection, &to_nine(one)).await.expect("moved"), 1);
}

#[tokio::test]
async fn who_looks_sees_where_projections_are() {
    let pool = tables("statements_seen").await;
    project(&pool, key("a", 3), 5).await;
    project(&pool, key("b", 3), 6).await;
    run(
        &pool,
        "INSERT INTO checkpoints (projection, generation, category, partition, next_offset, epoch, \
         next_seq, drained, sealed) VALUES ('a', 2, 'thing', 4, 7, 8, 0, 0, false)",
    )
    .await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    let found = position(connection, "a", "thing", 3).await.expect("a position");
    assert_eq!(found, at(5));
    for (projection, category, partition) in
        [("c", "thing", 3), ("a", "other", 3), ("a", "thing", 4), ("a", "thing", u32::MAX)]
    {
        let found = position(connection, projection, category, partition).await;
        assert_eq!(found.expect("a position"), Position::start());
    }
    assert_eq!(offsets(connection, "a", "thing").await.expect("offsets"), [(3, 5)]);
    assert_eq!(offsets(connection, "a", "other").await.expect("offsets"), []);
    let live = |projection: &str, offset| {
        let (projection, category) = (projection.to_owned(), "thing".to_owned());
        ProjectionOffset { projection, category, partition: 3, offset }
    };
    let mut found = live_offsets(connection).await.expect("offsets");
    found.sort_by_key(|at| at.offset);
    assert_eq!(found, [live("a", 5), live("b", 6)]);
    let whole = ["b".to_owned()];
    let of = |projection: &str, category: &str, partition| {
        (projection.to_owned(), category.to_owned(), partition)
    };
    let named = [
        of("a", "thing", 3),
        of("a", "thing", 4),
        of("a", "other", 3),
        of("c", "thing", 3),
        of("a", "thing", u32::MAX),
    ];
    let found = offsets_of(connection, &[], &named).await.expect("offsets");
    assert_eq!(found, [live("a", 5)], "neither another generation nor what is not there");
    let found = offsets_of(connection, &whole, &named).await.expect("offsets");
    assert_eq!(found, [live("a", 5), live("b", 6)]);
    assert_eq!(offsets_of(connection, &[], &[]).await.expect("offsets"), []);
    let shown = |generation, projection: &str, partition, offset, epoch, writer| Checkpoint {
        generation,
        projection: projection.to_owned(),
        category: "thing".to_owned(),
        partition,
        offset,
        epoch,
        writer,
    };
    let mut found = all(connection).await.expect("checkpoints");
    found.sort_by_key(|at| at.offset);
    assert_eq!(
        found,
        [
            shown(1, "a", 3, 5, 3, Some(id(7))),
            shown(1, "b", 3, 6, 3, Some(id(7))),
            shown(2, "a", 4, 7, 8, None),
        ]
    );
}

#[tokio::test]
async fn what_no_fold_wrote_is_not_read_and_what_no_column_holds_is_not_written() {
    let pool = tables("statements_malformed").await;
    project(&pool, key("a", 0), 5).await;
    run(&pool, "UPDATE checkpoints SET witness_epoch = NULL").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    let half = |error: ReadError| {
        matches!(error, ReadError::Malformed(Malformed::Checkpoint(Error::HalfWitness)))
    };
    assert!(find(connection, &[key("a", 0)]).await.is_err_and(half));
    assert!(position(connection, "a", "thing", 0).await.is_err_and(half));
    assert_eq!(Key::new("a", "thing", u32::MAX), Err(Error::Partition));
    let mut moves = Moves::default();
    for (from, to) in [(at(u64::MAX), at(5)), (at(5), at(u64::MAX))] {
        assert_eq!(moves.push(key("a", 0), &from, &to), Err(Error::TooLarge("offset")));
    }
    assert_eq!(advance(connection, &moves).await.expect("nothing"), 0);
}

#[tokio::test]
async fn a_commit_tells_readers_of_positions_and_caches() {
    let pool = tables("statements_told").await;
    let mut listener = PgListener::connect_with(&pool).await.expect("a connection");
    listener.listen_all([CHANNEL, changes::CHANNEL]).await.expect("listening");
    let moved = (CHANNEL.to_owned(), String::new());
    let cached = (changes::CHANNEL.to_owned(), "a=thing/0@5:*".to_owned());
    for (changed, told) in
        [(None, vec![moved.clone()]), (Some("a=thing/0@5:*"), vec![cached, moved])]
    {
        let mut tx = pool.begin().await.expect("a transaction");
        notify(&mut tx, changed).await.expect("notified");
        tx.commit().await.expect("committed");
        let mut heard = Vec::new();
        for _ in &told {
            let one = tokio::time::timeout(PATIENCE, listener.recv()).await.expect("in time");
            let one = one.expect("a notification");
            heard.push((one.channel().to_owned(), one.payload().to_owned()));
        }
        heard.sort();
        assert_eq!(heard, told);
    }
}
