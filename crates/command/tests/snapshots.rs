//! What projection `snapshots` left in Postgres, as an owner reads it: nothing that is not there
//! may look like something that never was.
#![expect(clippy::expect_used, reason = "a test that cannot be set up must fail")]

#[path = "../../tables/tests/support/postgres.rs"]
mod postgres;

use highwater_command::owner::snapshots::{Error, PostgresSnapshots, Snapshots, TypedSnapshots};
use highwater_protocol::{
    domain::{Decision, Domain, Durable, Unreadable},
    time::Micros,
    wire::{Reason, RecordedEvent, Wire},
    writer::Snapshot,
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

const CHECKPOINT: u64 = 40;
const ENOUGH: usize = 1 << 20;

/// Its state is a byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bytes;

impl Domain<Wire> for Bytes {
    type State = u8;
    type Command = ();

    fn must_exist(&self, (): &()) -> bool {
        false
    }

    fn decide(
        &self,
        _: Option<&u8>,
        (): &(),
        _: Micros,
    ) -> Result<Decision<u8, RecordedEvent>, Reason> {
        Ok(Decision::Nothing)
    }

    fn evolve(&self, state: Option<&u8>, _: &RecordedEvent) -> Result<u8, Unreadable> {
        Ok(state.copied().unwrap_or(0))
    }
}

impl Durable for Bytes {
    const FORMAT: i16 = 2;

    fn serialize(&self, state: &u8) -> Vec<u8> {
        vec![*state]
    }

    fn deserialize(&self, serialized: &[u8]) -> Result<u8, Unreadable> {
        let malformed = || Unreadable::Malformed {
            what: "a byte".into(),
            why: format!("{} bytes", serialized.len()),
        };
        <[u8; 1]>::try_from(serialized).map(|[byte]| byte).map_err(|_| malformed())
    }
}

/// The tables, and `snapshots` of partition 0 at [`CHECKPOINT`].
async fn tables(test: &str) -> (PgPool, TypedSnapshots<Bytes>) {
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .connect_with(postgres::database(test).await)
        .await
        .expect("a connection");
    highwater_tables::migrations::migrate(&pool, None).await.expect("the tables");
    sqlx::query(
        "INSERT INTO checkpoints (projection, generation, category, partition, next_offset, epoch, \
         next_seq, drained, sealed)
         VALUES ('snapshots', 1, 'thing', 0, $1, 1, 0, 0, false), ('operations', 1, 'thing', 0, $1 \
         + 1, 1, 0, 0, false)",
    )
    .bind(i64::try_from(CHECKPOINT).expect("small"))
    .execute(&pool)
    .await
    .expect("a checkpoint");
    let snapshots =
        TypedSnapshots::new(PostgresSnapshots::new(pool.clone().into(), "thing"), Bytes);
    (pool, snapshots)
}

async fn store(
    pool: &PgPool,
    category: &str,
    id: u128,
    format: i16,
    (state, unreadable): (Option<&[u8]>, Option<&str>),
) {
    sqlx::query(
        "INSERT INTO snapshots (category, aggregate_id, partition, version, format, state, \
         unreadable) VALUES ($1, $2, 0, 3, $3, $4, $5)",
    )
    .bind(category)
    .bind(Uuid::from_u128(id))
    .bind(format)
    .bind(state)
    .bind(unreadable)
    .execute(pool)
    .await
    .expect("a snapshot");
}

/// Else its commands would be decided as if it did not exist.
#[tokio::test]
async fn an_aggregate_whose_state_cannot_be_read_is_there_all_the_same() {
    let (pool, snapshots) = tables("snapshots_unreadable").await;
    let unreadable = Snapshot::Unreadable { version: 3 };
    let cases = [
        (1, "thing", 2, (Some(&[7_u8][..]), None), Some(Snapshot::State { version: 3, state: 7 })),
        (2, "thing", 2, (None, Some("version 9 follows 7")), Some(unreadable.clone())),
        (3, "thing", 1, (Some(&[7]), None), Some(unreadable.clone())),
        (4, "thing", 2, (Some(&[7, 7]), None), Some(unreadable)),
        (5, "other", 2, (Some(&[7]), None), None),
    ];
    for (id, category, format, stored, _) in &cases {
        store(&pool, category, *id, *format, *stored).await;
    }
    let ids =
        cases.iter().map(|(id, ..)| Uuid::from_u128(*id)).chain([Uuid::from_u128(6)]).collect();
    let mut loaded = snapshots.load(0, ids, Vec::new()).await.expect("what is there");
    loaded.aggregates.sort_by_key(|(id, _)| *id);
    let expected: Vec<_> = cases
        .into_iter()
        .filter_map(|(id, .., snapshot)| Some((Uuid::from_u128(id), snapshot?)))
        .collect();
    assert_eq!((loaded.checkpoint, loaded.aggregates), (CHECKPOINT, expected));
}

/// What lies between would be neither in the filter nor read from the log.
#[tokio::test]
async fn a_filter_that_fell_behind_the_place_of_an_owner_is_none() {
    let (pool, snapshots) = tables("snapshots_fell_back").await;
    for from in [0, CHECKPOINT - 1, CHECKPOINT] {
        let filter = snapshots.dedup_filter(0, from, ENOUGH).await.expect("as far as it goes");
        assert!(!filter.may_contain(Uuid::from_u128(1)), "from offset {from}");
    }
    let fell_back = snapshots.dedup_filter(0, CHECKPOINT + 1, ENOUGH).await;
    assert!(
        matches!(fell_back, Err(Error::FellBack { from: 41, checkpoint: CHECKPOINT })),
        "{:?}",
        fell_back.err()
    );
    let nothing = snapshots.dedup_filter(1, 1, ENOUGH).await;
    assert!(
        matches!(nothing, Err(Error::FellBack { from: 1, checkpoint: 0 })),
        "{:?}",
        nothing.err()
    );
    sqlx::query("DELETE FROM checkpoints WHERE projection = 'snapshots'")
        .execute(&pool)
        .await
        .expect("emptied");
    assert!(matches!(
        snapshots.dedup_filter(0, 1, ENOUGH).await,
        Err(Error::FellBack { from: 1, checkpoint: 0 })
    ));
}

/// Of what came since the filter was written, no more than so many outcomes are read.
const MOST_SINCE: i64 = 400_000;

async fn outcomes(pool: &PgPool, from: i64, until: i64) {
    sqlx::query(
        "INSERT INTO outcomes (command_id, category, partition, aggregate_id, fingerprint_key,
                               fingerprint, verdict, version, next_offset)
         SELECT lpad(to_hex(n), 32, '0')::uuid, 'thing', 0,
                'ffffffff-ffff-ffff-ffff-000000000001', 1, '', 'unchanged', 1, n
         FROM generate_series($1::bigint, $2 - 1) n",
    )
    .bind(from)
    .bind(until)
    .execute(pool)
    .await
    .expect("outcomes");
}

/// One that holds a part of them would say of the others that no owner has seen them.
#[tokio::test]
async fn of_more_outcomes_than_are_read_there_is_no_filter() {
    let (pool, snapshots) = tables("snapshots_many").await;
    for (from, until) in [(1, 11), (11, MOST_SINCE + 2)] {
        outcomes(&pool, from, until).await;
        let filter = snapshots.dedup_filter(0, 0, 16 << 20).await.expect("as many as there are");
        let lacks = (1..until)
            .find(|id| !filter.may_contain(Uuid::from_u128(u128::from(id.unsigned_abs()))));
        assert_eq!(lacks, None, "of {} outcomes", until - 1);
        assert_eq!(filter.may_contain(Uuid::max()), until > MOST_SINCE, "{} outcomes", until - 1);
    }
}
