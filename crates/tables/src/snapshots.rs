//! `snapshots`: the state of every aggregate at the checkpoint of projection `snapshots`, in its
//! serialized form, or why there is none.
//!
//! | module | what it owns |
//! |---|---|
//! | `load` | states, outcomes and the checkpoint that both belong to, as an owner loads them |

mod load;

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

pub use self::load::{OwnerLoad, OwnerState, load};

/// The key of a snapshot; the sequence of these is the one in which rows are locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub category: String,
    pub id: Uuid,
}

/// An aggregate as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// Of the aggregate.
    pub version: i64,
    /// Serialized, or the reason why it is not.
    pub state: Result<Vec<u8>, String>,
}

/// A row as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub name: Name,
    /// Stays what it was when the row was made.
    pub partition: i32,
    /// The form of the state.
    pub format: i16,
    pub snapshot: StoredSnapshot,
}

/// The forms of the states of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats {
    pub oldest: i16,
    pub newest: i16,
}

/// `None`: the partition has no snapshot.
pub async fn formats(
    connection: &mut PgConnection,
    category: &str,
    partition: i32,
) -> Result<Option<Formats>, sqlx::Error> {
    let formats = sqlx::query!(
        "SELECT min(format) AS oldest, max(format) AS newest FROM snapshots WHERE category = \
             $1 AND partition = $2",
        category,
        partition,
    )
    .fetch_one(connection)
    .await?;
    Ok(formats.oldest.zip(formats.newest).map(|(oldest, newest)| Formats { oldest, newest }))
}

/// All snapshots of one partition go.
pub async fn delete_partition(
    connection: &mut PgConnection,
    category: &str,
    partition: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM snapshots WHERE category = $1 AND partition = $2",
        category,
        partition
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Those of `names` that have a snapshot.
pub async fn find(
    connection: &mut PgConnection,
    names: impl Iterator<Item = &Name>,
) -> Result<BTreeMap<Name, StoredSnapshot>, sqlx::Error> {
    let (categories, ids): (Vec<&str>, Vec<Uuid>) =
        names.map(|name| (name.category.as_str(), name.id)).unzip();
    let rows = sqlx::query!(
        "SELECT s.category, s.aggregate_id, s.version, s.state, s.unreadable
         FROM UNNEST($1::text[], $2::uuid[]) AS n(category, id)
         JOIN snapshots s ON (s.category, s.aggregate_id) = (n.category, n.id)",
        &categories as &[&str],
        &ids,
    )
    .fetch_all(connection)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let state = row.state.ok_or_else(|| row.unreadable.unwrap_or_default());
        (
            Name { category: row.category, id: row.aggregate_id },
            StoredSnapshot { version: row.version, state },
        )
    });
    Ok(stored.collect())
}

/// Makes the rows, or writes them anew. Sorted by name, each name once.
pub async fn upsert(connection: &mut PgConnection, rows: Vec<Row>) -> Result<(), sqlx::Error> {
    let (mut categories, mut ids, mut partitions, mut formats) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut versions, mut serialized, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    for Row { name, partition, format, snapshot } in rows {
        categories.push(name.category);
        ids.push(name.id);
        partitions.push(partition);
        formats.push(format);
        versions.push(snapshot.version);
        let (state, reason) = match snapshot.state {
            Ok(state) => (Some(state), None),
            Err(reason) => (None, Some(reason)),
        };
        serialized.push(state);
        unreadable.push(reason);
    }
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO snapshots (category, aggregate_id, partition, format, version, state, \
         unreadable)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::int[], $4::smallint[], $5::bigint[], \
         $6::bytea[], $7::text[])
         ON CONFLICT (category, aggregate_id) DO UPDATE
         SET version = excluded.version, format = excluded.format, state = excluded.state, \
         unreadable = excluded.unreadable",
        &categories,
        &ids,
        &partitions,
        &formats,
        &versions,
        &serialized as &[Option<Vec<u8>>],
        &unreadable as &[Option<String>],
    )
    .execute(connection)
    .await?;
    Ok(())
}
