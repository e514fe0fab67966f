//! The store's tables and states, as its events say: a second account of what the projections and
//! the domain do, written from the descriptions of events and tables, without a line of theirs.
//! Reads data as JSON; never asks why an event happened.

mod levels;
mod orders;
mod products;
mod sales;

use serde_json::{Map, Value};

use highwater::audit::projected::{
    item::Event,
    rows::{Rows, Table, evolve},
    snapshots::{Evolve, Snapshots},
};

/// Every table that comes from the store's events.
pub fn rules() -> Vec<Box<dyn Table>> {
    vec![
        Box::new(snapshots("order", orders::state)),
        Box::new(snapshots("product", products::state)),
        Box::new(snapshots("stock", levels::state)),
        Box::new(PerAggregate {
            name: "orders",
            category: "order",
            rows: orders::ROWS,
            columns: orders::columns,
        }),
        Box::new(PerAggregate {
            name: "catalog",
            category: "product",
            rows: products::ROWS,
            columns: products::columns,
        }),
        Box::new(PerAggregate {
            name: "stock_levels",
            category: "stock",
            rows: levels::ROWS,
            columns: levels::columns,
        }),
        Box::new(sales::SalesDaily),
    ]
}

fn snapshots(category: &'static str, evolve: Evolve) -> Snapshots {
    Snapshots { category, format: 1, evolve, replayed: false }
}

/// Columns of a row, or fields of an event.
type Fields = Map<String, Value>;

/// A table of the projection of its name, with one row an aggregate.
struct PerAggregate {
    name: &'static str,
    category: &'static str,
    rows: &'static str,
    /// The row before, and the columns after.
    columns: fn(Option<Fields>, &Event) -> Result<Fields, String>,
}

impl Table for PerAggregate {
    fn name(&self) -> &'static str {
        self.name
    }

    fn projection(&self) -> &'static str {
        self.name
    }

    fn category(&self) -> &'static str {
        self.category
    }

    fn rows(&self) -> String {
        self.rows.to_owned()
    }

    fn apply(&self, rows: &mut Rows, event: &Event) -> Result<(), String> {
        evolve(rows, event, |before| (self.columns)(before, event))
    }
}

/// The field of an event's data, which must be there.
fn field(event: &Event, name: &str) -> Result<Value, String> {
    event.data.get(name).cloned().ok_or_else(|| format!("{} has no {name}", event.name))
}

fn integer(value: Option<&Value>, name: &str) -> Result<i128, String> {
    value.and_then(Value::as_i64).map(i128::from).ok_or_else(|| format!("{name} is no integer"))
}

fn text(value: Option<&Value>, name: &str) -> Result<String, String> {
    value.and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("{name} is no text"))
}

/// Microseconds, as the tables keep it and as states write it.
fn time(value: Option<&Value>, name: &str) -> Result<chrono::DateTime<chrono::Utc>, String> {
    let text = text(value, name)?;
    let time =
        chrono::DateTime::parse_from_rfc3339(&text).map_err(|error| format!("{name}: {error}"))?;
    Ok(time.with_timezone(&chrono::Utc))
}

fn time_text(value: Option<&Value>, name: &str) -> Result<Value, String> {
    Ok(time(value, name)?.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string().into())
}

/// With the fields set, each by its name.
fn with(mut row: Fields, fields: impl IntoIterator<Item = (&'static str, Value)>) -> Fields {
    row.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    row
}

/// An aggregate begins with one event, and only once.
fn first<T>(before: Option<T>, event: &Event) -> Result<(), String> {
    match before {
        None => Ok(()),
        Some(_) => Err(format!("{} is not the first event", event.name)),
    }
}

fn not_first<T>(before: Option<T>, event: &Event) -> Result<T, String> {
    before.ok_or_else(|| format!("{} is the first event", event.name))
}

fn unknown(event: &Event) -> String {
    format!("{} is not known to this release", event.name)
}
