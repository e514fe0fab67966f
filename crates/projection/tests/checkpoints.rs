//! The store on Postgres, by itself: each checkpoint moves from where it was and not otherwise, all
//! of a transaction or none.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "../../tables/tests/support/postgres.rs"]
mod postgres;

use std::time::Duration;

use highwater_projection::{
    runner::{Failure, Key, Move, PostgresStore, PostgresTx, Store, TopicPartition},
    settings::DatabaseSettings,
};
use highwater_protocol::{
    position::{Position, Witness},
    time::Micros,
    wire::Wire,
};
use highwater_tables::migrations::migrate;
use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

struct Tables {
    pool: PgPool,
    store: PostgresStore,
}

async fn tables(test: &str) -> Tables {
    let options = postgres::database(test).await.options([("lock_timeout", "100")]);
    let pool =
        PgPoolOptions::new().max_connections(4).connect_with(options).await.expect("a connection");
    migrate(&pool, None).await.expect("the tables");
    Tables { store: PostgresStore::new(pool.clone()), pool }
}

fn key(projection: &'static str, partition: u32) -> Key {
    Key { projection, topic_partition: TopicPartition::of_events("thing", partition) }
}

/// A different value in every column.
fn at(offset: u64) -> Position<Wire> {
    let witness =
        Witness { offset: offset - 1, epoch: 4, writer: Uuid::from_u128(9), seq: Some(38) };
    Position {
        identity: Some(Uuid::from_u128(1)),
        offset,
        epoch: 3,
        writer: Some(Uuid::from_u128(7)),
        next_seq: 40,
        drained: 12,
        sealed: true,
        last_time: Some(Micros(1_795_383_264_123_456)),
        witness: Some(witness),
    }
}

fn step(key: Key, from: Position<Wire>, to: Position<Wire>) -> Move {
    Move { key, from, to }
}

impl Tables {
    async fn begin(&self) -> PostgresTx {
        self.store.begin().await.expect("a transaction")
    }

    async fn load(&self, keys: &[Key]) -> Vec<Position<Wire>> {
        let mut tx = self.begin().await;
        let stored = self.store.load(&mut tx, keys).await.expect("checkpoints");
        self.store.commit(tx, None).await.expect("a commit");
        stored
    }

    async fn advance(&self, moves: &[Move]) -> Result<(), Failure> {
        let mut tx = self.begin().await;
        self.store.advance(&mut tx, moves).await?;
        self.store.commit(tx, None).await
    }

    async fn count(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM checkpoints")
            .fetch_one(&self.pool)
            .await
            .expect("a number")
    }

