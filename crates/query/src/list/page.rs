//! Which rows of a list are asked for, and what the list had seen when they were read.

use highwater_tables::checkpoints;
use sqlx::PgConnection;

/// One page of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<K> {
    /// One of the list's sorts; empty where it has none.
    pub sort: &'static str,
    pub limit: i64,
    /// The key of the last row before it.
    pub after: Option<K>,
}

impl<K> Page<K> {
    /// One row more than the page holds says whether there is another page.
    pub fn rows(&self) -> i64 {
        self.limit + 1
    }
}

/// What a list was read from.
#[derive(Debug)]
pub struct State {
    /// The number of the tables that are shown.
    pub generation: i32,
    /// Of each partition, up to where.
    pub offsets: Vec<u64>,
    /// Some aggregate of the collection is parked: its row may be missing or lack events.
    pub parked: bool,
}

/// What `projection` has of each partition of `category`.
pub async fn state(
    connection: &mut PgConnection,
    projection: &str,
    category: &str,
    partitions: u32,
) -> Result<State, sqlx::Error> {
    let found = checkpoints::collection(connection, projection, category).await?;
    let mut offsets = vec![0; partitions as usize];
    for (partition, offset) in found.offsets {
        if let Some(reached) = offsets.get_mut(partition as usize) {
            *reached = offset;
        }
    }
    Ok(State { generation: found.live, offsets, parked: found.parked })
}
