//! Which runner projects a partition, and what it is about to apply: how a runner knows that the
//! one before died, and of what. Written where a partition begins and ends, and between these only
//! after an end that was in no good order.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::checkpoints::{GENERATION, Key};

/// What a runner was about to apply: everything between two offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub first: u64,
    pub end: u64,
    /// So many runners have ended over it.
    pub deaths: u32,
}

/// A runner that began, and has not ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub runner: Uuid,
    pub attempt: Option<Attempt>,
}

/// The runs of `keys`, in their sequence.
pub async fn find(
    connection: &mut PgConnection,
    keys: &[Key<'_>],
) -> Result<Vec<Option<Run>>, sqlx::Error> {
    let (projections, categories, partitions) = columns(keys.iter());
    let found = sqlx::query!(
        r#"SELECT r.runner AS "runner?", r.first_offset AS "first?", r.end_offset AS "end?",
                  r.deaths AS "deaths?"
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
            deaths: row.deaths.unwrap_or(0).unsigned_abs(),
        });
        row.runner.map(|runner| Run { runner, attempt })
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
    let (mut firsts, mut ends, mut deaths) = (Vec::new(), Vec::new(), Vec::new());
    for (_, attempt) in of {
        firsts.push(attempt.map(|attempt| signed(attempt.first)));
        ends.push(attempt.map(|attempt| signed(attempt.end)));
        deaths.push(attempt.map_or(0, |attempt| count(attempt.deaths)));
    }
    sqlx::query!(
        "INSERT INTO projection_runs (projection, generation, category, partition, runner, \
         first_offset, end_offset, deaths)
         SELECT k.projection, $7, k.category, k.partition, $8, k.first_offset, k.end_offset, \
         k.deaths
         FROM UNNEST($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::int[])
              AS k(projection, category, partition, first_offset, end_offset, deaths)
         ORDER BY k.projection, k.category, k.partition
         ON CONFLICT (projection, generation, category, partition) DO UPDATE
         SET runner = excluded.runner, first_offset = excluded.first_offset, \
         end_offset = excluded.end_offset, deaths = excluded.deaths",
        &projections,
        &categories,
        &partitions,
        &firsts as &[Option<i64>],
        &ends as &[Option<i64>],
        &deaths,
        GENERATION,
        runner,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// `runner` is about to apply this, unless another has begun meanwhile.
pub async fn attempt(
    connection: &mut PgConnection,
    runner: Uuid,
    of: Key<'_>,
    attempt: Attempt,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE projection_runs SET first_offset = $6, end_offset = $7, deaths = $8
         WHERE projection = $1 AND generation = $2 AND category = $3 AND partition = $4
           AND runner = $5",
        of.projection,
        GENERATION,
        of.category,
        of.partition,
        runner,
        signed(attempt.first),
        signed(attempt.end),
        count(attempt.deaths),
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

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