    async fn run(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.pool).await.expect("done");
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_not_there_is_made_at_the_start_and_the_others_stay() {
    let tables = tables("made").await;
    let (a, b) = (key("a", 0), key("b", 0));
    assert_eq!(tables.load(std::slice::from_ref(&a)).await, [Position::start()]);
    tables.advance(&[step(a.clone(), Position::start(), at(5))]).await.expect("moved");
    assert_eq!(tables.load(&[a.clone(), b.clone()]).await, [at(5), Position::start()]);
    assert_eq!(tables.count().await, 2);
    // Nothing is made where everything is there: not even a lock is waited for.
    let mut holding = tables.pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE checkpoints IN SHARE MODE")
        .execute(&mut *holding)
        .await
        .expect("a lock");
    assert_eq!(tables.load(&[a.clone(), b]).await, [at(5), Position::start()]);
    let mut tx = tables.begin().await;
    let made = tables.store.load(&mut tx, &[a, key("c", 0)]).await;
    assert!(matches!(made, Err(Failure::Transient(_))), "{made:?}");
}

#[tokio::test]
async fn checkpoints_come_in_the_sequence_in_which_they_are_asked_for() {
    let tables = tables("sequence").await;
    let keys = [key("b", 1), key("a", 1), key("b", 0), key("a", 0)];
    tables.load(&keys).await;
    for (offset, key) in (10..).zip(&keys) {
        tables.advance(&[step(key.clone(), Position::start(), at(offset))]).await.expect("moved");
    }
    assert_eq!(tables.load(&keys).await, [at(10), at(11), at(12), at(13)]);
    let mut tx = tables.begin().await;
    assert_eq!(
        tables.store.lock(&mut tx, &keys).await.expect("locked"),
        [at(10), at(11), at(12), at(13)]
    );
}

#[tokio::test]
async fn a_checkpoint_moves_from_where_it_was_and_from_nowhere_else() {
    let tables = tables("compared").await;
    let a = key("a", 0);
    let moved = async |from: Position<Wire>, to| tables.advance(&[step(a.clone(), from, to)]).await;
    assert!(
        matches!(moved(Position::start(), at(5)).await, Err(Failure::Conflict)),
        "it is not there yet"
    );
    tables.load(std::slice::from_ref(&a)).await;
    moved(Position::start(), at(5)).await.expect("moved");
    let of_another_log = Position { identity: Some(Uuid::from_u128(2)), ..at(5) };
    for from in
        [Position::start(), at(4), at(6), of_another_log, Position { identity: None, ..at(5) }]
    {
        assert!(matches!(moved(from.clone(), at(9)).await, Err(Failure::Conflict)), "{from:?}");
    }
    assert_eq!(tables.load(std::slice::from_ref(&a)).await, [at(5)]);
    // It goes wherever it is told to, and takes everything with it.
    let fence = Witness { seq: None, ..at(9).witness.expect("one") };
    for (from, to) in [
        (at(5), Position { witness: Some(fence.clone()), ..at(9) }),
        (at(9), Position::start()),
        (Position::start(), at(1)),
    ] {
        moved(from, to.clone()).await.expect("moved");
        assert_eq!(tables.load(std::slice::from_ref(&a)).await, [to]);
    }
}

#[tokio::test]
async fn if_one_checkpoint_of_a_transaction_is_elsewhere_none_moves() {
    let tables = tables("all_or_none").await;
    let keys = [key("a", 0), key("a", 1), key("b", 0)];
    tables.load(&keys).await;
    for elsewhere in &keys {
        let from = |key: &Key| if key == elsewhere { at(3) } else { Position::start() };
        let moves: Vec<Move> = keys.iter().map(|key| step(key.clone(), from(key), at(5))).collect();
        assert!(matches!(tables.advance(&moves).await, Err(Failure::Conflict)));
        assert_eq!(tables.load(&keys).await, keys.each_ref().map(|_| Position::start()));
    }
    let moves: Vec<Move> = (5..)
        .zip(&keys)
        .map(|(offset, key)| step(key.clone(), Position::start(), at(offset)))
        .collect();
    tables.advance(&moves).await.expect("moved");
    assert_eq!(tables.load(&keys).await, [at(5), at(6), at(7)]);
}

#[tokio::test]
async fn what_is_locked_or_moved_holds_up_only_transactions_that_move_it_too() {
    let tables = tables("locked").await;
    let (a, b) = (key("a", 0), key("a", 1));
    tables.load(&[a.clone(), b.clone()]).await;
    let to_five = |key: &Key| step(key.clone(), Position::start(), at(5));
    for moves in [false, true] {
        let mut holding = tables.begin().await;
        if moves {
            tables.store.advance(&mut holding, &[to_five(&a)]).await.expect("moved");
        } else {
            assert_eq!(
                tables.store.lock(&mut holding, std::slice::from_ref(&a)).await.expect("locked"),
                [Position::start()]
            );
        }
        let waits = tables.advance(&[to_five(&a)]).await;
        assert!(matches!(waits, Err(Failure::Transient(_))), "{waits:?}");
        let mut other = tables.begin().await;
        let waits = tables.store.lock(&mut other, std::slice::from_ref(&a)).await;
        assert!(matches!(waits, Err(Failure::Transient(_))), "{waits:?}");
        drop(other);
        assert_eq!(
            tables.load(std::slice::from_ref(&a)).await,
            [Position::start()],
            "a look alone does not wait"
        );
        let mut other = tables.begin().await;
        tables.store.advance(&mut other, &[to_five(&b)]).await.expect("moved");
    }
    tables.advance(&[to_five(&a)]).await.expect("no transaction holds it any more");
}

#[tokio::test]
async fn one_checkpoint_goes_back_to_the_start_and_no_other() {
    let tables = tables("reset").await;
    let keys = [key("a", 0), key("a", 1), key("b", 0)];
    tables.load(&keys).await;
    let moves: Vec<Move> =
        keys.iter().map(|key| step(key.clone(), Position::start(), at(5))).collect();
    tables.advance(&moves).await.expect("moved");
    let mut tx = tables.begin().await;
    tables.store.reset(&mut tx, &keys[0]).await.expect("reset");
    tables.store.commit(tx, None).await.expect("a commit");
    assert_eq!(tables.load(&keys).await, [Position::start(), at(5), at(5)]);
}

#[tokio::test]
async fn a_commit_tells_who_waits_for_a_position_and_caches_what_changed() {
    let tables = tables("told").await;
    let mut listener = PgListener::connect_with(&tables.pool).await.expect("a connection");
    listener.listen_all(["highwater_checkpoints", "highwater_changes"]).await.expect("listening");
    for (changed, told) in [
        (None, vec![("highwater_checkpoints".to_owned(), String::new())]),
        (
            Some("a=thing/0@5:*"),
            vec![
                ("highwater_changes".to_owned(), "a=thing/0@5:*".to_owned()),
                ("highwater_checkpoints".to_owned(), String::new()),
            ],
        ),
    ] {
        let tx = tables.begin().await;
        tables.store.commit(tx, changed).await.expect("a commit");
        let mut heard = Vec::new();
        for _ in &told {
            let one = tokio::time::timeout(PATIENCE, listener.recv())
                .await
                .expect("in time")
                .expect("a notification");
            heard.push((one.channel().to_owned(), one.payload().to_owned()));
        }
        heard.sort();
        assert_eq!(heard, told);
    }
}

#[tokio::test]
async fn what_a_commit_was_to_change_is_there_afterwards_and_without_one_it_is_not() {
    let tables = tables("committed").await;
    let a = key("a", 0);
    let mut tx = tables.begin().await;
    tables.store.load(&mut tx, std::slice::from_ref(&a)).await.expect("made");
    drop(tx);
    assert_eq!(tables.count().await, 0);
    tables.load(&[a]).await;
    assert_eq!(tables.count().await, 1);
}

#[tokio::test]
async fn a_transaction_does_not_wait_for_the_disk_and_only_that_one_does_not() {
    let tables = tables("disk").await;
    let mut tx = tables.begin().await;
    let shown: String =
        sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&mut *tx).await.expect("a value");
    assert_eq!(shown, "off");
    tables.store.commit(tx, None).await.expect("a commit");
    let shown: String = sqlx::query_scalar("SHOW synchronous_commit")
        .fetch_one(&tables.pool)
        .await
        .expect("a value");
    assert_eq!(shown, "on");
}

