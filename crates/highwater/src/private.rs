//! For what the derives emit, and for no other code: this may change in any release.

pub use highwater_protocol::{domain::Unreadable, wire::RecordedEvent};
pub use highwater_rows::of_cell;
pub use serde::{self, ser::SerializeStruct};
pub use serde_json::Value;

pub use crate::{
    aggregate::State,
    command::{Command, CommandKind, Target, unknown_command},
    data::{
        At, Data, Usage,
        object::{
            Choices, Empty, Field, Fields, Object, Source, at_most, finish, no_field, object,
            object_schema, unchecked, write_field, write_object,
        },
        read::{IS_NO_FIELD, body, read_object, read_wrapped, wrapped},
    },
    event::{Event, EventKind, claimed, data, encode, unknown},
    finding::FieldError,
    rejection::{Rejection, member},
    row::{Cell, CellKind, Column, ColumnSpec, Row, UnfitCell, json_cell, json_of},
    schema::Schema,
    value::Timestamp,
};

/// An error's text.
pub fn said(error: impl ToString) -> String {
    error.to_string()
}

/// A payload's schema, and what describes it: the variant's doc comment, or else the type's.
pub fn payload<T: Object>(place: Usage, docs: &'static str) -> (Schema, &'static str) {
    (object_schema::<T>(place), if docs.is_empty() { T::DOCS } else { docs })
}

/// Data as JSON.
pub fn to_json(data: &impl serde::Serialize) -> Value {
    serde_json::to_value(data).unwrap_or_default()
}
