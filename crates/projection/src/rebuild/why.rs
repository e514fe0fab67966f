//! Since which event rows differ: the events of an aggregate are applied once more, one commit
//! after the other, in a transaction that is given up.

use std::collections::{BTreeMap, BTreeSet};

use highwater_tables::generations;
use serde_json::{Map, Value};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Error, Rebuild,
    compare::{Compared, Difference},
    repair::{History, quoted},
};
use crate::runner::{Item, Slice, TopicPartition, parking};

/// The last event at which the code of this program changed what differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// Its schema, as `order.placed.v2`.
    pub event: String,
    /// The version that it makes.
    pub version: u64,
    /// The offset after its commit.
    pub offset: u64,
}

impl Rebuild {
    /// Says of every row that is named since when it differs. Rows that are not one for each
    /// aggregate have no such event.
    pub(super) async fn explain(&self, compared: &mut Compared) -> Result<(), Error> {
        let (Ok(category), Ok(table)) = (self.only_category(), self.only_table()) else {
            return Ok(());
        };
        if self.key_of(table).await? != ["id"] {
            return Ok(());
        }
        let mut wanted: BTreeMap<u32, BTreeSet<Uuid>> = BTreeMap::new();
        for row in compared.rows.iter().filter(|row| row.is_beside) {
            if let (Some(partition), Some(id)) = (row.partition, row.id) {
                wanted.entry(partition).or_default().insert(id);
            }
        }
        let mut connection = self.pool.acquire().await?;
        let beside = generations::beside_offsets(&mut connection, self.name()).await?;
        drop(connection);
        for (index, ids) in wanted {
            let place = beside.iter().find(|(of, at, _)| of == category && *at == index);
            let until = place.map_or(0, |(_, _, offset)| *offset);
            let mut history = History::default();
            self.read_history(category, index, &ids, until, &mut history).await?;
            for row in &mut compared.rows {
                if let Some(id) = row.id.filter(|id| ids.contains(id)) {
                    let of = |item: &&Item| parking::aggregate(item) == Some(id);
                    let items: Vec<&Item> = history.items.iter().filter(of).collect();
                    let topic_partition = TopicPartition::of_events(category, index);
                    row.since = self.since(row, id, &topic_partition, &items).await?;
                }
            }
        }
        Ok(())
    }

    async fn since(
        &self,
        row: &Difference,
        id: Uuid,
        topic_partition: &TopicPartition,
        items: &[&Item],
    ) -> Result<Option<Since>, Error> {
        let mut tx = self.begin().await?;
        let table = quoted(&row.table);
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {table} WHERE id = $1")))
            .bind(id)
            .execute(&mut *tx)
            .await?;
        let select = format!("SELECT to_jsonb(t)::text FROM {table} AS t WHERE id = $1");
        let (mut before, mut since) = (None, None);
        for item in items {
            let slice = Slice { topic_partition, items: std::slice::from_ref(*item) };
            if self.projection.apply(&mut tx, &[slice]).await.is_err() {
                break;
            }
            let after: Option<String> = sqlx::query_scalar(AssertSqlSafe(select.clone()))
                .bind(id)
                .fetch_optional(&mut *tx)
                .await?;
            let after = after.map(|text| differing(row, &text));
            if after != before {
                since = parking::commit(item).and_then(|commit| {
                    let last = commit.events.last()?;
                    let event = last.event.schema.to_string();
                    Some(Since { event, version: last.version, offset: commit.end })
                });
            }
            before = after;
        }
        tx.rollback().await?;
        Ok(since)
    }
}

/// What the row says in the columns that differ; nothing where it is missing as a whole, so that
/// only its beginning counts.
fn differing(row: &Difference, text: &str) -> Map<String, Value> {
    let mut all: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let names: Vec<&str> = row.columns.iter().flatten().map(|column| &*column.name).collect();
    all.retain(|name, _| names.contains(&name.as_str()));
    all
}
