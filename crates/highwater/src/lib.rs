//! Highwater: event-driven CQRS on a Kafka log. This is the crate that a team builds its
//! application with; without default features it is the pure part: contracts and rules, which do no
//! I/O, read no clock and make no ids.
//!
//! | module | what it owns |
//! |---|---|
//! | [`aggregate`] | [`Aggregate`]: the rules of one category; what a decision is |
//! | [`event`], [`command`], [`rejection`] | what the derives of these names say of an enum |
//! | [`data`], [`schema`] | what can stand in a contract, and its JSON Schema |
//! | [`value`] | values that cannot hold what a schema refuses |
//! | [`row`] | rows of projections: columns, conversions, folds |
//! | [`rules`] | from an [`Aggregate`] to what the protocol's writer and readers ask |
//! | [`category`] | what a service needs to know of a category |
//! | [`app`] | [`App`]: an application, registered once (feature `services`) |
//! | [`list`] | what a list of one's own is written with (feature `services`) |
//! | [`contracts`] | all schemas, and the files of `schemas/` (feature `contracts`) |
//! | [`testing`] | given these events, when this command comes, then that happens |
//!
#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

// So that what the derives emit is also right within this crate.
extern crate self as highwater;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
pub mod aggregate;
#[cfg(feature = "services")]
pub mod app;
pub mod category;
pub mod command;
pub mod contracts;
pub mod data;
pub mod event;
mod finding;
#[cfg(feature = "services")]
pub mod list;
mod migration;
pub mod prelude;
pub mod rejection;
pub mod row;
pub mod rules;
pub mod schema;
pub mod testing;
pub mod value;

#[cfg(feature = "services")]
#[doc(inline)]
pub use crate::app::App;
#[doc(inline)]
pub use crate::{
    aggregate::{Aggregate, Context, Decision, Events, Missing, Refusal, State},
    category::Category,
    command::Command,
    data::Data,
    event::{Event, Recorded},
    finding::FieldError,
    migration::Migration,
    rejection::Rejection,
    row::{Fold, Row},
    rules::Rules,
    value::{Change, Count, Currency, Delta, Id, List, Map, Money, Quantity, Text, Timestamp},
};
pub use highwater_macros::{Command, Data, Event, Rejection, Row, State, migrations};
/// The protocol that the log speaks: what lies below the facade.
pub use highwater_protocol as protocol;
pub use highwater_protocol::domain::Unreadable;
/// Ids. Its major version is part of that of this crate.
pub use uuid;
/// What lies below [`App`]: for projections, views, routes and audits of one's own. The major
/// versions of `axum` and `sqlx` are part of those of this crate.
#[cfg(feature = "services")]
pub use {
    axum, highwater_audit as audit, highwater_cli as cli, highwater_command as command_service,
    highwater_http as http, highwater_log as log, highwater_projection as projection,
    highwater_query as query, highwater_runtime as runtime, highwater_tables as tables, sqlx,
};
