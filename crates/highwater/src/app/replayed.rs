//! Accounts of tables for `audit` by replay: the application's own folds once more, from the first
//! event on, over events as the audit read them. They find rows that were changed, lost or
//! projected twice, and not a mistake of the fold itself: for that, see
//! [`App::audited`](super::App::audited).

use std::marker::PhantomData;

use highwater_audit::projected::{
    item::Event as Read,
    rows::{Rows, Table, evolve},
    snapshots::Snapshots,
};
use highwater_protocol::{domain::Unreadable, time::Micros, wire::RecordedEvent};
use highwater_rows::{Cell, CellKind, ColumnSpec};
use serde_json::{Map, Value};

use crate::{Aggregate, Event, Fold, Recorded, State};

/// The table of the rows of `R`.
pub struct ReplayedRows<R>(PhantomData<fn() -> R>);

impl<R> ReplayedRows<R> {
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R: Fold> Table for ReplayedRows<R> {
    fn name(&self) -> &'static str {
        R::TABLE
    }

    fn projection(&self) -> &'static str {
        R::TABLE
    }

    fn category(&self) -> &'static str {
        <R::Of as Aggregate>::Event::CATEGORY
    }

    fn is_replayed(&self) -> bool {
        true
    }

    fn rows(&self) -> String {
        let columns = R::COLUMNS.iter().map(|column| {
            let name = column.name;
            match column.kind {
                CellKind::Time => format!(
                    ", '{name}', to_char(\"{name}\" AT TIME ZONE 'UTC', \
                     'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
                ),
                _ => format!(", '{name}', \"{name}\""),
            }
        });
        format!(
            "SELECT partition, id::text AS key, NULL::bytea AS state, \
             jsonb_build_object('version', version{}) AS row FROM \"{}\"",
            columns.collect::<String>(),
            R::TABLE
        )
    }

    fn apply(&self, rows: &mut Rows, event: &Read) -> Result<(), String> {
        let event_read = recorded(event).map_err(|error| error.to_string())?;
        evolve(rows, event, |before| {
            let before = before.map(|row| row_of::<R>(&row)).transpose()?;
            let after = R::fold(before, &event_read).map_err(|error| error.to_string())?;
            let named = R::COLUMNS.iter().zip(after.cells());
            let mut row = Map::new();
            for (column, cell) in named {
                let value = serde_json::to_value(&cell).map_err(|error| error.to_string())?;
                row.insert(column.name.to_owned(), value);
            }
            Ok(row)
        })
    }
}

/// The states of `A`.
pub fn states<A: Aggregate>() -> Snapshots {
    Snapshots {
        category: A::Event::CATEGORY,
        format: u64::from(<A as State>::FORMAT.unsigned_abs()),
        evolve: state_after::<A>,
        replayed: true,
    }
}

fn state_after<A: Aggregate>(before: Option<&Value>, event: &Read) -> Result<Value, String> {
    let before = before.map(|state| serde_json::from_value::<A>(state.clone())).transpose();
    let before = before.map_err(|error| error.to_string())?;
    let event = A::Event::decode(&recorded_event(event)).map_err(|error| error.to_string())?;
    let after = A::evolve(before.as_ref(), &event).map_err(|error| error.to_string())?;
    serde_json::to_value(&after).map_err(|error| error.to_string())
}

fn recorded_event(event: &Read) -> RecordedEvent {
    RecordedEvent {
        event_type: event.name.clone().into(),
        schema: event.schema.clone().into(),
        data: event.data.to_string().into_bytes(),
    }
}

fn recorded<E: Event>(event: &Read) -> Result<Recorded<E>, Unreadable> {
    Ok(Recorded {
        event: E::decode(&recorded_event(event))?,
        id: event.aggregate,
        version: event.version,
        time: Micros::from_text(event.time.as_bytes()).map(Into::into),
        partition: Some(event.partition),
        position: None,
    })
}

/// A row of its columns as JSON; others are left alone.
pub(crate) fn row_of<R: Fold>(row: &Map<String, Value>) -> Result<R, String> {
    let cells = R::COLUMNS.iter().map(|column| cell(column, row.get(column.name)));
    R::from_cells(cells.collect::<Result<_, _>>()?).map_err(|unfit| unfit.to_string())
}

/// The other way round than a cell is written.
fn cell(column: &ColumnSpec, value: Option<&Value>) -> Result<Cell, String> {
    let Some(value) = value.filter(|value| !value.is_null() || column.kind == CellKind::Json)
    else {
        return Ok(Cell::Null);
    };
    let text = || value.as_str();
    let cell = match column.kind {
        CellKind::Bool => value.as_bool().map(Cell::Bool),
        CellKind::Integer => value.as_i64().map(Cell::Integer),
        CellKind::Text => text().map(|text| Cell::Text(text.to_owned())),
        CellKind::Uuid => text().and_then(|text| text.parse().ok()).map(Cell::Uuid),
        CellKind::Time => {
            text().and_then(|text| Micros::from_text(text.as_bytes())).map(Cell::Time)
        }
        CellKind::Json => Some(Cell::Json(value.clone())),
    };
    cell.ok_or_else(|| format!("column {} holds no {}", column.name, column.kind.sql()))
}
