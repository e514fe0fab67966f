//! Parking, as far as it needs no table: what is kept of a commit that waits, and which commits of
//! a job do.

use std::collections::BTreeMap;

use highwater_protocol::fold::Commit;
use highwater_protocol::wire::Wire;
use highwater_tables::parked;
use uuid::Uuid;

use super::{
    batch::{Item, What},
    failure::Failure,
    redaction::redacted,
};

/// The commit of an item, if it is one.
pub fn commit(item: &Item) -> Option<&Commit<Wire>> {
    match &item.what {
        What::Commit(commit) => Some(commit),
        What::Outcome { .. } | What::Accepted { .. } => None,
    }
}

/// Whose events the item brings.
pub fn aggregate(item: &Item) -> Option<Uuid> {
    commit(item)?.events.first().map(|event| event.metadata.aggregate)
}

/// Which records they are, as they are found again. `None`: it is no commit.
pub fn waiting(item: &Item) -> Option<Result<parked::Commit, Failure>> {
    let (commit, aggregate) = (commit(item)?, aggregate(item)?);
    let writer = item.after.writer?;
    let number = |number: u64| {
        i64::try_from(number).map_err(|error| Failure::Deterministic(error.to_string()))
    };
    Some((|| {
        Ok(parked::Commit {
            aggregate,
            first_offset: number(commit.first)?,
            end_offset: number(commit.end)?,
            epoch: number(item.after.epoch)?,
            writer,
            last_seq: number(commit.last_seq)?,
            events: i32::try_from(commit.events.len())
                .map_err(|error| Failure::Deterministic(error.to_string()))?,
        })
    })())
}

/// What is said of a commit that cannot be applied.
pub fn cause(commit: &Commit<Wire>, why: &Failure) -> parked::Cause {
    let first = commit.events.first();
    parked::Cause {
        schema: first.map(|event| event.event.schema.to_string()).unwrap_or_default(),
        version: first.map_or(1, |event| i64::try_from(event.version).unwrap_or(i64::MAX)),
        error: redacted(&why.to_string()),
    }
}

/// What of `items` is applied, and what waits because its aggregate is parked: `true` where it was
/// given up, so that what follows is forgotten.
pub fn part(
    items: &[Item],
    parked: &BTreeMap<Uuid, bool>,
) -> Result<(Vec<Item>, Vec<parked::Commit>), Failure> {
    let (mut applied, mut waits) = (Vec::new(), Vec::new());
    for item in items {
        match aggregate(item).and_then(|id| parked.get(&id)) {
            None => applied.push(item.clone()),
            Some(true) => {}
            Some(false) => waits.extend(waiting(item).transpose()?),
        }
    }
    Ok((applied, waits))
}
