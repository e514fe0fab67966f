//! `snapshots`: the state of every aggregate as a row. What a state says is the application's; a
//! state is JSON.

use serde_json::{Map, Value};

use super::{
    item::Event,
    rows::{Rows, Table, evolve},
};

pub(super) const TABLE: &str = "snapshots";

/// The state after an event.
pub type Evolve = fn(Option<&Value>, &Event) -> Result<Value, String>;

/// The rows of one category.
pub struct Snapshots {
    pub category: &'static str,
    /// The form of states that this release writes.
    pub format: u64,
    pub evolve: Evolve,
    /// See [`Table::is_replayed`].
    pub replayed: bool,
}

impl Table for Snapshots {
    fn name(&self) -> &'static str {
        TABLE
    }

    fn projection(&self) -> &'static str {
        TABLE
    }

    fn category(&self) -> &'static str {
        self.category
    }

    fn is_replayed(&self) -> bool {
        self.replayed
    }

    fn rows(&self) -> String {
        format!(
            "SELECT partition, aggregate_id::text AS key, state,
                    jsonb_build_object('version', version, 'format', format, 'unreadable', \
                    unreadable IS NOT NULL) AS row
             FROM snapshots WHERE category = '{}'",
            self.category
        )
    }

    /// What cannot be folded is unreadable from there on, as the projection keeps it.
    fn apply(&self, rows: &mut Rows, event: &Event) -> Result<(), String> {
        evolve(rows, event, |before| {
            let lost = before
                .as_ref()
                .is_some_and(|row| row.get("unreadable") == Some(&Value::Bool(true)));
            let state = before.as_ref().and_then(|row| row.get("state"));
            let after = if lost { None } else { (self.evolve)(state, event).ok() };
            let mut row = Map::new();
            row.insert("format".to_owned(), self.format.into());
            row.insert("unreadable".to_owned(), after.is_none().into());
            row.insert("state".to_owned(), after.unwrap_or(Value::Null));
            Ok(row)
        })
    }
}
