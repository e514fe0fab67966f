//! Which runner projects a partition, and what it is about to apply: how a runner knows that the
//! one before died, and of what. Written where a partition begins and ends, and between these only
//! after an end that was in no good order.

use std::ops::Range;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::checkpoints::{GENERATION, Key};

/// What a runner was about to apply: everything between two offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub first: u64,
    pub end: u64,
    /// The runners that ended over it.
    pub dead: Vec<Uuid>,
}

/// A runner that began, and has not ended in good order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub runner: Uuid,
    /// What it is about to apply, or what those before it ended over.
    pub attempt: Option<Attempt>,
    /// It began to apply the attempt, and has not said that it lived on.
    pub applying: bool,
}

/// The runs of `keys`, in their sequence.
pub async fn find(
    connection: &mut PgConnection,
    keys: &[Key<'_>],
) -> Result<Vec<Option<Run>>, sqlx::Error> {
    let (projections, categories, partitions) = columns(keys.iter());
    let found = sqlx::query!(
        r#"SELECT r.runner AS "runner?", r.first_offset AS "first?", r.end_offset AS "end?",
                  r.applying AS "applying?", r.dead AS "dead?"
           FROM UNNEST($1::text[], $2::text[], $3::int[])
                WITH ORDINALITY AS k(projection, category, partition, number)
           LEFT JOIN projection_runs r
           ON (r.projection, r.generation, r.category, r.partition)
              = (k.projection, $4, k.category, k.partition)
           ORDER BY k.number"#,
        &projections,
        &categories,
        &partitions,
        GENERATION,
    )
    .fetch_all(connection)
    .await?;
    let runs = found.into_iter().map(|row| {
        let attempt = row.first.zip(row.end).map(|(first, end)| Attempt {
            first: first.unsigned_abs(),
            end: end.unsigned_abs(),
            dead: row.dead.unwrap_or_default(),
        });
        let applying = row.applying.unwrap_or_default();
        row.runner.map(|runner| Run { runner, attempt, applying })
    });
    Ok(runs.collect())
}

/// `runner` begins with these, each with what others before have ended over.
pub async fn begin(
    connection: &mut PgConnection,
    runner: Uuid,
    of: &[(Key<'_>, Option<Attempt>)],
) -> Result<(), sqlx::Error> {
    let (projections, categories, partitions) = columns(of.iter().map(|(key, _)| key));
    let (mut firsts, mut ends, mut dead) = (Vec::new(), Vec::new(), Vec::new());
    for (_, attempt) in of {
        firsts.push(attempt.as_ref().map(|attempt| signed(attempt.first)));
        ends.push(attempt.as_ref().map(|attempt| signed(attempt.end)));
        // An array of arrays of different lengths is none.
        let ids = attempt.iter().flat_map(|attempt| &attempt.dead).map(Uuid::to_string);
        dead.push(ids.collect::<Vec<_>>().join(","));
    }
    sqlx::query!(
        "INSERT INTO projection_runs (projection, generation, category, partition, runner, \
         first_offset, end_offset, applying, dead)
         SELECT k.projection, $7, k.category, k.partition, $8, k.first_offset, k.end_offset, false, \
         string_to_array(k.dead, ',')::uuid[]
         FROM UNNEST($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::text[])
              AS k(projection, category, partition, first_offset, end_offset, dead)
         ORDER BY k.projection, k.category, k.partition
         ON CONFLICT (projection, generation, category, partition) DO UPDATE
         SET runner = excluded.runner, first_offset = excluded.first_offset, \
         end_offset = excluded.end_offset, applying = excluded.applying, dead = excluded.dead",
        &projections,
        &categories,
        &partitions,
        &firsts as &[Option<i64>],
        &ends as &[Option<i64>],
        &dead,
        GENERATION,
        runner,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// `runner` is about to apply what lies between these offsets, unless another has begun meanwhile.
/// Those that ended over exactly that are still known.
pub async fn attempt(
    connection: &mut PgConnection,
    runner: Uuid,
    of: Key<'_>,
    offsets: &Range<u64>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE projection_runs
         SET first_offset = $6, end_offset = $7, applying = true,
             dead = CASE WHEN first_offset = $6 AND end_offset = $7 THEN dead ELSE '{}' END
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4
           AND runner = $5",
        of.projection,
        GENERATION,
        of.category,
        of.partition,
        runner,
        signed(offsets.start),
        signed(offsets.end),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What `runner` was about to apply has failed, and it lives on; also where another has begun
/// meanwhile and took it for dead.
pub async fn live_on(
    connection: &mut PgConnection,
    runner: Uuid,
    of: Key<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE projection_runs
         SET applying = applying AND runner <> $5, dead = array_remove(dead, $5)
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4",
        of.projection,
        GENERATION,
        of.category,
        of.partition,
        runner,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// `runner` ends with these in good order.
pub async fn end(
    connection: &mut PgConnection,
    runner: Uuid,
    keys: &[Key<'_>],
) -> Result<(), sqlx::Error> {
    let (projections, categories, partitions) = columns(keys.iter());
    sqlx::query!(
        "DELETE FROM projection_runs r
         USING UNNEST($1::text[], $2::text[], $3::int[]) AS k(projection, category, partition)
         WHERE (r.projection, r.category, r.partition) = (k.projection, k.category, k.partition)
           AND r.generation = $4 AND r.runner = $5",
        &projections,
        &categories,
        &partitions,
        GENERATION,
        runner,
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn columns<'k>(keys: impl Iterator<Item = &'k Key<'k>>) -> (Vec<String>, Vec<String>, Vec<i32>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        columns.0.push(key.projection.to_owned());
        columns.1.push(key.category.to_owned());
        columns.2.push(key.partition);
    }
    columns
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
