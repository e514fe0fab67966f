//! One aggregate or one partition of the live tables, made anew where they are. Projectors of that
//! partition wait for the last part; what is shown has another number then, because rows change
//! without their version.

use std::collections::BTreeSet;

use highwater_protocol::{
    fold::Fold,
    partition::partition_of,
    wire::{self, Wire},
};
use highwater_tables::{
    checkpoints::Key,
    generations::{self, Beside},
    parked,
};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{Error, How, Places, Rebuild};
use crate::runner::{Item, Slice, TopicPartition, What, parking};

const READ_RECORDS: usize = 2_000;

/// What a repair came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// What was there is what the log says.
    Unchanged,
    /// So many rows were other than the log says, or lacked.
    Rows(u64),
}

/// The commits of some aggregates, as far as they are read.
#[derive(Default)]
pub(super) struct History {
    fold: Fold<Wire>,
    pub(super) items: Vec<Item>,
}

impl Rebuild {
    /// Makes the row of one aggregate anew from all of its events.
    pub async fn repair_aggregate(&self, id: Uuid) -> Result<Repaired, Error> {
        let (category, table) = (self.only_category()?, self.only_table()?);
        if self.key_of(table).await? != ["id"] {
            return Err(Error::Repair(format!(
                "the rows of `{table}` are not one for each aggregate: repair a partition"
            )));
        }
        let partitions = self.partitions(category).await?;
        let index = partition_of(id.hyphenated().to_string().as_bytes(), partitions);
        let key = Key::new(self.name(), category, index).map_err(unfit)?;
        let live = self.live().await?.get(&(category.to_owned(), index)).copied().unwrap_or(0);
        let (ids, mut history) = (BTreeSet::from([id]), History::default());
        self.read_history(category, index, &ids, live, &mut history).await?;

        let mut tx = self.pool.begin_with("BEGIN").await?;
        let Some(at) = parked::lock(&mut tx, key).await? else {
            return Err(Error::Repair("nothing of its partition is projected yet".to_owned()));
        };
        if !parked::among(&mut tx, key, &[id]).await?.is_empty() {
            return Err(Error::Repair(format!(
                "{id} is parked: its events are applied by `parked retry`"
            )));
        }
        self.read_history(category, index, &ids, at.unsigned_abs(), &mut history).await?;
        let row = format!("SELECT to_jsonb(t)::text FROM {} AS t WHERE id = $1", quoted(table));
        let before: Option<String> = sqlx::query_scalar(AssertSqlSafe(row.clone()))
            .bind(id)
            .fetch_optional(&mut *tx)
            .await?;
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {} WHERE id = $1", quoted(table))))
            .bind(id)
            .execute(&mut *tx)
            .await?;
        if !history.items.is_empty() {
            let topic_partition = TopicPartition::of_events(category, index);
            let slice = Slice { topic_partition: &topic_partition, items: &history.items };
            self.projection.apply(&mut tx, &[slice]).await.map_err(|why| Error::NotApplied {
                topic_partition: topic_partition.clone(),
                before: at.unsigned_abs(),
                why,
            })?;
        }
        let after: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(row)).bind(id).fetch_optional(&mut *tx).await?;
        if before == after {
            tx.rollback().await?;
            return Ok(Repaired::Unchanged);
        }
        generations::renumber(&mut tx, self.name()).await?;
        tx.commit().await?;
        Ok(Repaired::Rows(1))
    }

    /// Makes the rows of one partition anew, beside the live ones, and puts those that differ in
    /// their place.
    pub async fn repair_partition(&self, index: u32) -> Result<Repaired, Error> {
        let category = self.only_category()?;
        for table in self.projection.tables() {
            let mut connection = self.pool.acquire().await?;
            if !generations::has_partitions(&mut connection, table).await? {
                return Err(Error::Repair(format!(
                    "table `{table}` has no column `partition` that says where its rows come from"
                )));
            }
        }
        if index >= self.partitions(category).await? {
            return Err(Error::Repair(format!("{category} has no partition {index}")));
        }
        match self.generations().await?.beside {
            Some(Beside::Previous) => return Err(Error::PreviousThere(self.name())),
            Some(Beside::Next) => return Err(Error::NextThere(self.name())),
            None => {}
        }
        let mut tx = self.pool.begin_with("BEGIN").await?;
        generations::make(&mut tx, self.name(), &self.projection.tables()).await?;
        tx.commit().await?;
        let repaired = self.repair_from_beside(category, index).await;
        self.drop().await?;
        repaired
    }

    async fn repair_from_beside(&self, category: &str, index: u32) -> Result<Repaired, Error> {
        let place = (category.to_owned(), index);
        let only = |at: &Places| -> Places {
            at.iter().filter(|(other, _)| **other == place).map(|(k, v)| (k.clone(), *v)).collect()
        };
        self.fill_to(&only(&self.live().await?), How::BehindTheLive).await?;
        let mut tx = self.pool.begin_with("BEGIN").await?;
        let live = generations::lock_live(&mut tx, self.name()).await?;
        let live = live.into_iter().map(|(category, index, at)| ((category, index), at)).collect();
        self.fill_to(&only(&live), How::AtOnce).await?;
        let (beside, _) = generations::parked(&mut tx, self.name()).await?;
        if beside > 0 {
            return Err(generations::Error::Parked(beside).into());
        }
        let mut rows = 0;
        for table in self.projection.tables() {
            rows += generations::replace(&mut tx, self.name(), table, index).await?;
        }
        let key = Key::new(self.name(), category, index).map_err(unfit)?;
        parked::clear(&mut tx, key).await?;
        if rows == 0 {
            tx.commit().await?;
            return Ok(Repaired::Unchanged);
        }
        generations::renumber(&mut tx, self.name()).await?;
        tx.commit().await?;
        Ok(Repaired::Rows(rows))
    }

    pub(super) fn only_category(&self) -> Result<&'static str, Error> {
        match self.projection.categories() {
            [category] => Ok(*category),
            _ => Err(Error::Repair(format!(
                "projection `{}` reads several categories: make it anew as a whole",
                self.name()
            ))),
        }
    }

    pub(super) fn only_table(&self) -> Result<&'static str, Error> {
        match self.projection.tables()[..] {
            [table] => Ok(table),
            _ => Err(Error::Repair(format!(
                "projection `{}` has several tables: repair a partition",
                self.name()
            ))),
        }
    }

    pub(super) async fn key_of(&self, table: &str) -> Result<Vec<String>, Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(generations::key_of(&mut connection, table).await?)
    }

    async fn partitions(&self, category: &str) -> Result<u32, Error> {
        let name = self.partition(category, 0).topic;
        let topics = self.log.topics().await?;
        let topic = topics.iter().find(|topic| *topic.name == *name);
        topic
            .map(|topic| topic.partitions)
            .ok_or_else(|| Error::Repair(format!("the log has no topic {name}")))
    }

    /// Everything of these aggregates below `until`.
    pub(super) async fn read_history(
        &self,
        category: &str,
        index: u32,
        ids: &BTreeSet<Uuid>,
        until: u64,
        history: &mut History,
    ) -> Result<(), Error> {
        let (partition, topic_partition) =
            (self.partition(category, index), TopicPartition::of_events(category, index));
        while history.fold.next_offset() < until {
            let next = history.fold.next_offset();
            let records = self.log.fetch(&partition, next, READ_RECORDS).await?;
            if records.is_empty() {
                return Err(Error::Shorter { topic_partition, end: next, at: until });
            }
            for stored in records.into_iter().take_while(|stored| stored.offset < until) {
                let effect = history
                    .fold
                    .apply(stored.offset, wire::decode(stored.record))
                    .map_err(|gap| Error::Gap {
                        topic_partition: topic_partition.clone(),
                        expected: gap.expected,
                        found: gap.found,
                    })?;
                let Some(what) = What::of(effect, stored.offset) else { continue };
                let item = Item { what, after: history.fold.position().clone() };
                if parking::aggregate(&item).is_some_and(|id| ids.contains(&id)) {
                    history.items.push(item);
                }
            }
        }
        Ok(())
    }
}

fn unfit(error: highwater_tables::checkpoints::Error) -> Error {
    Error::Repair(error.to_string())
}

pub(super) fn quoted(table: &str) -> String {
    format!("\"{}\"", table.replace('"', "\"\""))
}
