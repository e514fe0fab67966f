//! Checkpoints in the transaction that moves them: locked, compared and swapped, many with one
//! statement.

use std::collections::HashMap;

use highwater_protocol::{position::Position, wire::Wire};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{BESIDE, Error, GENERATION, Row};
use crate::ReadError;

/// The key of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key<'a> {
    pub(crate) projection: &'a str,
    pub(crate) generation: i32,
    pub(crate) category: &'a str,
    pub(crate) partition: i32,
}

impl<'a> Key<'a> {
    /// In the live generation. Refuses a partition whose number no column holds.
    pub fn new(projection: &'a str, category: &'a str, partition: u32) -> Result<Self, Error> {
        let partition = i32::try_from(partition).map_err(|_| Error::Partition)?;
        Ok(Self { projection, generation: GENERATION, category, partition })
    }

    /// The same in the generation beside the live one.
    #[must_use]
    pub fn beside(self) -> Self {
        Self { generation: BESIDE, ..self }
    }
}

/// The columns of several keys, as one statement takes them.
struct KeyColumns<'a> {
    projections: Vec<&'a str>,
    generations: Vec<i32>,
    categories: Vec<&'a str>,
    partitions: Vec<i32>,
}

impl<'a> KeyColumns<'a> {
    fn of(keys: &[Key<'a>]) -> Self {
        Self {
            projections: keys.iter().map(|key| key.projection).collect(),
            generations: keys.iter().map(|key| key.generation).collect(),
            categories: keys.iter().map(|key| key.category).collect(),
            partitions: keys.iter().map(|key| key.partition).collect(),
        }
    }
}

/// No other transaction moves these checkpoints until this one ends. Locks them in the sequence of
/// their keys, as [`advance`] does it; one that is not there is not made.
pub async fn lock(connection: &mut PgConnection, keys: &[Key<'_>]) -> Result<(), sqlx::Error> {
    let KeyColumns { projections, generations, categories, partitions } = KeyColumns::of(keys);
    sqlx::query!(
        "SELECT c.next_offset
         FROM checkpoints c
         JOIN UNNEST($1::text[], $2::int[], $3::text[], $4::int[])
              AS k(projection, generation, category, partition)
           ON (c.projection, c.generation, c.category, c.partition)
              = (k.projection, k.generation, k.category, k.partition)
         ORDER BY c.projection, c.category, c.partition, c.generation
         FOR UPDATE OF c",
        &projections as &[&str],
        &generations,
        &categories as &[&str],
        &partitions,
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// Makes those of these checkpoints that are not there, at the start.
pub async fn make(connection: &mut PgConnection, keys: &[Key<'_>]) -> Result<(), sqlx::Error> {
    let KeyColumns { projections, generations, categories, partitions } = KeyColumns::of(keys);
    sqlx::query!(
        "INSERT INTO checkpoints (projection, generation, category, partition, next_offset, epoch, \
         next_seq, drained, sealed)
         SELECT k.projection, k.generation, k.category, k.partition, 0, 0, 0, 0, false
         FROM UNNEST($1::text[], $2::int[], $3::text[], $4::int[])
              AS k(projection, generation, category, partition)
         ORDER BY k.projection, k.category, k.partition, k.generation
         ON CONFLICT DO NOTHING",
        &projections as &[&str],
        &generations,
        &categories as &[&str],
        &partitions,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The checkpoints of `keys`, in their sequence; `None`: it is not there. Waits for no other
/// transaction.
pub async fn find(
    connection: &mut PgConnection,
    keys: &[Key<'_>],
) -> Result<Vec<Option<Position<Wire>>>, ReadError> {
    let KeyColumns { projections, generations, categories, partitions } = KeyColumns::of(keys);
    let rows = sqlx::query!(
        "SELECT c.projection, c.generation, c.category, c.partition, c.identity, c.next_offset, c.epoch, \
         c.writer, c.next_seq, c.drained, c.sealed,
                c.last_time_us, c.witness_offset, c.witness_epoch, c.witness_writer, c.witness_seq
         FROM checkpoints c
         JOIN UNNEST($1::text[], $2::int[], $3::text[], $4::int[])
              AS k(projection, generation, category, partition)
           ON (c.projection, c.generation, c.category, c.partition)
              = (k.projection, k.generation, k.category, k.partition)",
        &projections as &[&str],
        &generations,
        &categories as &[&str],
        &partitions,
    )
    .fetch_all(connection)
    .await?;
    let places: HashMap<Key<'_>, usize> = keys.iter().copied().zip(0..).collect();
    let mut found = vec![None; keys.len()];
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
        let key = Key {
            projection: &row.projection,
            generation: row.generation,
            category: &row.category,
            partition: row.partition,
        };
        if let Some(place) = places.get(&key).and_then(|at| found.get_mut(*at)) {
            *place = Some(Position::try_from(columns)?);
        }
    }
    Ok(found)
}

/// Puts one checkpoint back to the start, whatever it says.
pub async fn reset(connection: &mut PgConnection, key: Key<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE checkpoints
         SET identity = NULL, next_offset = 0, epoch = 0, writer = NULL, next_seq = 0, drained = \
         0, sealed = false, last_time_us = NULL,
             witness_offset = NULL, witness_epoch = NULL, witness_writer = NULL, witness_seq = NULL
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4",
        key.projection,
        key.generation,
        key.category,
        key.partition,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Checkpoints, each from one position to another: the columns of all, as one statement takes them.
#[derive(Debug, Default)]
pub struct Moves<'a> {
    projection: Vec<&'a str>,
    generation: Vec<i32>,
    category: Vec<&'a str>,
    partition: Vec<i32>,
    from_offset: Vec<i64>,
    from_identity: Vec<Option<Uuid>>,
    identity: Vec<Option<Uuid>>,
    next_offset: Vec<i64>,
    epoch: Vec<i64>,
    writer: Vec<Option<Uuid>>,
    next_seq: Vec<i64>,
    drained: Vec<i64>,
    sealed: Vec<bool>,
    last_time_us: Vec<Option<i64>>,
    witness_offset: Vec<Option<i64>>,
    witness_epoch: Vec<Option<i64>>,
    witness_writer: Vec<Option<Uuid>>,
    witness_seq: Vec<Option<i64>>,
}

impl<'a> Moves<'a> {
    /// Refuses positions that no columns hold.
    pub fn push(
        &mut self,
        key: Key<'a>,
        from: &Position<Wire>,
        to: &Position<Wire>,
    ) -> Result<(), Error> {
        let (from, to) = (Row::try_from(from)?, Row::try_from(to)?);
        self.projection.push(key.projection);
        self.generation.push(key.generation);
        self.category.push(key.category);
        self.partition.push(key.partition);
        self.from_offset.push(from.next_offset);
        self.from_identity.push(from.identity);
        self.identity.push(to.identity);
        self.next_offset.push(to.next_offset);
        self.epoch.push(to.epoch);
        self.writer.push(to.writer);
        self.next_seq.push(to.next_seq);
        self.drained.push(to.drained);
        self.sealed.push(to.sealed);
        self.last_time_us.push(to.last_time_us);
        self.witness_offset.push(to.witness_offset);
        self.witness_epoch.push(to.witness_epoch);
        self.witness_writer.push(to.witness_writer);
        self.witness_seq.push(to.witness_seq);
        Ok(())
    }
}

/// Moves each checkpoint that has offset and identity of its `from`; how many those were.
pub async fn advance(connection: &mut PgConnection, moves: &Moves<'_>) -> Result<u64, sqlx::Error> {
    // The rows are locked in the sequence of their keys, so that two runners never wait for each
    // other in a circle.
    let moved = sqlx::query!(
        "WITH held AS MATERIALIZED (
             SELECT m.*
             FROM checkpoints c
             JOIN UNNEST($1::text[], $2::int[], $3::text[], $4::int[], $5::bigint[], $6::uuid[], $7::uuid[], \
             $8::bigint[], $9::bigint[], $10::uuid[],
                         $11::bigint[], $12::bigint[], $13::bool[], $14::bigint[], $15::bigint[], \
                         $16::bigint[], $17::uuid[], $18::bigint[])
                  AS m(projection, generation, category, partition, from_offset, from_identity, identity, \
                  next_offset, epoch, writer,
                       next_seq, drained, sealed, last_time_us, witness_offset, witness_epoch, \
                       witness_writer, witness_seq)
               ON (c.projection, c.generation, c.category, c.partition)
                  = (m.projection, m.generation, m.category, m.partition)
              AND c.next_offset = m.from_offset AND c.identity IS NOT DISTINCT FROM m.from_identity
             ORDER BY c.projection, c.category, c.partition, c.generation
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
         WHERE (c.projection, c.generation, c.category, c.partition)
               = (h.projection, h.generation, h.category, h.partition)",
        &moves.projection as &[&str],
        &moves.generation,
        &moves.category as &[&str],
        &moves.partition,
        &moves.from_offset,
        &moves.from_identity as &[Option<Uuid>],
        &moves.identity as &[Option<Uuid>],
        &moves.next_offset,
        &moves.epoch,
        &moves.writer as &[Option<Uuid>],
        &moves.next_seq,
        &moves.drained,
        &moves.sealed,
        &moves.last_time_us as &[Option<i64>],
        &moves.witness_offset as &[Option<i64>],
        &moves.witness_epoch as &[Option<i64>],
        &moves.witness_writer as &[Option<Uuid>],
        &moves.witness_seq as &[Option<i64>],
    )
    .execute(connection)
    .await?;
    Ok(moved.rows_affected())
}
