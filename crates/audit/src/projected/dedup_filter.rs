//! `seen_filters`: every command and aggregate id of an outcome below the offset that a filter
//! covers is in it. More may be.

use highwater_tables::dedup_filter::Segment;
use sqlx::{PgConnection, Row};

use super::item::Item;
use crate::fault::RowFault;
use crate::report::Report;

pub(super) const TABLE: &str = "seen_filters";

/// One partition's segments, each with the offset that it covers together with those before it.
pub(super) struct Filters {
    partition: String,
    segments: Vec<(u64, Segment)>,
}

impl Filters {
    pub(super) async fn load(
        category: &str,
        partition: u32,
        checkpoint: u64,
        connection: &mut PgConnection,
        report: &mut Report,
    ) -> Result<Self, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT segment, ids, next_offset, bits FROM seen_filters WHERE category = $1 AND \
             partition = $2 ORDER BY segment",
        );
        let found = rows
            .bind(category)
            .bind(i32::try_from(partition).unwrap_or(i32::MAX))
            .fetch_all(connection)
            .await?;
        let mut filters = Self {
            partition: format!("{category}/{partition}"),
            segments: Vec::with_capacity(found.len()),
        };
        for row in found {
            report.rows(TABLE, 1);
            let [number, ids, covers] =
                [i64::from(row.try_get::<i32, _>(0)?), row.try_get(1)?, row.try_get(2)?];
            let number = u32::try_from(number).unwrap_or(0);
            let covers = u64::try_from(covers).unwrap_or(0);
            if covers > checkpoint {
                report.row_difference(
                    TABLE,
                    &filters.key(number),
                    RowFault::FilterAhead { covers, checkpoint },
                );
            }
            match Segment::from_bytes(number, u64::try_from(ids).unwrap_or(0), row.try_get(3)?) {
                Ok(segment) => filters.segments.push((covers, segment)),
                Err(error) => report.row_difference(
                    TABLE,
                    &filters.key(number),
                    RowFault::FilterDamaged(error.to_string()),
                ),
            }
        }
        Ok(filters)
    }

    pub(super) fn look(&self, item: &Item, report: &mut Report) {
        let Some(covering) = self.segments.iter().position(|(covers, _)| *covers >= item.end)
        else {
            return;
        };
        for id in [item.command, item.aggregate] {
            if !self.segments[..=covering].iter().any(|(_, segment)| segment.may_contain(id)) {
                let (below, segment) = &self.segments[covering];
                report.row_difference(
                    TABLE,
                    &self.key(segment.number()),
                    RowFault::Unseen { id, below: *below },
                );
            }
        }
    }

    fn key(&self, segment: u32) -> String {
        format!("{}/{segment}", self.partition)
    }
}
