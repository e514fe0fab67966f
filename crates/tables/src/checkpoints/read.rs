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

/// How far the projections named whole are on every partition, and others on those named. One that
/// has never been there is left out; one that is named twice may come twice.
pub async fn offsets_of(
    connection: &mut PgConnection,
    whole: &[String],
    partitions: &[(String, String, u32)],
) -> Result<Vec<ProjectionOffset>, ReadError> {
    let (mut projections, mut categories, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
    for (projection, category, partition) in partitions {
        // There is none with a number as large.
        let Ok(index) = i32::try_from(*partition) else { continue };
        projections.push(projection.clone());
        categories.push(category.clone());
        indexes.push(index);
    }
    let rows = sqlx::query!(
        r#"SELECT c.projection AS "projection!", c.category AS "category!",
                  c.partition AS "partition!", c.next_offset AS "next_offset!"
           FROM UNNEST($1::text[], $2::text[], $3::int[]) AS k(projection, category, partition)
           JOIN checkpoints c
           ON (c.projection, c.generation, c.category, c.partition)
              = (k.projection, $4, k.category, k.partition)
           UNION ALL
           SELECT projection, category, partition, next_offset FROM checkpoints
           WHERE projection = ANY($5) AND generation = $4"#,
        &projections,
        &categories,
        &indexes,
        GENERATION,
        whole,
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
