//! The filter of ids of one partition, as `snapshots` wrote it, with everything that came
//! since.

use highwater_tables::dedup_filter::{self, DedupFilter, OwnerFilter};

use super::{Error, PostgresSnapshots};

/// Outcomes since the filter was written; more mean that it was not written for long, and a look-up
/// for every id is cheaper.
const MOST_SINCE: i64 = 400_000;

pub(super) async fn load(
    tables: &PostgresSnapshots,
    partition: u32,
    from: u64,
    limit_bytes: usize,
) -> Result<DedupFilter, Error> {
    let PostgresSnapshots { pool, category } = tables;
    let OwnerFilter { checkpoint, size_bytes, segments, since } = dedup_filter::load(
        &mut *pool.acquire().await?,
        category,
        partition,
        limit_bytes,
        MOST_SINCE,
    )
    .await?;
    if checkpoint < from {
        return Err(Error::FellBack { from, checkpoint });
    }
    let too_large = usize::try_from(size_bytes).is_ok_and(|size| size > limit_bytes);
    let too_many = i64::try_from(since.len()).is_ok_and(|found| found >= MOST_SINCE);
    if too_large || too_many {
        tracing::warn!(
            category,
            partition,
            size = size_bytes,
            since = since.len(),
            "no filter of ids: every unknown id is looked up"
        );
        return Ok(DedupFilter::blind());
    }
    let mut filter = DedupFilter::new(segments, limit_bytes);
    since.into_iter().flatten().for_each(|id| filter.add(id));
    Ok(filter)
}
