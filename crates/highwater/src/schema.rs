//! JSON Schema (2020-12), with its members in the sequence in which they are written.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

/// A schema, or a part of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema(Vec<(String, Node)>);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Value(Value),
    Schema(Schema),
    List(Vec<Schema>),
}

impl Schema {
    /// Of a JSON type: `Schema::of("integer")`.
    pub fn of(kind: &str) -> Self {
        Self::default().with("type", kind)
    }

    /// With a member, in place of one that has this name.
    #[must_use]
    pub fn with(self, name: &str, value: impl Into<Value>) -> Self {
        self.put(name, Node::Value(value.into()))
    }

    /// With a schema as a member.
    #[must_use]
    pub fn with_schema(self, name: &str, schema: Schema) -> Self {
        self.put(name, Node::Schema(schema))
    }

    /// With schemas as a member.
    #[must_use]
    pub fn with_schemas(self, name: &str, schemas: Vec<Schema>) -> Self {
        self.put(name, Node::List(schemas))
    }

    /// With this description, or as before if it is empty.
    #[must_use]
    pub fn described(self, text: &str) -> Self {
        if text.is_empty() { self } else { self.with("description", text) }
    }

    /// The same, or `null`.
    #[must_use]
    pub fn nullable(mut self) -> Self {
        if let Some((_, Node::Value(kind))) = self.0.iter_mut().find(|(name, _)| name == "type") {
            *kind = Value::from(vec![kind.take(), Value::from("null")]);
        }
        self
    }

    /// What it says to programs: without any description.
    #[must_use]
    pub fn without_descriptions(self) -> Self {
        let members = self.0.into_iter();
        let plain = members.filter(|(name, node)| {
            name != "description" || !matches!(node, Node::Value(Value::String(_)))
        });
        let deeper = |node| match node {
            Node::Schema(schema) => Node::Schema(schema.without_descriptions()),
            Node::List(schemas) => {
                Node::List(schemas.into_iter().map(Self::without_descriptions).collect())
            }
            value @ Node::Value(_) => value,
        };
        Self(plain.map(|(name, node)| (name, deeper(node))).collect())
    }

    /// All members of `other` after those of this one.
    #[must_use]
    pub fn followed_by(self, other: Schema) -> Self {
        other.0.into_iter().fold(self, |schema, (name, node)| schema.put(&name, node))
    }

    /// With one property more, before all others.
    #[must_use]
    pub(crate) fn with_property_before(mut self, name: &str, schema: Schema) -> Self {
        let properties = self.0.iter_mut().find(|(member, _)| member == "properties");
        if let Some((_, Node::Schema(properties))) = properties {
            properties.0.insert(0, (name.to_owned(), Node::Schema(schema)));
        }
        self
    }

    /// As a JSON value, in which the sequence of members says nothing.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn put(mut self, name: &str, node: Node) -> Self {
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, before)) => *before = node,
            None => self.0.push((name.to_owned(), node)),
        }
        self
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, node)| map.serialize_entry(name, node))?;
        map.end()
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Value(value) => value.serialize(serializer),
            Node::Schema(schema) => schema.serialize(serializer),
            Node::List(schemas) => schemas.serialize(serializer),
        }
    }
}

/// As it is written to a file: indented by two spaces, with a line's end.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?)
    }
}
