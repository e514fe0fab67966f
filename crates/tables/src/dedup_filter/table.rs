//! Rows of `seen_filters`: the segments of a partition's filter, as projection `snapshots` writes
//! them.

use sqlx::PgConnection;

use super::Segment;
use crate::columns::{Malformed, ReadError, unsigned};

/// The columns behind category and partition, but for `next_offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) segment: i32,
    pub(super) ids: i64,
    pub(super) bits: Vec<u8>,
}

impl From<&Segment> for Row {
    fn from(segment: &Segment) -> Self {
        Self {
            segment: i32::try_from(segment.number()).unwrap_or(i32::MAX),
            ids: i64::try_from(segment.ids()).unwrap_or(i64::MAX),
            bits: segment.to_bytes(),
        }
    }
}

impl TryFrom<Row> for Segment {
    type Error = Malformed;

    fn try_from(row: Row) -> Result<Self, Malformed> {
        let number = u32::try_from(row.segment).map_err(|_| Malformed::Negative)?;
        Ok(Segment::from_bytes(number, unsigned(row.ids)?, &row.bits)?)
    }
}

/// The segment of a partition that still grows, and the offset below which every id of an outcome
/// is in it or in an earlier one. `None`: the partition has no filter.
pub async fn last(
    connection: &mut PgConnection,
    category: &str,
    partition: i32,
) -> Result<Option<(Segment, i64)>, ReadError> {
    let last = sqlx::query!(
        "SELECT segment, ids, next_offset, bits FROM seen_filters WHERE category = $1 AND \
         partition = $2 ORDER BY segment DESC LIMIT 1",
        category,
        partition,
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = last else { return Ok(None) };
    let columns = Row { segment: row.segment, ids: row.ids, bits: row.bits };
    Ok(Some((columns.try_into()?, row.next_offset)))
}

/// Makes the row of a segment, or writes it anew. `covers`: every id of an outcome below this
/// offset is in this segment or in an earlier one.
pub async fn upsert(
    connection: &mut PgConnection,
    category: &str,
    partition: i32,
    segment: &Segment,
    covers: i64,
) -> Result<(), sqlx::Error> {
    let row = Row::from(segment);
    sqlx::query!(
        "INSERT INTO seen_filters (category, partition, segment, ids, next_offset, bits) VALUES \
         ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (category, partition, segment) DO UPDATE
         SET ids = excluded.ids, next_offset = excluded.next_offset, bits = excluded.bits",
        category,
        partition,
        row.segment,
        row.ids,
        covers,
        row.bits,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The whole filter of one partition goes.
pub async fn delete_partition(
    connection: &mut PgConnection,
    category: &str,
    partition: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM seen_filters WHERE category = $1 AND partition = $2",
        category,
        partition
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_segment_survives_the_row() -> Result<(), Malformed> {
        for number in [0, 3] {
            let mut segment = Segment::empty(number);
            (0..100).for_each(|id| segment.add(Uuid::from_u128(id << 70 | id)));
            let row = Row::from(&segment);
            assert_eq!((i64::from(row.segment), row.ids), (i64::from(number), 100));
            let read = Segment::try_from(row.clone())?;
            assert_eq!((read.number(), read.ids()), (segment.number(), segment.ids()));
            assert_eq!(Row::from(&read), row);
        }
        Ok(())
    }

    #[test]
    fn a_row_that_no_release_wrote_is_refused() {
        let row = Row::from(&Segment::empty(1));
        let refused = |row: Row| Segment::try_from(row).err();
        assert_eq!(refused(Row { segment: -1, ..row.clone() }), Some(Malformed::Negative));
        assert_eq!(refused(Row { ids: -1, ..row.clone() }), Some(Malformed::Negative));
        let short = refused(Row { segment: 0, ..row });
        assert!(matches!(short, Some(Malformed::SegmentSize(_))), "{short:?}");
    }
}
