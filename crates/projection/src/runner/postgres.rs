//! The [`Store`] on Postgres: checkpoints compared and swapped in the transaction of the rows.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::BoxFuture;
use highwater_protocol::{position::Position, wire::Wire};
use highwater_tables::{
    changes,
    checkpoints::{self, Row},
    postgres::Connections,
};
use sqlx::{Postgres, Transaction};

use super::{
    failure::Failure,
    projection::{Key, Move, Store},
};

/// Rows and checkpoint fall back together, and the log has everything: waiting for the disk buys
/// nothing. In one message, as every other statement of a transaction is one more way to and fro.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off";

/// What projections of this store write in.
pub type PostgresTx = Transaction<'static, Postgres>;

#[derive(Clone, Debug)]
pub struct PostgresStore {
    pool: Connections,
    /// A connection was found that cannot write.
    distrusted: Arc<AtomicBool>,
}

impl PostgresStore {
    pub fn new(pool: impl Into<Connections>) -> Self {
        Self { pool: pool.into(), distrusted: Arc::default() }
    }
}

impl Store for PostgresStore {
    type Tx = PostgresTx;

    fn begin(&self) -> BoxFuture<'_, Result<Self::Tx, Failure>> {
        Box::pin(async {
            if self.distrusted.swap(false, Ordering::AcqRel) {
                self.pool.renew().await;
            }
            // Whatever keeps it from beginning has nothing to do with what is to be written.
            self.pool
                .begin_with(BEGIN)
                .await
                .map_err(|error| Failure::Unreachable(error.to_string()))
        })
    }

    fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
    }

    fn load<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>> {
        Box::pin(load(tx, keys))
    }

    fn lock<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>> {
        Box::pin(async move {
            lock(tx, &KeyColumns::of(keys)?).await?;
            load(tx, keys).await
        })
    }

    fn reset<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        key: &'a Key,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(reset(tx, key))
    }

    fn advance<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        moves: &'a [Move],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(advance(tx, moves))
    }

    fn commit<'a>(
        &'a self,
        mut tx: Self::Tx,
        changed: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            match changed {
                None => {
                    sqlx::query!("SELECT pg_notify($1, '')", checkpoints::CHANNEL)
                        .execute(&mut *tx)
                        .await?
                }
                Some(changed) => {
                    let both = sqlx::query!(
                        "SELECT pg_notify($1, $2) AS changes, pg_notify($3, '') AS checkpoints",
                        changes::CHANNEL,
                        changed,
                        checkpoints::CHANNEL
                    );
                    both.execute(&mut *tx).await?
                }
            };
            Ok(tx.commit().await?)
        })
    }
}

/// Waits for no other transaction, unless a checkpoint is made.
async fn load(tx: &mut PostgresTx, keys: &[Key]) -> Result<Vec<Position<Wire>>, Failure> {
    let named = KeyColumns::of(keys)?;
    let mut found = find(tx, &named).await?;
    if found.len() < keys.len() {
        make(tx, &named).await?;
        found = find(tx, &named).await?;
    }
    let KeyColumns { projections, categories, partitions } = named;
    let keys = projections.into_iter().zip(categories).zip(partitions);
    keys.map(|((projection, category), partition)| {
        found
            .remove(&(projection, category, partition))
            .ok_or_else(|| Failure::Transient("a checkpoint vanished".to_owned()))
    })
    .collect()
}

/// Checkpoints by their columns.
#[derive(Default)]
struct KeyColumns {
    projections: Vec<String>,
    categories: Vec<String>,
    partitions: Vec<i32>,
}

impl KeyColumns {
    fn of(keys: &[Key]) -> Result<Self, Failure> {
        let mut named = KeyColumns::default();
        for key in keys {
            named.projections.push(key.projection.to_owned());
            named.categories.push(key.topic_partition.category.to_string());
            named.partitions.push(partition_of(key)?);
        }
        Ok(named)
    }
}

