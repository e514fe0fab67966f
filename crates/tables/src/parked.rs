//! What a projection could not go on with: an aggregate with the error of its first event that
//! could not be applied, and the commits that wait behind that. The checkpoint of the partition is
//! beyond them. A transaction that changes anything here holds its row locked, so that no event is
//! both applied and parked, and none is neither.

use sqlx::{
    PgConnection,
    types::chrono::{DateTime, Utc},
};
use uuid::Uuid;

use crate::checkpoints::{GENERATION, Key};

/// A commit that waits, and which records of the log it is: between the offsets, the first ones of
/// the writer with the `events` sequences up to `last_seq`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub aggregate: Uuid,
    pub first_offset: i64,
    pub end_offset: i64,
    pub epoch: i64,
    pub writer: Uuid,
    pub last_seq: i64,
    pub events: i32,
}

/// Why an aggregate is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Of the event, as `order.placed.v2`.
    pub schema: String,
    /// The version that the event makes.
    pub version: i64,
    /// A code and a place, without data of the event.
    pub error: String,
}

/// An aggregate that is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    pub projection: String,
    pub category: String,
    pub partition: i32,
    pub id: Uuid,
    pub schema: String,
    pub version: i64,
    /// Everything of the aggregate below this offset is applied, and nothing from there on is.
    pub from_offset: i64,
    pub fingerprint: String,
    pub error: String,
    pub attempts: i32,
    pub parked_at: DateTime<Utc>,
    pub tried_at: DateTime<Utc>,
    pub discarded_at: Option<DateTime<Utc>>,
    /// Commits that wait.
    pub commits: i64,
}

/// Which of them. Everything that is given must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub projection: Option<String>,
    pub fingerprint: Option<String>,
    pub aggregate: Option<Uuid>,
}

/// How many aggregates of a projection are parked on a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that a retry applies.
    pub waiting: u64,
    /// Those that were given up.
    pub discarded: u64,
}

/// How many aggregates are parked of each of these, in their sequence.
pub async fn counts(
    connection: &mut PgConnection,
    of: &[Key<'_>],
) -> Result<Vec<Count>, sqlx::Error> {
    let projections: Vec<String> = of.iter().map(|of| of.projection.to_owned()).collect();
    let generations: Vec<i32> = of.iter().map(|of| of.generation).collect();
    let categories: Vec<String> = of.iter().map(|of| of.category.to_owned()).collect();
    let indexes: Vec<i32> = of.iter().map(|of| of.partition).collect();
    let found = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE p.discarded_at IS NULL AND p.generation IS NOT NULL)
                  AS "waiting!", count(p.discarded_at) AS "discarded!"
           FROM UNNEST($1::text[], $2::int[], $3::text[], $4::int[])
                WITH ORDINALITY AS k(projection, generation, category, partition, number)
           LEFT JOIN parked_aggregates p
           ON (p.projection, p.generation, p.category, p.partition)
              = (k.projection, k.generation, k.category, k.partition)
           GROUP BY k.number ORDER BY k.number"#,
        &projections,
        &generations,
        &categories,
        &indexes,
    )
    .fetch_all(connection)
    .await?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let counts = found
        .into_iter()
        .map(|row| Count { waiting: count(row.waiting), discarded: count(row.discarded) });
    Ok(counts.collect())
}

/// Which of `aggregates` are parked, and whether each was given up.
pub async fn among(
    connection: &mut PgConnection,
    of: Key<'_>,
    aggregates: &[Uuid],
) -> Result<Vec<(Uuid, bool)>, sqlx::Error> {
    let found = sqlx::query!(
        r#"SELECT aggregate_id, discarded_at IS NOT NULL AS "discarded!" FROM parked_aggregates
           WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4
             AND aggregate_id = ANY($5)"#,
        of.projection,
        of.generation,
        of.category,
        of.partition,
        aggregates,
    )
    .fetch_all(connection)
    .await?;
    Ok(found.into_iter().map(|row| (row.aggregate_id, row.discarded)).collect())
}

/// Parks the aggregate of `commit`, which is the first that waits.
pub async fn park(
    connection: &mut PgConnection,
    of: Key<'_>,
    commit: &Commit,
    cause: &Cause,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO parked_aggregates (projection, generation, category, partition, aggregate_id, \
         schema, version, from_offset, fingerprint, error, attempts, parked_at, tried_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $9, left(md5(concat_ws(' ', $1::text, $6::text, \
         $8::text)), 12), $8, 1, now(), now())",
        of.projection,
        of.generation,
        of.category,
        of.partition,
        commit.aggregate,
        cause.schema,
        cause.version,
        cause.error,
        commit.first_offset,
    )
    .execute(&mut *connection)
    .await?;
    wait(connection, of, std::slice::from_ref(commit)).await
}

