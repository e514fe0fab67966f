//! Rows that are the fold of one aggregate's events: collapses a batch in memory, so that each row is written once.

use std::collections::BTreeMap;

use protocol::{domain::Unreadable, entry::EventBody, wire::Wire};
use uuid::Uuid;

use crate::runner::{Failure, Slice};

/// A row of a projection's table.
pub trait Row: Sized + Send {
    /// The aggregate.
    fn id(&self) -> Uuid;

    /// The version of the last event in it.
    fn version(&self) -> i64;

    /// The row after `event`, which is the next one. `version` and `partition` are what the row is to say of itself.
    fn evolve(row: Option<Self>, event: &EventBody<Wire>, version: i64, partition: i32) -> Result<Self, Unreadable>;
}

/// Every aggregate that the slices touch.
pub fn touched(slices: &[Slice<'_>]) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = slices.iter().flat_map(|slice| slice.events().map(|(_, event)| event.origin.aggregate)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The rows as they lie in the table with the events of the slices applied; only those that are touched, by id. An event that a
/// row has already is skipped, so that a replay over existing rows ends in the same table.
pub fn collapse<R: Row>(stored: impl IntoIterator<Item = R>, slices: &[Slice<'_>]) -> Result<Vec<R>, Failure> {
    let mut rows: BTreeMap<Uuid, R> = stored.into_iter().map(|row| (row.id(), row)).collect();
    for slice in slices {
        let partition = i32::try_from(slice.place.partition).map_err(unfit)?;
        for (end, event) in slice.events() {
            let id = event.origin.aggregate;
            let version = i64::try_from(event.version).map_err(unfit)?;
            let has = rows.get(&id).map_or(0, Row::version);
            if version <= has {
                continue;
            }
            if version != has + 1 {
                let found = format!("{id} is at version {has}, but its next event, below offset {end}, makes version {version}");
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