/// In the sequence of their keys, as [`advance`] does it.
async fn lock(
    tx: &mut PostgresTx,
    KeyColumns { projections, categories, partitions }: &KeyColumns,
) -> Result<(), Failure> {
    sqlx::query!(
        "SELECT c.next_offset
         FROM checkpoints c
         JOIN UNNEST($1::text[], $2::text[], $3::int[]) AS k(projection, category, partition)
           ON (c.projection, c.category, c.partition) = (k.projection, k.category, k.partition)
         WHERE c.generation = $4
         ORDER BY c.projection, c.category, c.partition
         FOR UPDATE OF c",
        projections,
        categories,
        partitions,
        checkpoints::GENERATION,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(())
}

async fn make(
    tx: &mut PostgresTx,
    KeyColumns { projections, categories, partitions }: &KeyColumns,
) -> Result<(), Failure> {
    sqlx::query!(
        "INSERT INTO checkpoints (projection, generation, category, partition, next_offset, epoch, \
         next_seq, drained, sealed)
         SELECT k.projection, $4, k.category, k.partition, 0, 0, 0, 0, false
         FROM UNNEST($1::text[], $2::text[], $3::int[]) AS k(projection, category, partition)
         ORDER BY k.projection, k.category, k.partition
         ON CONFLICT DO NOTHING",
        projections,
        categories,
        partitions,
        checkpoints::GENERATION,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn find(
    tx: &mut PostgresTx,
    KeyColumns { projections, categories, partitions }: &KeyColumns,
) -> Result<HashMap<(String, String, i32), Position<Wire>>, Failure> {
    let rows = sqlx::query!(
        "SELECT c.projection, c.category, c.partition, c.identity, c.next_offset, c.epoch, \
         c.writer, c.next_seq, c.drained, c.sealed,
                c.last_time_us, c.witness_offset, c.witness_epoch, c.witness_writer, c.witness_seq
         FROM checkpoints c
         JOIN UNNEST($1::text[], $2::text[], $3::int[]) AS k(projection, category, partition)
           ON (c.projection, c.category, c.partition) = (k.projection, k.category, k.partition)
         WHERE c.generation = $4",
        projections,
        categories,
        partitions,
        checkpoints::GENERATION,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut found = HashMap::new();
    for row in rows {
        let columns = Row {
            identity: row.identity,
            next_offset: row.next_offset,
            epoch: row.epoch,
            writer: row.writer,
            next_seq: row.next_seq,
            drained: row.drained,
            sealed: row.sealed,
            last_time_us: row.last_time_us,
            witness_offset: row.witness_offset,
            witness_epoch: row.witness_epoch,
            witness_writer: row.witness_writer,
            witness_seq: row.witness_seq,
        };
        let position = Position::try_from(columns)
            .map_err(|error| Failure::Deterministic(error.to_string()))?;
        found.insert((row.projection, row.category, row.partition), position);
    }
    Ok(found)
}

async fn reset(tx: &mut PostgresTx, key: &Key) -> Result<(), Failure> {
    let partition = partition_of(key)?;
    sqlx::query!(
        "UPDATE checkpoints
         SET identity = NULL, next_offset = 0, epoch = 0, writer = NULL, next_seq = 0, drained = \
         0, sealed = false, last_time_us = NULL,
             witness_offset = NULL, witness_epoch = NULL, witness_writer = NULL, witness_seq = NULL
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4",
        key.projection,
        checkpoints::GENERATION,
        &*key.topic_partition.category,
        partition,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The columns of all moves, as one statement takes them.
#[derive(Default)]
struct Columns {
    projection: Vec<String>,
    category: Vec<String>,
    partition: Vec<i32>,
    from_offset: Vec<i64>,
    from_identity: Vec<Option<uuid::Uuid>>,
    identity: Vec<Option<uuid::Uuid>>,
    next_offset: Vec<i64>,
    epoch: Vec<i64>,
    writer: Vec<Option<uuid::Uuid>>,
    next_seq: Vec<i64>,
    drained: Vec<i64>,
    sealed: Vec<bool>,
    last_time_us: Vec<Option<i64>>,
    witness_offset: Vec<Option<i64>>,
    witness_epoch: Vec<Option<i64>>,
    witness_writer: Vec<Option<uuid::Uuid>>,
    witness_seq: Vec<Option<i64>>,
}

impl Columns {
    fn of(moves: &[Move]) -> Result<Self, Failure> {
        let mut columns = Columns::default();
        for step in moves {
            let row = |at: &Position<Wire>| {
                Row::try_from(at).map_err(|error| Failure::Deterministic(error.to_string()))
            };
            let (from, to) = (row(&step.from)?, row(&step.to)?);
            columns.projection.push(step.key.projection.to_owned());
            columns.category.push(step.key.topic_partition.category.to_string());
            columns.partition.push(partition_of(&step.key)?);
            columns.from_offset.push(from.next_offset);
            columns.from_identity.push(from.identity);
            columns.identity.push(to.identity);
            columns.next_offset.push(to.next_offset);
            columns.epoch.push(to.epoch);
            columns.writer.push(to.writer);
            columns.next_seq.push(to.next_seq);
            columns.drained.push(to.drained);
            columns.sealed.push(to.sealed);
            columns.last_time_us.push(to.last_time_us);
            columns.witness_offset.push(to.witness_offset);
            columns.witness_epoch.push(to.witness_epoch);
            columns.witness_writer.push(to.witness_writer);
            columns.witness_seq.push(to.witness_seq);
        }
        Ok(columns)
    }
}

async fn advance(tx: &mut PostgresTx, moves: &[Move]) -> Result<(), Failure> {
    let to = Columns::of(moves)?;
    // The rows are locked in the sequence of their keys, so that two runners never wait for each
    // other in a circle.
    let moved = sqlx::query!(
        "WITH held AS MATERIALIZED (
             SELECT m.*
             FROM checkpoints c
             JOIN UNNEST($2::text[], $3::text[], $4::int[], $5::bigint[], $6::uuid[], $7::uuid[], \
             $8::bigint[], $9::bigint[], $10::uuid[],
                         $11::bigint[], $12::bigint[], $13::bool[], $14::bigint[], $15::bigint[], \
                         $16::bigint[], $17::uuid[], $18::bigint[])
                  AS m(projection, category, partition, from_offset, from_identity, identity, \
                  next_offset, epoch, writer,
                       next_seq, drained, sealed, last_time_us, witness_offset, witness_epoch, \
                       witness_writer, witness_seq)
               ON (c.projection, c.category, c.partition) = (m.projection, m.category, m.partition)
              AND c.next_offset = m.from_offset AND c.identity IS NOT DISTINCT FROM m.from_identity
             WHERE c.generation = $1
             ORDER BY c.projection, c.category, c.partition
             FOR UPDATE OF c
         )
         UPDATE checkpoints c
         SET identity = h.identity, next_offset = h.next_offset, epoch = h.epoch, writer = \
         h.writer, next_seq = h.next_seq,
             drained = h.drained, sealed = h.sealed, last_time_us = h.last_time_us, witness_offset \
             = h.witness_offset,
             witness_epoch = h.witness_epoch, witness_writer = h.witness_writer, witness_seq = \
             h.witness_seq
         FROM held h
         WHERE c.generation = $1 AND (c.projection, c.category, c.partition) = (h.projection, \
         h.category, h.partition)",
        checkpoints::GENERATION,
        &to.projection,
        &to.category,
        &to.partition,
        &to.from_offset,
        &to.from_identity as &[Option<uuid::Uuid>],
        &to.identity as &[Option<uuid::Uuid>],
        &to.next_offset,
        &to.epoch,
        &to.writer as &[Option<uuid::Uuid>],
        &to.next_seq,
        &to.drained,
        &to.sealed,
        &to.last_time_us as &[Option<i64>],
        &to.witness_offset as &[Option<i64>],
        &to.witness_epoch as &[Option<i64>],
        &to.witness_writer as &[Option<uuid::Uuid>],
        &to.witness_seq as &[Option<i64>],
    )
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if moved == moves.len() as u64 { Ok(()) } else { Err(Failure::Conflict) }
}

fn partition_of(key: &Key) -> Result<i32, Failure> {
    i32::try_from(key.topic_partition.partition)
        .map_err(|_| Failure::Deterministic("partition number too large".to_owned()))
}
