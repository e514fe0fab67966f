//! Rows as the log makes them, and how they are compared with those of a table: column by column.
//! Knows no table.

use std::collections::{BTreeMap, HashSet};

use futures_util::TryStreamExt;
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

use super::item::Event;
use crate::{fault::RowFault, report::Report};

/// A value in a message.
const SHOWN_CHARS: usize = 200;

/// A table whose rows come from the events of one category, partition by partition.
pub trait Table: Send + Sync {
    fn name(&self) -> &'static str;

    /// Whose checkpoints say how far it is.
    fn projection(&self) -> &'static str;

    fn category(&self) -> &'static str;

    /// Whether this account is the projection's own fold once more, and no second one.
    fn is_replayed(&self) -> bool {
        false
    }

    /// A SELECT of `partition`, `key` as text, `row` as an object in `jsonb`, `state` as `bytea`
    /// holding JSON, or null.
    fn rows(&self) -> String;

    /// Adds an event to what the log makes of a partition. The error says why it cannot.
    fn apply(&self, rows: &mut Rows, event: &Event) -> Result<(), String>;
}

/// Rows of one partition by key, each an object. Kept as text, which is smaller.
#[derive(Debug, Default)]
pub struct Rows(BTreeMap<String, Box<str>>);

impl Rows {
    pub fn get(&self, key: &str) -> Option<Value> {
        self.0.get(key).and_then(|text| serde_json::from_str(text).ok())
    }

    pub fn put(&mut self, key: String, row: &Value) {
        self.0.insert(key, row.to_string().into_boxed_str());
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).and_then(|text| serde_json::from_str(&text).ok())
    }
}

/// For tables with a row an aggregate: the row before, and the columns after. `version` is added.
pub fn evolve(
    rows: &mut Rows,
    event: &Event,
    after: impl FnOnce(Option<Map<String, Value>>) -> Result<Map<String, Value>, String>,
) -> Result<(), String> {
    let key = event.aggregate.to_string();
    let before = match rows.get(&key) {
        Some(Value::Object(row)) => Some(row),
        _ => None,
    };
    let mut row = after(before)?;
    row.insert("version".to_owned(), event.version.into());
    rows.put(key, &Value::Object(row));
    Ok(())
}

/// The rows that the log makes of one partition of one table, up to a checkpoint.
pub(super) struct Expected {
    pub(super) table: usize,
    checkpoint: u64,
    rows: Rows,
    /// Aggregates with events above the checkpoint.
    later: HashSet<Uuid>,
    unfit: Vec<RowFault>,
}

/// Events that did not fit and are named; the rest show as rows that differ.
const NAMED_UNFIT: usize = 100;

impl Expected {
    pub(super) fn new(table: usize, checkpoint: u64) -> Self {
        Self { table, checkpoint, rows: Rows::default(), later: HashSet::new(), unfit: Vec::new() }
    }

    pub(super) fn add(&mut self, table: &dyn Table, end: u64, event: &Event) {
        if end > self.checkpoint {
            self.later.insert(event.aggregate);
            return;
        }
        if let Err(why) = table.apply(&mut self.rows, event)
            && self.unfit.len() < NAMED_UNFIT
        {
            self.unfit.push(RowFault::Unfit {
                aggregate: event.aggregate,
                version: event.version,
                why,
            });
        }
    }

    /// Streams the table's rows of this partition past those expected.
    pub(super) async fn compare(
        mut self,
        table: &dyn Table,
        partition: u32,
        connection: &mut PgConnection,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        for fault in self.unfit.drain(..) {
            report.row_difference(table.name(), &partition.to_string(), fault);
        }
        let sql = format!(
            "SELECT key, row::text, state FROM ({}) AS r WHERE partition = $1 ORDER BY key",
            table.rows()
        );
        let mut found = sqlx::query(AssertSqlSafe(sql))
            .bind(i32::try_from(partition).unwrap_or(i32::MAX))
            .fetch(connection);
        let mut last = None;
        while let Some(row) = found.try_next().await? {
            report.rows(table.name(), 1);
            let key: String = row.try_get(0)?;
            let row = object(row.try_get(1)?, row.try_get(2)?);
            if last.as_ref() == Some(&key) {
                report.row_difference(table.name(), &key, RowFault::Doubled);
                continue;
            }
            let faults = match self.rows.take(&key) {
                Some(Value::Object(expected)) => differences(&row, &expected),
                _ if key.parse().is_ok_and(|id: Uuid| self.later.contains(&id)) => {
                    vec![RowFault::FutureRow { checkpoint: self.checkpoint }]
                }
                _ => vec![RowFault::Unfounded],
            };
            faults.into_iter().for_each(|fault| report.row_difference(table.name(), &key, fault));
            last = Some(key);
        }
        for key in self.rows.0.keys() {
            report.row_difference(table.name(), key, RowFault::Lost);
        }
        Ok(())
    }
}

/// A row as the database has it.
pub(super) fn object(row: &str, state: Option<&[u8]>) -> Map<String, Value> {
    let mut row = match serde_json::from_str(row) {
        Ok(Value::Object(row)) => row,
        _ => Map::new(),
    };
    if let Some(state) = state {
        let state =
            serde_json::from_slice(state).unwrap_or_else(|_| Value::String("no JSON".to_owned()));
        row.insert("state".to_owned(), state);
    }
    row
}

/// What a row has, compared with what it must have. A row of another version differs by that alone.
pub(super) fn differences(
    row: &Map<String, Value>,
    expected: &Map<String, Value>,
) -> Vec<RowFault> {
    let version = |of: &Map<String, Value>| of.get("version").and_then(Value::as_u64);
    match (version(row), version(expected)) {
        (Some(row), Some(log)) if row > log => return vec![RowFault::Future { row, log }],
        (Some(row), Some(log)) if row < log => return vec![RowFault::Stale { row, log }],
        _ => {}
    }
    let mut columns: Vec<&String> = row.keys().chain(expected.keys()).collect();
    columns.sort_unstable();
    columns.dedup();
    let value =
        |of: &Map<String, Value>, column: &str| of.get(column).cloned().unwrap_or(Value::Null);
    let differing =
        columns.into_iter().filter(|column| value(row, column) != value(expected, column));
    differing
        .map(|column| RowFault::Column {
            column: column.clone(),
            row: shown(&value(row, column)),
            log: shown(&value(expected, column)),
        })
        .collect()
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}
