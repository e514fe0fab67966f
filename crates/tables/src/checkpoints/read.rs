//! Where projections are, for those who only look. All but [`all`] see the live generation alone.

use highwater_protocol::{position::Position, wire::Wire};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, GENERATION, Row, unsigned};
use crate::ReadError;

/// How far a projection is on one partition: it has everything below `offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectionOffset {
    pub projection: String,
    pub category: String,
    pub partition: u32,
    pub offset: u64,
}

/// A checkpoint of any generation, as far as operators are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub generation: i32,
    pub projection: String,
    pub category: String,
    pub partition: u32,
    /// Everything below it is in the tables.
    pub offset: u64,
    pub epoch: u64,
    pub writer: Option<Uuid>,
}

/// Where `projection` stands on a partition; at the start, if it has never been there.
pub async fn position(
    connection: &mut PgConnection,
    projection: &str,
    category: &str,
    partition: u32,
) -> Result<Position<Wire>, ReadError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT identity, next_offset, epoch, writer, next_seq, drained, sealed, last_time_us,
                witness_offset, witness_epoch, witness_writer, witness_seq
         FROM checkpoints
         WHERE (projection, generation, category, partition) = ($1, $2, $3, $4)",
        projection,
        GENERATION,
        category,
        i32::try_from(partition).unwrap_or(i32::MAX),
    );
    let row = row.fetch_optional(connection).await?;
    Ok(row.map_or_else(|| Ok(Position::start()), Position::try_from)?)
}

/// Below which offset `projection` has everything, by the partitions of `category` that it has
/// been on.
pub async fn offsets(
    connection: &mut PgConnection,
    projection: &str,
    category: &str,
) -> Result<Vec<(u32, u64)>, ReadError> {
    let rows = sqlx::query!(
        "SELECT partition, next_offset FROM checkpoints \
         WHERE (projection, generation, category) = ($1, $2, $3)",
        projection,
        GENERATION,
        category,
    );
    let rows = rows.fetch_all(connection).await?.into_iter();
    let offsets = rows
        .map(|row| Ok((partition_of(row.partition)?, unsigned("next_offset", row.next_offset)?)));
    offsets.collect()
}

/// What the tables of a projection have of a category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The number of the tables that are shown: cursors of another one do not go on.
    pub live: i32,
    /// Something of it is parked, on any partition.
    pub parked: bool,
    /// The offset that is reached on each partition.
    pub offsets: Vec<(u32, u64)>,
}

/// [`offsets`], and what else a list says of the tables that it reads.
pub async fn collection(
    connection: &mut PgConnection,
    projection: &str,
    category: &str,
) -> Result<Collection, ReadError> {
    let rows = sqlx::query!(
        r#"SELECT partition, next_offset,
                  coalesce((SELECT live FROM generations WHERE projection = $1), 1) AS "live!",
                  EXISTS (SELECT FROM parked_aggregates p
                          WHERE (p.projection, p.generation, p.category) = ($1, $2, $3))
                  AS "parked!"
           FROM checkpoints WHERE (projection, generation, category) = ($1, $2, $3)"#,
        projection,
        GENERATION,
        category,
    );
    let mut collection = Collection { live: 1, parked: false, offsets: Vec::new() };
    for row in rows.fetch_all(connection).await? {
        (collection.live, collection.parked) = (row.live, row.parked);
        let reached = (partition_of(row.partition)?, unsigned("next_offset", row.next_offset)?);
        collection.offsets.push(reached);
    }
    Ok(collection)
}

/// How far every projection is on every partition.
pub async fn live_offsets(
    connection: &mut PgConnection,
) -> Result<Vec<ProjectionOffset>, ReadError> {
    let rows = sqlx::query!(
        "SELECT projection, category, partition, next_offset FROM checkpoints \
                             WHERE generation = $1",
        GENERATION
    );
    let rows = rows.fetch_all(connection).await?.into_iter();
    let offsets = rows.map(|row| {
        Ok(ProjectionOffset {
            projection: row.projection,
            category: row.category,
            partition: partition_of(row.partition)?,
            offset: unsigned("next_offset", row.next_offset)?,
        })
    });
    offsets.collect()
}

/// Every checkpoint, of every generation.
pub async fn all(connection: &mut PgConnection) -> Result<Vec<Checkpoint>, ReadError> {
    let rows = sqlx::query!(
        "SELECT generation, projection, category, partition, next_offset, epoch, writer FROM \
               checkpoints"
    );
    let rows = rows.fetch_all(connection).await?.into_iter();
    let checkpoints = rows.map(|row| {
        Ok(Checkpoint {
            generation: row.generation,
            projection: row.projection,
            category: row.category,
            partition: partition_of(row.partition)?,
            offset: unsigned("next_offset", row.next_offset)?,
            epoch: unsigned("epoch", row.epoch)?,
            writer: row.writer,
        })
    });
    checkpoints.collect()
}

fn partition_of(column: i32) -> Result<u32, Error> {
    u32::try_from(column).map_err(|_| Error::Negative("partition"))
}
