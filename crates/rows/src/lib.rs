//! Rows of projections: one row an aggregate. A row says what its columns are and what is between
//! them and values. The SQL is made by those who run it: `crates/projection` writes rows,
//! `crates/query` shows them, and both add [`OWN`].

#![warn(missing_docs)]

mod column;

use highwater_protocol::time::Micros;
use serde::{Serialize, Serializer};

pub use column::{Column, of_cell};

/// The columns that every table of rows has besides its own: whose row it is (`uuid`, the primary
/// key), the partition of its events (`integer`), and the version after the last of them
/// (`bigint`).
pub const OWN: [&str; 3] = ["id", "partition", "version"];

/// A row: `#[derive(Row)]`.
#[diagnostic::on_unimplemented(message = "`{Self}` is no row: derive Row for a struct")]
pub trait Row: Sized + Clone + Send + Sync + 'static {
    /// The table's name; also that of the projection that writes it.
    const TABLE: &'static str;
    /// Its own columns, in the sequence of [`Row::cells`].
    const COLUMNS: &'static [ColumnSpec];
    /// What is shown of it: `id`, `version` and its own columns.
    const FIELDS: &'static [&'static str];
    /// The columns that its list may be filtered by.
    const FILTERS: &'static [&'static str];
    /// What its list may be sorted by: `amount`, `-amount` for each column. The first one is the
    /// default; none: by id.
    const SORTS: &'static [&'static str];
    /// How shared caches may keep what is shown of it (`max-age=5`). `None`: it is personal.
    const PUBLIC: Option<&'static str> = None;

    /// A cell for each column.
    fn cells(&self) -> Vec<Cell>;

    /// The other way round.
    fn from_cells(cells: Vec<Cell>) -> Result<Self, UnfitCell>;
}

/// A column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// As in the table.
    pub name: &'static str,
    /// What it holds.
    pub kind: CellKind,
    /// Whether it may hold nothing.
    pub nullable: bool,
    /// All texts that it may hold; none: any.
    pub choices: &'static [&'static str],
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellKind {
    /// `boolean`
    Bool,
    /// `bigint`
    Integer,
    /// `text`
    Text,
    /// `uuid`
    Uuid,
    /// `timestamptz`
    Time,
    /// `jsonb`
    Json,
}

impl CellKind {
    /// The type of Postgres.
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Integer => "bigint",
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Time => "timestamptz",
            Self::Json => "jsonb",
        }
    }
}

/// A value of a column. As JSON it is what an answer shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// See [`CellKind::Bool`].
    Bool(bool),
    /// See [`CellKind::Integer`].
    Integer(i64),
    /// See [`CellKind::Text`].
    Text(String),
    /// See [`CellKind::Uuid`].
    Uuid(uuid::Uuid),
    /// See [`CellKind::Time`].
    Time(Micros),
    /// See [`CellKind::Json`].
    Json(serde_json::Value),
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Uuid(value) => value.serialize(serializer),
            Self::Time(value) => serializer.serialize_str(&value.to_text()),
            Self::Json(value) => value.serialize(serializer),
        }
    }
}

/// A cell that its field cannot hold: another program wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} cannot be read: {why}")]
pub struct UnfitCell {
    /// The column's name.
    pub column: String,
    /// What is wrong with it.
    pub why: String,
}
