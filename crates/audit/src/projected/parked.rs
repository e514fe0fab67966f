//! What a projection parked: from an offset on, the events of an aggregate are not in its tables.
//! Tables are compared without them, and what waits is compared with the log.

use std::collections::{BTreeSet, HashMap};

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{GENERATION, item::Item};
use crate::{
    fault::RowFault,
    report::{self, Report},
};

/// What waits; its aggregates are in [`AGGREGATES`].
pub(super) const TABLE: &str = "parked_commits";
pub(super) const AGGREGATES: &str = "parked_aggregates";

/// An aggregate that one projection does not go on with.
struct Aggregate {
    projection: String,
    from: u64,
    discarded: bool,
    /// Of the projection.
    checkpoint: u64,
    /// Where the commits begin that wait, as the table says and as the log does.
    waits: BTreeSet<u64>,
    expected: BTreeSet<u64>,
}

/// What is parked of one partition.
pub(super) struct Parked {
    /// `category/partition`.
    place: String,
    aggregates: HashMap<Uuid, Vec<Aggregate>>,
}

impl Parked {
    /// `checkpoint`: where a projection stands.
    pub(super) async fn load(
        category: &str,
        partition: u32,
        checkpoint: impl Fn(&str) -> u64,
        connection: &mut PgConnection,
        report: &mut Report,
    ) -> Result<Self, sqlx::Error> {
        let sql = "SELECT p.projection, p.aggregate_id, p.from_offset, p.discarded_at IS NOT NULL,
                       ARRAY(SELECT c.first_offset FROM parked_commits AS c
                             WHERE (c.projection, c.generation, c.category, c.partition,
                                    c.aggregate_id)
                                 = (p.projection, p.generation, p.category, p.partition,
                                    p.aggregate_id))
                   FROM parked_aggregates AS p
                   WHERE p.generation = $1 AND p.category = $2 AND p.partition = $3";
        let found = sqlx::query(sql)
            .bind(GENERATION)
            .bind(category)
            .bind(i32::try_from(partition).unwrap_or(i32::MAX))
            .fetch_all(connection)
            .await?;
        let mut aggregates: HashMap<Uuid, Vec<Aggregate>> = HashMap::new();
        for row in found {
            let projection: String = row.try_get(0)?;
            let waits: Vec<i64> = row.try_get(4)?;
            report.rows(TABLE, waits.len() as u64);
            aggregates.entry(row.try_get(1)?).or_default().push(Aggregate {
                checkpoint: checkpoint(&projection),
                projection,
                from: unsigned(row.try_get(2)?),
                discarded: row.try_get(3)?,
                waits: waits.into_iter().map(unsigned).collect(),
                expected: BTreeSet::new(),
            });
        }
        Ok(Self { place: format!("{category}/{partition}"), aggregates })
    }

    /// The projections that do not have what `item` says, whose first record is at `first`.
    pub(super) fn wait_for(&mut self, item: &Item, first: u64) -> Vec<String> {
        let mut projections = Vec::new();
        for parked in self.aggregates.get_mut(&item.aggregate).into_iter().flatten() {
            if first < parked.from || item.events().is_empty() {
                continue;
            }
            projections.push(parked.projection.clone());
            if item.end <= parked.checkpoint {
                parked.expected.insert(first);
            }
        }
        projections
    }

    /// The partition was read to its end.
    pub(super) fn finish(self, report: &mut Report) {
        let mut all: Vec<(Uuid, Aggregate)> = self
            .aggregates
            .into_iter()
            .flat_map(|(id, parked)| parked.into_iter().map(move |parked| (id, parked)))
            .collect();
        all.sort_by(|(a, of_a), (b, of_b)| (&of_a.projection, a).cmp(&(&of_b.projection, b)));
        for (id, parked) in all {
            let key = format!("{}.{GENERATION}/{}/{id}", parked.projection, self.place);
            if parked.expected.first() != Some(&parked.from) {
                report.row_difference(AGGREGATES, &key, RowFault::Unfounded);
            }
            // What was given up is kept no more.
            let expected = if parked.discarded { BTreeSet::new() } else { parked.expected };
            for first in parked.waits.difference(&expected) {
                report.row_difference(TABLE, &format!("{key}@{first}"), RowFault::Unfounded);
            }
            for first in expected.difference(&parked.waits) {
                report.row_difference(TABLE, &format!("{key}@{first}"), RowFault::Lost);
            }
            report.parked(report::Parked {
                projection: parked.projection,
                aggregate: id.to_string(),
                partition: self.place.clone(),
                from_offset: parked.from,
                discarded: parked.discarded,
            });
        }
    }
}

fn unsigned(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}
