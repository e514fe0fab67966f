//! The statements of the system tables on Postgres: what one writes, others read; and a statement
//! leaves alone what it is not asked for.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "../support/postgres.rs"]
mod postgres;

mod checkpoints;
mod dedup_filter;
mod generations;
mod identity;
mod operations;
mod outcomes;
mod parked;
mod runs;
mod snapshots;

use highwater_protocol::{
    entry::{CommandMetadata, EventBody, Part},
    fold::Commit,
    position::{Position, Witness},
    time::Micros,
    wire::{Fingerprint, Meta, RecordedEvent, Wire},
};
use highwater_tables::{
    checkpoints::{Key, Moves, advance, make},
    migrations::migrate,
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

/// The tables. No statement waits long for a lock.
async fn tables(test: &str) -> PgPool {
    let options = postgres::database(test).await.options([("lock_timeout", "100")]);
    let pool =
        PgPoolOptions::new().max_connections(4).connect_with(options).await.expect("a connection");
    migrate(&pool, None).await.expect("the tables");
    pool
}

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::query(statement).execute(pool).await.expect("done");
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn key(projection: &'static str, partition: u32) -> Key<'static> {
    Key::new(projection, "thing", partition).expect("a small partition")
}

/// A different value in every column.
fn at(offset: u64) -> Position<Wire> {
    let witness = Witness { offset: offset - 1, epoch: 4, writer: id(9), seq: Some(38) };
    Position {
        identity: Some(id(1)),
        offset,
        epoch: 3,
        writer: Some(id(7)),
        next_seq: 40,
        drained: 12,
        sealed: true,
        last_time: Some(Micros(1_795_383_264_123_456)),
        witness: Some(witness),
    }
}

/// Puts a checkpoint that is not there yet at [`at`].
async fn project(pool: &PgPool, key: Key<'static>, offset: u64) {
    let mut connection = pool.acquire().await.expect("a connection");
    make(&mut connection, &[key]).await.expect("made");
    let mut moves = Moves::default();
    moves.push(key, &Position::start(), &at(offset)).expect("columns");
    assert_eq!(advance(&mut connection, &moves).await.expect("moved"), 1);
}

/// One event of one command, whose commit ends at `end`.
fn commit(command: u128, aggregate: u128, end: u64) -> Commit<Wire> {
    let metadata = CommandMetadata {
        aggregate: id(aggregate),
        command: id(command),
        fingerprint: Fingerprint { key_number: 3, hmac: [7; 32] },
        meta: Meta { actor: id(2), ..Meta::default() },
        source: None,
    };
    let event = RecordedEvent {
        event_type: "thing.made".into(),
        schema: "thing.made.v1".into(),
        data: Vec::new(),
    };
    let (part, time) = (Part::WHOLE, Micros(0));
    let events = vec![EventBody { metadata, version: 5, part, time, event }];
    Commit { first: end - 1, end, last_seq: end, events }
}