#[tokio::test]
async fn a_connection_that_is_distrusted_is_used_no_more_and_the_next_one_is() {
    let url = postgres::database("distrusted").await.to_url_lossy().to_string();
    let one = DatabaseSettings { url, connections: 1, ..DatabaseSettings::default() };
    let store = PostgresStore::new(highwater_projection::pool::pool(&one).expect("a pool"));
    let server = async || {
        let mut tx = store.begin().await.expect("a transaction");
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut *tx)
            .await
            .expect("a number");
        store.commit(tx, None).await.expect("a commit");
        pid
    };
    let first = server().await;
    assert_eq!(server().await, first);
    store.clone().distrust();
    let second = server().await;
    assert_ne!(second, first);
    assert_eq!(server().await, second);
}

#[tokio::test]
async fn who_cannot_begin_cannot_reach_the_database_whatever_it_is() {
    let tables = tables("away").await;
    tables.pool.close().await;
    assert!(matches!(tables.store.begin().await, Err(Failure::Unreachable(_))));
}

#[tokio::test]
async fn a_row_or_a_key_that_no_runner_wrote_is_refused() {
    let tables = tables("refused").await;
    let a = key("a", 0);
    tables.load(std::slice::from_ref(&a)).await;
    tables.run("UPDATE checkpoints SET witness_offset = 3").await;
    let mut tx = tables.begin().await;
    let half = tables.store.load(&mut tx, std::slice::from_ref(&a)).await;
    assert!(
        matches!(&half, Err(Failure::Deterministic(why)) if why.contains("half a witness")),
        "{half:?}"
    );
    drop(tx);

    let mut tx = tables.begin().await;
    let beyond = [key("a", u32::MAX)];
    for refused in [
        tables.store.load(&mut tx, &beyond).await.map(drop),
        tables.store.lock(&mut tx, &beyond).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Failure::Deterministic(_))), "{refused:?}");
    }
    assert!(matches!(
        tables.store.reset(&mut tx, &beyond[0]).await,
        Err(Failure::Deterministic(_))
    ));
    let [beyond] = beyond;
    let moved = tables.store.advance(&mut tx, &[step(beyond, Position::start(), at(5))]).await;
    assert!(matches!(moved, Err(Failure::Deterministic(_))), "{moved:?}");
    let moved = tables.store.advance(&mut tx, &[step(a, Position::start(), at(u64::MAX))]).await;
    assert!(matches!(moved, Err(Failure::Deterministic(_))), "{moved:?}");
}
