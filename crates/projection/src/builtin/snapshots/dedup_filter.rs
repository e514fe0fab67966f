//! Filters of the command and aggregate ids that a partition has seen, written now and then from
//! the outcomes since the last time. Never holds too little: what it covers is read in the
//! transaction that says so.

use std::collections::BTreeMap;

use highwater_tables::{
    ReadError,
    dedup_filter::{self, Segment},
    outcomes,
};
use parking_lot::Mutex;

use super::number;
use crate::runner::{Failure, PostgresTx, Slice, TopicPartition};

/// Outcomes of a partition after which its filter is written.
const EVERY: usize = 10_000;
/// Outcomes read at once; a long history without a filter is caught up with in several
/// transactions.
const MOST_ROWS: i64 = 200_000;

/// How many outcomes each partition has had since its filter was written, as far as this process
/// knows. Only a reason to write.
pub(super) struct Due {
    outcomes: Mutex<BTreeMap<TopicPartition, usize>>,
    /// See [`MOST_ROWS`].
    pub(super) most_rows: i64,
}

impl Default for Due {
    fn default() -> Self {
        Self { outcomes: Mutex::default(), most_rows: MOST_ROWS }
    }
}

impl Due {
    /// Whether the partition's filter is to be written in this transaction. A partition that is new
    /// here is due at once.
    fn count(&self, topic_partition: &TopicPartition, outcomes: usize) -> bool {
        let mut counted = self.outcomes.lock();
        let count = counted.entry(topic_partition.clone()).or_insert(EVERY);
        *count += outcomes;
        *count >= EVERY
    }

    fn written(&self, topic_partition: &TopicPartition) {
        self.outcomes.lock().insert(topic_partition.clone(), 0);
    }

    /// Writes the filters that are due. A transaction that fails afterwards writes them again the
    /// next time round.
    pub(super) async fn write(
        &self,
        tx: &mut PostgresTx,
        slices: &[Slice<'_>],
    ) -> Result<(), Failure> {
        for slice in slices {
            if self.count(slice.topic_partition, slice.items.len())
                && catch_up(tx, slice.topic_partition, self.most_rows).await?
            {
                self.written(slice.topic_partition);
            }
        }
        Ok(())
    }

    pub(super) async fn start_over(
        &self,
        tx: &mut PostgresTx,
        topic_partition: &TopicPartition,
    ) -> Result<(), Failure> {
        let partition = number(topic_partition.partition)?;
        dedup_filter::delete_partition(tx, &topic_partition.category, partition).await?;
        Ok(())
    }
}

/// Adds the outcomes that came since the filter was written; `false`: there are more.
async fn catch_up(
    tx: &mut PostgresTx,
    topic_partition: &TopicPartition,
    most_rows: i64,
) -> Result<bool, Failure> {
    let (category, partition) = (&*topic_partition.category, number(topic_partition.partition)?);
    let last = dedup_filter::last(tx, category, partition).await.map_err(unread)?;
    let (mut segment, covered) = last.unwrap_or_else(|| (Segment::empty(0), 0));
    let rows = outcomes::ids_since(tx, category, partition, covered, most_rows).await?;
    let Some(covers) = rows.last().map(|row| row.next_offset) else { return Ok(true) };
    let all = i64::try_from(rows.len()).is_ok_and(|found| found < most_rows);
    for row in rows {
        for id in [row.command_id, row.aggregate_id] {
            if segment.is_full() {
                // The full one says how far it goes, too: nothing depends on it, the last one
                // counts.
                let covers = row.next_offset - 1;
                dedup_filter::upsert(tx, category, partition, &segment, covers).await?;
                segment = Segment::empty(segment.number() + 1);
            }
            segment.add(id);
        }
    }
    dedup_filter::upsert(tx, category, partition, &segment, covers).await?;
    Ok(all)
}

fn unread(error: ReadError) -> Failure {
    match error {
        ReadError::Database(error) => error.into(),
        ReadError::Malformed(what) => {
            Failure::Deterministic(format!("a stored filter is damaged: {what}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_due_at_once_and_then_after_so_many_outcomes_of_its_partition() {
        let (due, one, other) = (
            Due::default(),
            TopicPartition::of_events("thing", 0),
            TopicPartition::of_events("thing", 1),
        );
        assert!(due.count(&one, 0), "it is new here");
        assert!(due.count(&one, 1), "and was not written");
        due.written(&one);
        assert!(!due.count(&one, 0) && !due.count(&one, EVERY - 1));
        assert!(due.count(&other, 1));
        assert!(due.count(&one, 1) && due.count(&one, 5));
        due.written(&one);
        assert!(!due.count(&one, 4));
    }
}
