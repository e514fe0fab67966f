//! One partition of one category, through all of its tables: takes the log's records in turn and
//! compares at the end of each batch and of the partition. Keeps the rows of this partition's
//! aggregates, nothing of other partitions.

use highwater_protocol::record::StoredRecord;

use super::{
    Projected, checkpoints, checkpoints::Checkpoint, dedup_filter::Filters, item::Assembly,
    outcomes::Outcomes, parked::Parked, rows::Expected, snapshots,
};
use crate::{
    fault::RowFault,
    fold::{Position, Verdict},
    report::Report,
};

pub struct Partition {
    index: u32,
    checkpoints: Vec<Checkpoint>,
    assembly: Assembly,
    expected: Vec<Expected>,
    parked: Parked,
    outcomes: Outcomes,
    filters: Filters,
}

impl Partition {
    pub async fn begin(
        database: &mut Projected<'_>,
        category: &str,
        partitions: u32,
        index: u32,
        report: &mut Report,
    ) -> Result<Self, sqlx::Error> {
        let checkpoints = database.checkpoints_of(category, partitions, index);
        report.rows(checkpoints::TABLE, checkpoints.len() as u64);
        // A projection that has not begun has no rows.
        let at = |projection: &str| {
            let live =
                |c: &&Checkpoint| c.projection == projection && c.generation == super::GENERATION;
            checkpoints.iter().find(live).map_or(0, |c| c.next_offset)
        };
        let tables =
            database.tables.iter().enumerate().filter(|(_, table)| table.category() == category);
        let expected =
            tables.map(|(number, table)| Expected::new(number, at(table.projection()))).collect();
        let snapshots = at(snapshots::TABLE);
        let parked = Parked::load(category, index, at, database.connection, report).await?;
        let filters =
            Filters::load(category, index, snapshots, database.connection, report).await?;
        let outcomes = Outcomes::new(category, index, snapshots);
        Ok(Self {
            index,
            checkpoints,
            assembly: Assembly::of(index),
            expected,
            parked,
            outcomes,
            filters,
        })
    }

    /// `before`: the fold of everything below this record.
    pub fn record(
        &mut self,
        database: &Projected<'_>,
        before: &Position,
        stored: &StoredRecord,
        verdict: &Verdict,
        report: &mut Report,
    ) {
        self.look_at_checkpoints(stored.offset, before, report);
        let Some(item) = self.assembly.next(stored, verdict) else { return };
        self.outcomes.add(&item);
        self.filters.look(&item, report);
        let waiting = match verdict {
            Verdict::Commit(commit) => self.parked.wait_for(&item, commit.first),
            _ => Vec::new(),
        };
        for expected in &mut self.expected {
            let table = &*database.tables[expected.table];
            // Tables lack what is parked.
            if waiting.iter().any(|projection| projection == table.projection()) {
                continue;
            }
            item.events().iter().for_each(|event| expected.add(table, item.end, event));
        }
    }

    /// Everything below `read` was given.
    pub async fn batch(
        &mut self,
        database: &mut Projected<'_>,
        read: u64,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        self.outcomes.compare(read, database.connection, report).await
    }

    /// The log ends at `end`.
    pub async fn finish(
        mut self,
        database: &mut Projected<'_>,
        end: &Position,
        log_end: u64,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        self.look_at_checkpoints(log_end, end, report);
        for checkpoint in
            self.checkpoints.iter().filter(|checkpoint| checkpoint.next_offset > log_end)
        {
            let fault = RowFault::Ahead { at: checkpoint.next_offset, end: log_end };
            report.row_difference(checkpoints::TABLE, &checkpoint.key(), fault);
        }
        self.outcomes.finish(database.connection, report).await?;
        self.parked.finish(report);
        for expected in self.expected {
            let table = &database.tables[expected.table];
            expected.compare(&**table, self.index, database.connection, report).await?;
        }
        Ok(())
    }

    fn look_at_checkpoints(&mut self, offset: u64, position: &Position, report: &mut Report) {
        for checkpoint in
            self.checkpoints.iter().filter(|checkpoint| checkpoint.next_offset == offset)
        {
            for fault in checkpoint.compare(position) {
                report.row_difference(checkpoints::TABLE, &checkpoint.key(), fault);
            }
        }
    }
}
