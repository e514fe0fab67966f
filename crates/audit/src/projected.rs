//! The audit of the tables: every row equals what the log makes below the checkpoint of its
//! projection. Reads everything in one transaction, so that it may run beside the projectors; folds
//! by the audit's own code. Never writes.
//!
//! | module | what it owns |
//! |---|---|
//! | [`item`] | what becomes visible in the log at once: a commit or an outcome |
//! | [`rows`] | rows as the log makes them, and how they are compared with those of a table |
//! | [`checkpoints`] | positions of the fold that the database has |
//! | [`snapshots`] | states of aggregates as rows |
//! | `outcomes` | what each command came to, compared while the log is read |
//! | `operations` | what lies in the command queues, and the checkpoints that count their offsets |
//! | `dedup_filter` | the filters of ids |
//! | `parked` | what tables lack because a projection could not apply it |
//! | [`partition`] | one partition of one category, through all of its tables |

pub mod checkpoints;
mod dedup_filter;
pub mod item;
mod operations;
mod outcomes;
mod parked;
pub mod partition;
pub mod rows;
pub mod snapshots;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

use self::{checkpoints::Checkpoint, rows::Table};
use super::{
    fault::RowFault,
    report::{Account, Report},
};

/// The generation of the tables that is live.
const GENERATION: i32 = 1;

/// Who the database is.
const IDENTITY: &str = "database_identity";

/// The database as it is when the audit begins.
pub struct Projected<'c> {
    pub(super) connection: &'c mut PgConnection,
    pub(super) tables: Vec<Box<dyn Table>>,
    checkpoints: Vec<Checkpoint>,
    /// How many partitions each category has that was compared.
    categories: BTreeMap<String, u32>,
    /// Category and partition of each command queue that was compared.
    command_queues: BTreeSet<(String, u32)>,
}

impl<'c> Projected<'c> {
    /// Takes the database's present state. The log is read up to ends that are looked up later, so
    /// no checkpoint is beyond them.
    pub async fn begin(
        connection: &'c mut PgConnection,
        tables: Vec<Box<dyn Table>>,
    ) -> Result<Self, sqlx::Error> {
        sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .execute(&mut *connection)
            .await?;
        let checkpoints = checkpoints::load(connection).await?;
        Ok(Self {
            connection,
            tables,
            checkpoints,
            categories: BTreeMap::new(),
            command_queues: BTreeSet::new(),
        })
    }

    /// Names every table, so that those without rows are shown too.
    pub(super) fn announce(&self, report: &mut Report) {
        let own = self.tables.iter().map(|table| table.name());
        for table in [
            IDENTITY,
            checkpoints::TABLE,
            outcomes::TABLE,
            operations::TABLE,
            dedup_filter::TABLE,
            parked::TABLE,
        ]
        .into_iter()
        .chain(own)
        {
            report.table(table);
        }
        for table in self.tables.iter().filter(|table| table.is_replayed()) {
            report.table(table.name()).account = Account::Replayed;
        }
    }

    /// `said`: the database that the log names, if it names one.
    pub(super) async fn look_at_identity(
        &mut self,
        said: Option<&str>,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        let ours: Uuid = sqlx::query_scalar("SELECT id FROM database_identity")
            .fetch_one(&mut *self.connection)
            .await?;
        report.rows(IDENTITY, 1);
        if let Some(log) = said.filter(|said| *said != ours.to_string()) {
            report.row_difference(
                IDENTITY,
                &ours.to_string(),
                RowFault::OtherDatabase { log: log.to_owned() },
            );
        }
        Ok(())
    }

    /// Begins with a partition of `category`, which has `partitions`.
    pub(super) fn checkpoints_of(
        &mut self,
        category: &str,
        partitions: u32,
        partition: u32,
    ) -> Vec<Checkpoint> {
        self.categories.insert(category.to_owned(), partitions);
        let of_place = |checkpoint: &Checkpoint| {
            checkpoint.category == category && u32::try_from(checkpoint.partition) == Ok(partition)
        };
        let here =
            |checkpoint: &&Checkpoint| !checkpoint.is_of_command_queue() && of_place(checkpoint);
        self.checkpoints.iter().filter(here).cloned().collect()
    }

