use highwater_tables::{
    Malformed, ReadError,
    checkpoints::SNAPSHOTS,
    dedup_filter::{Segment, delete_partition, last, load, upsert},
    outcomes,
};
use sqlx::PgConnection;

use super::{commit, id, key, project, run, tables};

/// The ids of these commands.
fn segment(number: u32, commands: std::ops::Range<u128>) -> Segment {
    let mut segment = Segment::empty(number);
    commands.for_each(|command| segment.add(id(command)));
    segment
}

/// Number, ids and bits.
fn parts(segment: &Segment) -> (u32, u64, Vec<u8>) {
    (segment.number(), segment.ids(), segment.to_bytes())
}

#[tokio::test]
async fn the_last_segment_is_read_as_it_was_written_last() {
    let pool = tables("statements_segments").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    assert!(last(connection, "thing", 0).await.expect("a row").is_none());
    for (partition, segment, covers) in [
        (0, segment(1, 0..10), 20),
        (0, segment(0, 20..30), 10),
        (0, segment(1, 0..12), 25),
        (1, segment(2, 0..5), 99),
    ] {
        upsert(connection, "thing", partition, &segment, covers).await.expect("written");
    }
    let (found, covers) = last(connection, "thing", 0).await.expect("a row").expect("it is there");
    assert_eq!((parts(&found), covers), (parts(&segment(1, 0..12)), 25));
    delete_partition(connection, "thing", 0).await.expect("gone");
    assert!(last(connection, "thing", 0).await.expect("a row").is_none());
    assert!(last(connection, "thing", 1).await.expect("a row").is_some());
    run(&pool, "UPDATE seen_filters SET bits = '\\x00'").await;
    let damaged = last(connection, "thing", 1).await;
    assert!(matches!(damaged, Err(ReadError::Malformed(Malformed::SegmentSize(_)))));
}

async fn decided(connection: &mut PgConnection, command: u128, end: u64) {
    let row = outcomes::Row::of_commit("thing", 0, &commit(command, command + 100, end));
    let row = row.expect("small numbers").expect("it has events");
    outcomes::insert(connection, &[row]).await.expect("written");
}

#[tokio::test]
async fn an_owner_loads_the_filter_and_what_came_since() {
    const ENOUGH: usize = 1 << 20;
    let pool = tables("statements_filter").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    let nothing = load(connection, "thing", 0, ENOUGH, 10).await.expect("a filter");
    assert_eq!((nothing.checkpoint, nothing.size_bytes), (0, 0));
    assert!(nothing.segments.is_empty() && nothing.since.is_empty());
    project(&pool, key(SNAPSHOTS, 0), 40).await;
    project(&pool, key("a", 0), 50).await;
    let segments = [segment(0, 0..10), segment(1, 10..20)];
    for (segment, covers) in segments.iter().zip([10, 20]) {
        upsert(connection, "thing", 0, segment, covers).await.expect("written");
    }
    for (command, end) in [(1, 20), (2, 21), (3, 22)] {
        decided(connection, command, end).await;
    }
    let found = load(connection, "thing", 0, ENOUGH, 10).await.expect("a filter");
    let size = segments.iter().map(Segment::size_bytes).sum::<usize>();
    assert_eq!((found.checkpoint, usize::try_from(found.size_bytes)), (40, Ok(size)));
    assert_eq!(
        found.segments.iter().map(parts).collect::<Vec<_>>(),
        segments.each_ref().map(parts)
    );
    let mut since = found.since;
    since.sort();
    assert_eq!(since, [[id(2), id(102)], [id(3), id(103)]]);
    // To the byte, and to the outcome.
    let exact = load(connection, "thing", 0, size, 1).await.expect("a filter");
    assert_eq!((exact.segments.len(), exact.since.len()), (2, 1));
    let less = load(connection, "thing", 0, size - 1, 10).await.expect("a filter");
    assert_eq!((less.segments.len(), usize::try_from(less.size_bytes)), (0, Ok(size)));
}
