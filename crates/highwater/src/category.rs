//! What a service needs to know of a category, whatever its types.

use std::fmt;

use highwater_protocol::{
    domain::{Domain, Durable, Unreadable},
    time::Micros,
    wire::RecordedEvent,
};
use serde_json::Value;

use crate::{
    aggregate::{Aggregate, State},
    command::{Command, CommandKind, Target},
    data::{Data, Usage},
    event::{Event, EventKind},
    finding::FieldError,
    rejection::Rejection,
    rules::Rules,
    schema::Schema,
    value,
};

/// A category: its names, its contracts, the form of its states.
#[derive(Clone, Copy)]
pub struct Category {
    /// As in topics, positions and names: `voucher`.
    pub name: &'static str,
    /// As in routes: `vouchers`.
    pub collection: &'static str,
    /// Its events.
    pub events: &'static [EventKind],
    /// Its commands.
    pub commands: &'static [CommandKind],
    /// Every code of its rejections, without the category.
    pub codes: &'static [&'static str],
    /// The number of the present form of its states.
    pub format: i16,
    types: &'static dyn Types,
}

/// What the types of a category say, without naming them.
trait Types: Send + Sync {
    fn event(&self, name: &str, version: u32) -> Option<(Schema, &'static str)>;
    fn command(&self, name: &str, version: u32) -> Option<(Schema, &'static str)>;
    fn state(&self) -> Schema;
    fn rewrite(&self, stored: &RecordedEvent) -> Result<RecordedEvent, Unreadable>;
    fn fold(&self, state: Option<&[u8]>, stored: &RecordedEvent) -> Result<Vec<u8>, Unreadable>;
    fn check(
        &self,
        name: &str,
        version: u32,
        body: &Value,
        now: Micros,
    ) -> Result<(), Vec<FieldError>>;
}

/// The schema of one version of an event or a command, as it is published.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// The file's name without `.json`: `voucher.issued.v2`.
    pub stem: String,
    /// `issued`.
    pub name: &'static str,
    /// From 1.
    pub version: u32,
    /// JSON Schema 2020-12.
    pub schema: Schema,
}

impl Category {
    /// The category of `A`, whose routes begin with `/v1/{collection}`.
    pub fn of<A: Aggregate>(collection: &'static str) -> Self {
        Self {
            name: A::Event::CATEGORY,
            collection,
            events: A::Event::KINDS,
            commands: A::Command::kinds(),
            codes: A::Rejection::CODES,
            format: <A as State>::FORMAT,
            types: const { &Rules::<A>::new() },
        }
    }

    /// Every version of every event.
    pub fn event_contracts(&self) -> Vec<Contract> {
        let versions = self
            .events
            .iter()
            .flat_map(|kind| (1..=kind.versions).map(move |version| (kind.name, version)));
        versions
            .filter_map(|(name, version)| {
                let stem = format!("{}.{name}.v{version}", self.name);
                let (schema, docs) = self.types.event(name, version)?;
                let schema = headed(&stem, &stem, docs).followed_by(schema);
                Some(Contract { stem, name, version, schema })
            })
            .collect()
    }

    /// Every version of every command.
    pub fn command_contracts(&self) -> Vec<Contract> {
        let versions = self
            .commands
            .iter()
            .flat_map(|kind| (1..=kind.versions).map(move |version| (kind, version)));
        versions
            .filter_map(|(kind, version)| {
                let title = format!("{}.{}", self.name, kind.name);
                let stem = format!("{title}.v{version}");
                let (schema, docs) = self.types.command(kind.name, version)?;
                let schema = headed(&stem, &title, docs)
                    .with_schema("x-highwater", self.called(kind))
                    .followed_by(self.with_id(kind, schema));
                Some(Contract { stem, name: kind.name, version, schema })
            })
            .collect()
    }

    /// The shape of its states: what a snapshot of format [`Category::format`] says.
    pub fn state_shape(&self) -> Schema {
        self.types.state()
    }

    /// Reads an event of any version and writes it in the latest one.
    pub fn rewrite(&self, stored: &RecordedEvent) -> Result<RecordedEvent, Unreadable> {
        self.types.rewrite(stored)
    }

    /// The serialized state after an event.
    pub fn fold(
        &self,
        state: Option<&[u8]>,
        stored: &RecordedEvent,
    ) -> Result<Vec<u8>, Unreadable> {
        self.types.fold(state, stored)
    }

    /// Whether this body would be read as a command.
    pub fn check(
        &self,
        name: &str,
        version: u32,
        body: &Value,
        now: Micros,
    ) -> Result<(), Vec<FieldError>> {
        self.types.check(name, version, body, now)
    }

    /// How the command is called.
    fn called(&self, kind: &CommandKind) -> Schema {
        let expected = if kind.expects_version { "required" } else { "optional" };
        Schema::default()
            .with("expectedVersion", expected)
            .with("creates", kind.target == Target::Creates)
            .with("codes", kind.codes_of(self.name))
    }

    /// A create may have an `id`, the first of its properties.
    fn with_id(&self, kind: &CommandKind, schema: Schema) -> Schema {
        if kind.target != Target::Creates {
            return schema;
        }
        let docs = format!("The {}'s id; derived from the command's key when absent.", self.name);
        schema.with_property_before("id", value::id_schema().described(&docs))
    }
}

impl<A: Aggregate> Types for Rules<A> {
    fn event(&self, name: &str, version: u32) -> Option<(Schema, &'static str)> {
        A::Event::schema(name, version)
    }

    fn command(&self, name: &str, version: u32) -> Option<(Schema, &'static str)> {
        A::Command::schema(name, version)
    }

    fn state(&self) -> Schema {
        <A as Data>::schema(Usage::Event).without_descriptions()
    }

    fn rewrite(&self, stored: &RecordedEvent) -> Result<RecordedEvent, Unreadable> {
        A::Event::decode(stored).map(|event| event.encode())
    }

    fn fold(&self, state: Option<&[u8]>, stored: &RecordedEvent) -> Result<Vec<u8>, Unreadable> {
        let state = state.map(|serialized| self.deserialize(serialized)).transpose()?;
        self.evolve(state.as_ref(), stored).map(|state| self.serialize(&state))
    }

    fn check(
        &self,
        name: &str,
        version: u32,
        body: &Value,
        now: Micros,
    ) -> Result<(), Vec<FieldError>> {
        Self::parse(name, version, body, now).map(|_| ())
    }
}

/// What every published schema begins with.
fn headed(stem: &str, title: &str, docs: &str) -> Schema {
    Schema::default()
        .with("$schema", "https://json-schema.org/draft/2020-12/schema")
        .with("$id", format!("urn:highwater:schema:{stem}"))
        .with("title", title)
        .described(docs)
}

impl fmt::Debug for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Category")
            .field("name", &self.name)
            .field("collection", &self.collection)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}
