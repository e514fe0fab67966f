//! Rows that are the fold of one aggregate's events: collapses a batch in memory, so that each row
//! is written once.

use std::collections::BTreeMap;

use highwater_protocol::{domain::Unreadable, entry::EventBody, wire::Wire};
use uuid::Uuid;

use crate::runner::{Failure, Slice};

/// A row of a projection's table.
pub trait Row: Sized + Send {
    /// The aggregate.
    fn id(&self) -> Uuid;

    /// The version of the last event in it.
    fn version(&self) -> i64;

    /// The row after `event`, which is the next one. `version` and `partition` are what the row is
    /// to say of itself.
    fn evolve(
        row: Option<Self>,
        event: &EventBody<Wire>,
        version: i64,
        partition: i32,
    ) -> Result<Self, Unreadable>;
}

/// Every aggregate that the slices touch.
pub fn touched(slices: &[Slice<'_>]) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = slices
        .iter()
        .flat_map(|slice| slice.events().map(|(_, event)| event.metadata.aggregate))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The rows as they lie in the table with the events of the slices applied; only those that are
/// touched, by id. An event that a row has already is skipped, so that a replay over existing rows
/// ends in the same table.
pub fn collapse<R: Row>(
    stored: impl IntoIterator<Item = R>,
    slices: &[Slice<'_>],
) -> Result<Vec<R>, Failure> {
    let mut rows: BTreeMap<Uuid, R> = stored.into_iter().map(|row| (row.id(), row)).collect();
    for slice in slices {
        let partition = i32::try_from(slice.topic_partition.partition).map_err(unfit)?;
        for (end, event) in slice.events() {
            let id = event.metadata.aggregate;
            let version = i64::try_from(event.version).map_err(unfit)?;
            let has = rows.get(&id).map_or(0, Row::version);
            if version <= has {
                continue;
            }
            if version != has + 1 {
                let found = format!(
                    "{id} is at version {has}, but its next event, below offset {end}, makes \
                     version {version}"
                );
                return Err(Failure::Deterministic(found));
            }
            let row = R::evolve(rows.remove(&id), event, version, partition)?;
            rows.insert(id, row);
        }
    }
    Ok(rows.into_values().collect())
}

fn unfit(error: std::num::TryFromIntError) -> Failure {
    Failure::Deterministic(error.to_string())
}

#[cfg(test)]
mod tests {
    use highwater_protocol::{
        entry::{CommandMetadata, Part},
        fold::Commit,
        position::Position,
        time::Micros,
        wire::{Fingerprint, Meta, RecordedEvent},
    };

    use super::*;
    use crate::runner::{Item, TopicPartition, What};

    /// Adds up the versions it has seen.
    #[derive(Debug, PartialEq)]
    struct Sum {
        id: Uuid,
        version: i64,
        sum: i64,
    }

    impl Row for Sum {
        fn id(&self) -> Uuid {
            self.id
        }

        fn version(&self) -> i64 {
            self.version
        }

        fn evolve(
            row: Option<Self>,
            event: &EventBody<Wire>,
            version: i64,
            _: i32,
        ) -> Result<Self, Unreadable> {
            Ok(Self {
                id: event.metadata.aggregate,
                version,
                sum: row.map_or(0, |row| row.sum) + version,
            })
        }
    }

    fn item(id: Uuid, version: u64) -> Item {
        let metadata = CommandMetadata {
            aggregate: id,
            command: Uuid::nil(),
            fingerprint: Fingerprint { key_number: 0, hmac: [0; 32] },
            meta: Meta::default(),
            source: None,
        };
        let event =
            RecordedEvent { event_type: "a".into(), schema: "a.v1".into(), data: Vec::new() };
        let body = EventBody { metadata, version, part: Part::WHOLE, time: Micros(0), event };
        Item {
            what: What::Commit(Commit { first: 7, end: 8, last_seq: 7, events: vec![body] }),
            after: Position::start(),
        }
    }

    fn collapsed(stored: Vec<Sum>, items: &[Item]) -> Result<Vec<Sum>, Failure> {
        let topic_partition = TopicPartition::of_events("a", 0);
        collapse(stored, &[Slice { topic_partition: &topic_partition, items }])
    }

    #[test]
    fn a_row_is_folded_once_and_from_where_it_stands() -> Result<(), Failure> {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let stored = vec![Sum { id: one, version: 2, sum: 3 }];
        let rows = collapsed(stored, &[item(one, 2), item(two, 1), item(one, 3), item(one, 4)])?;
        assert_eq!(
            rows,
            [Sum { id: one, version: 4, sum: 10 }, Sum { id: two, version: 1, sum: 1 }]
        );
        Ok(())
    }

    #[test]
    fn a_missing_event_is_never_jumped_over() {
        let refused =
            collapsed(Vec::new(), &[item(Uuid::from_u128(1), 1), item(Uuid::from_u128(1), 3)]);
        assert!(
            matches!(&refused, Err(Failure::Deterministic(why)) if why.contains("below offset 8")),
            "{refused:?}"
        );
    }
}