/// Commits of aggregates that are parked wait, too.
pub async fn wait(
    connection: &mut PgConnection,
    of: Key<'_>,
    commits: &[Commit],
) -> Result<(), sqlx::Error> {
    let (mut ids, mut firsts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let (mut epochs, mut writers, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
    let mut events = Vec::new();
    for commit in commits {
        ids.push(commit.aggregate);
        firsts.push(commit.first_offset);
        ends.push(commit.end_offset);
        epochs.push(commit.epoch);
        writers.push(commit.writer);
        seqs.push(commit.last_seq);
        events.push(commit.events);
    }
    sqlx::query!(
        "INSERT INTO parked_commits (projection, generation, category, partition, aggregate_id, \
         first_offset, end_offset, epoch, writer, last_seq, events)
         SELECT $1, $2, $3, $4, c.* FROM UNNEST($5::uuid[], $6::bigint[], $7::bigint[], \
         $8::bigint[], $9::uuid[], $10::bigint[], $11::int[]) AS c",
        of.projection,
        of.generation,
        of.category,
        of.partition,
        &ids,
        &firsts,
        &ends,
        &epochs,
        &writers,
        &seqs,
        &events,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets everything of a partition: it is projected from the beginning.
pub async fn clear(connection: &mut PgConnection, of: Key<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM parked_aggregates
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4",
        of.projection,
        of.generation,
        of.category,
        of.partition,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Those that are parked, in the sequence of their keys; discarded ones included.
pub async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
) -> Result<Vec<Aggregate>, sqlx::Error> {
    sqlx::query_as!(
        Aggregate,
        r#"SELECT p.projection, p.category, p.partition, p.aggregate_id AS id, p.schema, p.version,
                  p.from_offset, p.fingerprint, p.error, p.attempts, p.parked_at, p.tried_at,
                  p.discarded_at,
                  (SELECT count(*) FROM parked_commits c
                   WHERE (c.projection, c.generation, c.category, c.partition, c.aggregate_id)
                         = (p.projection, p.generation, p.category, p.partition, p.aggregate_id))
                  AS "commits!"
           FROM parked_aggregates p
           WHERE p.generation = $1 AND ($2::text IS NULL OR p.projection = $2)
             AND ($3::text IS NULL OR p.fingerprint = $3) AND ($4::uuid IS NULL OR p.aggregate_id = $4)
           ORDER BY p.projection, p.category, p.partition, p.aggregate_id"#,
        GENERATION,
        filter.projection,
        filter.fingerprint,
        filter.aggregate,
    )
    .fetch_all(connection)
    .await
}

/// Locks the checkpoint of the partition until the transaction ends, and says where it stands: no
/// commit is parked or waits meanwhile that did not before. `None`: there is no such checkpoint.
pub async fn lock(connection: &mut PgConnection, of: Key<'_>) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT next_offset FROM checkpoints
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4
         FOR UPDATE",
        of.projection,
        of.generation,
        of.category,
        of.partition,
    )
    .fetch_optional(connection)
    .await
}

/// The commits of the aggregate that wait, in their sequence.
pub async fn commits(
    connection: &mut PgConnection,
    of: Key<'_>,
    aggregate: Uuid,
) -> Result<Vec<Commit>, sqlx::Error> {
    sqlx::query_as!(
        Commit,
        "SELECT aggregate_id AS aggregate, first_offset, end_offset, epoch, writer, last_seq, events
         FROM parked_commits
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4
           AND aggregate_id = $5
         ORDER BY first_offset",
        of.projection,
        of.generation,
        of.category,
        of.partition,
        aggregate,
    )
    .fetch_all(connection)
    .await
}

/// Nothing of the aggregate waits any more: it is projected like all others again.
pub async fn release(
    connection: &mut PgConnection,
    of: Key<'_>,
    aggregate: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM parked_aggregates
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4
           AND aggregate_id = $5",
        of.projection,
        of.generation,
        of.category,
        of.partition,
        aggregate,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Its commits below `offset` were applied, and the next one failed again.
pub async fn failed_again(
    connection: &mut PgConnection,
    of: Key<'_>,
    aggregate: Uuid,
    offset: i64,
    cause: &Cause,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM parked_commits
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4
           AND aggregate_id = $5 AND first_offset < $6",
        of.projection,
        of.generation,
        of.category,
        of.partition,
        aggregate,
        offset,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE parked_aggregates
         SET schema = $6, version = $7, error = $8, from_offset = $9, attempts = attempts + 1,
             tried_at = now(),
             fingerprint = left(md5(concat_ws(' ', $1::text, $6::text, $8::text)), 12)
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4
           AND aggregate_id = $5",
        of.projection,
        of.generation,
        of.category,
        of.partition,
        aggregate,
        cause.schema,
        cause.version,
        cause.error,
        offset,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives it up: what waits is forgotten, and so is what follows. A projection that is made anew has
/// it again.
pub async fn discard(
    connection: &mut PgConnection,
    of: Key<'_>,
    aggregate: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH forgotten AS (
             DELETE FROM parked_commits
             WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4
               AND aggregate_id = $5
         )
         UPDATE parked_aggregates SET discarded_at = coalesce(discarded_at, now())
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4
           AND aggregate_id = $5",
        of.projection,
        of.generation,
        of.category,
        of.partition,
        aggregate,
    )
    .execute(connection)
    .await?;
    Ok(())
}