    /// Looks for rows that belong to no partition of the log.
    pub(super) async fn finish(mut self, report: &mut Report) -> Result<(), sqlx::Error> {
        for checkpoint in &self.checkpoints {
            let known = self.categories.get(&checkpoint.category);
            let of_events = known.is_some_and(|partitions| {
                (0..i64::from(*partitions)).contains(&i64::from(checkpoint.partition))
            });
            // A command queue that nothing was ever in may be missing.
            let exists = if checkpoint.is_of_command_queue() {
                checkpoint.next_offset == 0 || self.is_command_queue(checkpoint)
            } else {
                of_events
            };
            if !exists {
                report.rows(checkpoints::TABLE, 1);
                report.row_difference(checkpoints::TABLE, &checkpoint.key(), RowFault::NoPartition);
            }
        }
        for table in &self.tables {
            let partitions = self.categories.get(table.category()).copied().unwrap_or(0);
            let sql = format!(
                "SELECT key FROM ({}) AS r WHERE partition < 0 OR partition >= $1 ORDER BY key",
                table.rows()
            );
            let found = sqlx::query(AssertSqlSafe(sql))
                .bind(i64::from(partitions))
                .fetch_all(&mut *self.connection)
                .await?;
            for row in found {
                report.rows(table.name(), 1);
                report.row_difference(table.name(), row.try_get(0)?, RowFault::NoPartition);
            }
        }
        self.look_for_foreign_categories(report).await?;
        sqlx::query("ROLLBACK").execute(self.connection).await?;
        Ok(())
    }

    fn is_command_queue(&self, checkpoint: &Checkpoint) -> bool {
        let partition = u32::try_from(checkpoint.partition);
        partition.is_ok_and(|partition| {
            self.command_queues.contains(&(checkpoint.category.clone(), partition))
        })
    }

    async fn look_for_foreign_categories(
        &mut self,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        let stated = self
            .tables
            .iter()
            .filter(|table| table.name() == snapshots::TABLE)
            .map(|table| table.category().to_owned());
        // Their partitions were looked at with the other tables'.
        let stated: Vec<(String, i64)> = stated.map(|category| (category, i64::MAX)).collect();
        let all: Vec<(String, i64)> =
            self.categories.iter().map(|(name, count)| (name.clone(), i64::from(*count))).collect();
        let queues = self.command_queues.iter().fold(
            BTreeMap::new(),
            |mut queues: BTreeMap<String, i64>, (category, partition)| {
                let partitions = queues.entry(category.clone()).or_default();
                *partitions = i64::from(*partition + 1).max(*partitions);
                queues
            },
        );
        let queues: Vec<(String, i64)> = queues.into_iter().collect();
        let tables = [
            (outcomes::TABLE, &all),
            (operations::TABLE, &queues),
            (dedup_filter::TABLE, &all),
            (parked::AGGREGATES, &all),
            (snapshots::TABLE, &stated),
        ];
        for (table, known) in tables {
            let (names, counts): (Vec<String>, Vec<i64>) = known.iter().cloned().unzip();
            let sql = format!(
                "SELECT r.category || '/' || r.partition, count(*) FROM {table} AS r
                 LEFT JOIN UNNEST($1::text[], $2::bigint[]) AS c(name, partitions) ON c.name = \
                 r.category
                 WHERE c.name IS NULL OR r.partition >= c.partitions OR (r.partition < 0 AND \
                 c.partitions < $3)
                 GROUP BY 1 ORDER BY 1"
            );
            let query = sqlx::query(AssertSqlSafe(sql)).bind(names).bind(counts).bind(i64::MAX);
            for row in query.fetch_all(&mut *self.connection).await? {
                report.rows(table, u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0));
                report.row_difference(table, row.try_get(0)?, RowFault::NoPartition);
            }
        }
        Ok(())
    }
}
