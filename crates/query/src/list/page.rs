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

/// The offset that `projection` has reached on each partition of `category`.
pub async fn offsets(
    connection: &mut PgConnection,
    projection: &str,
    category: &str,
    partitions: u32,
) -> Result<Vec<u64>, sqlx::Error> {
    let found = checkpoints::offsets(connection, projection, category).await?;
    let mut offsets = vec![0; partitions as usize];
    for (partition, offset) in found {
        if let Some(reached) = offsets.get_mut(partition as usize) {
            *reached = offset;
        }
    }
    Ok(offsets)
}
