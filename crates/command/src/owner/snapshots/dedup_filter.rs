//! The filter of ids of one partition, as `snapshots` wrote it, with everything that came
//! since.

use highwater_tables::dedup_filter::{DedupFilter, Segment};

use super::{Error, PostgresSnapshots, present, unsigned};

/// Outcomes since the filter was written; more mean that it was not written for long, and a look-up
/// for every id is cheaper.
const MOST_SINCE: i64 = 400_000;

/// Filter, outcomes since, and the checkpoint that both belong to, in one statement.
pub(super) async fn load(
    tables: &PostgresSnapshots,
    partition: u32,
    from: u64,
    limit_bytes: usize,
) -> Result<DedupFilter, Error> {
    let rows = sqlx::query!(
        "
        WITH filter AS (
            SELECT segment, ids, next_offset, bits, octet_length(bits) AS size \
              FROM seen_filters WHERE category = $1 AND partition = $2
        ), since AS (
            SELECT command_id, aggregate_id FROM outcomes
             WHERE category = $1 AND partition = $2 \
               AND next_offset > coalesce((SELECT max(next_offset) FROM filter), 0)
             LIMIT $4
        )
        SELECT 0 AS \"kind!\", next_offset AS n, NULL::bigint AS ids, NULL::bytea AS bits, \
               NULL::uuid AS id, NULL::uuid AS aggregate
          FROM checkpoints \
         WHERE projection = 'snapshots' AND generation = 1 AND category = $1 AND partition = $2
        UNION ALL
        SELECT 1, sum(size), NULL, NULL, NULL, NULL FROM filter
        UNION ALL
        (SELECT 2, segment, ids, bits, NULL, NULL FROM filter \
          WHERE (SELECT sum(size) FROM filter) <= $3 ORDER BY segment)
        UNION ALL
        SELECT 3, NULL, NULL, NULL, command_id, aggregate_id FROM since
        ",
        tables.category,
        i32::try_from(partition).unwrap_or(i32::MAX),
        i64::try_from(limit_bytes).unwrap_or(i64::MAX),
        MOST_SINCE,
    );
    let (mut checkpoint, mut size, mut segments, mut since) = (0, 0, Vec::new(), Vec::new());
    for row in rows.fetch_all(&mut *tables.pool.acquire().await?).await? {
        match row.kind {
            0 => checkpoint = unsigned(row.n)?,
            1 => size = row.n.unwrap_or(0),
            2 => segments.push(segment(row.n, row.ids, row.bits)?),
            _ => since.extend([present(row.id)?, present(row.aggregate)?]),
        }
    }
    if checkpoint < from {
        return Err(Error::FellBack { from, checkpoint });
    }
    let too_large = usize::try_from(size).is_ok_and(|size| size > limit_bytes);
    let too_many = i64::try_from(since.len() / 2).is_ok_and(|found| found >= MOST_SINCE);
    if too_large || too_many {
        tracing::warn!(
            category = tables.category,
            partition,
            size,
            since = since.len() / 2,
            "no filter of ids: every unknown id is looked up"
        );
        return Ok(DedupFilter::blind());
    }
    segments.sort_by_key(Segment::number);
    let mut filter = DedupFilter::new(segments, limit_bytes);
    since.into_iter().for_each(|id| filter.add(id));
    Ok(filter)
}

fn segment(number: Option<i64>, ids: Option<i64>, bits: Option<Vec<u8>>) -> Result<Segment, Error> {
    let number = u32::try_from(unsigned(number)?)
        .map_err(|_| Error::Malformed("a segment number above 2^32".to_owned()))?;
    Segment::from_bytes(number, unsigned(ids)?, &present(bits)?)
        .map_err(|error| Error::Malformed(error.to_string()))
}
