//! A filter of ids as an owner loads it, with everything that came since it was written.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Segment, table::Row};
use crate::columns::{Malformed, ReadError, present, unsigned};

/// What was found, all of it at one moment.
#[derive(Clone, Debug, Default)]
pub struct OwnerFilter {
    /// Where `snapshots` stands on the partition; 0, if it has not begun.
    pub checkpoint: u64,
    /// Of all segments, in bytes.
    pub size_bytes: i64,
    /// In their sequence; empty if they have more bytes than were asked for.
    pub segments: Vec<Segment>,
    /// Command and aggregate of each outcome that the filter does not cover.
    pub since: Vec<[Uuid; 2]>,
}

/// The filter of a partition, unless it has more than `limit_bytes`; the outcomes since,
/// `most_since` at most; and the checkpoint that both belong to. One statement, so that they agree.
pub async fn load(
    connection: &mut PgConnection,
    category: &str,
    partition: u32,
    limit_bytes: usize,
    most_since: i64,
) -> Result<OwnerFilter, ReadError> {
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
        category,
        i32::try_from(partition).unwrap_or(i32::MAX),
        i64::try_from(limit_bytes).unwrap_or(i64::MAX),
        most_since,
    );
    let mut found = OwnerFilter::default();
    for row in rows.fetch_all(connection).await? {
        match row.kind {
            0 => found.checkpoint = unsigned(present(row.n)?)?,
            1 => found.size_bytes = row.n.unwrap_or(0),
            2 => found.segments.push(segment(row.n, row.ids, row.bits)?),
            _ => found.since.push([present(row.id)?, present(row.aggregate)?]),
        }
    }
    found.segments.sort_by_key(Segment::number);
    Ok(found)
}

fn segment(
    number: Option<i64>,
    ids: Option<i64>,
    bits: Option<Vec<u8>>,
) -> Result<Segment, Malformed> {
    let segment = i32::try_from(present(number)?).map_err(|_| Malformed::SegmentNumber)?;
    Row { segment, ids: present(ids)?, bits: present(bits)? }.try_into()
}
