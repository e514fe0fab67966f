//! `GET /v1/rooms`: what follows from the columns alone, a filter of each kind.

use highwater_query::rows::{RowList, RowView};
use highwater_rows::{Cell, CellKind, ColumnSpec, Row, UnfitCell};

use super::{column, no_value};

pub enum Rooms {}

pub type RoomList = RowList<Rooms>;

impl RowView for Rooms {
    type Row = RoomRow;

    const CATEGORY: &'static str = "room";
}

#[derive(Clone)]
pub enum RoomRow {}

impl Row for RoomRow {
    const TABLE: &'static str = "rooms";
    const COLUMNS: &'static [ColumnSpec] = &[
        column("name", CellKind::Text),
        ColumnSpec { choices: &["east", "west"], ..column("wing", CellKind::Text) },
        column("seats", CellKind::Integer),
        column("open", CellKind::Bool),
        ColumnSpec { nullable: true, ..column("keeper_id", CellKind::Uuid) },
        column("since", CellKind::Time),
    ];
    const FIELDS: &'static [&'static str] =
        &["id", "version", "name", "wing", "seats", "open", "keeper_id", "since"];
    const FILTERS: &'static [&'static str] =
        &["name", "wing", "seats", "open", "keeper_id", "since"];
    const SORTS: &'static [&'static str] = &["name", "-name", "seats", "-since", "open"];

    fn cells(&self) -> Vec<Cell> {
        match *self {}
    }

    fn from_cells(cells: Vec<Cell>) -> Result<Self, UnfitCell> {
        no_value(cells)
    }
}
