//! Owns the way from bytes to a JSON value, strictly: what two readers could understand differently
//! is refused (duplicate names, invalid UTF-8, lone surrogates), and depth and number of values are
//! bounded. And the way back, canonically (RFC 8785).

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, map::Entry};

use crate::problem::{FieldError, Problem};

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 64;
/// How many values one text may hold, arrays and objects counted: what comes after reading takes
/// its time for each of them.
pub const MAX_VALUES: usize = 10_000;
/// How much of a caller's text an error shows.
pub(crate) const MAX_ECHO: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("malformed JSON at line {line}, column {column}: {detail}")]
    Malformed { line: usize, column: usize, detail: String },
    #[error("the name at {pointer} occurs twice in its object")]
    DuplicateName { pointer: String },
    #[error("the value at {pointer} lies deeper than {MAX_DEPTH} levels")]
    TooDeep { pointer: String },
    #[error("the body holds more than {MAX_VALUES} values; the first one too many is at {pointer}")]
    TooManyValues { pointer: String },
    #[error("the body is not UTF-8 from byte {offset} on")]
    NotUtf8 { offset: usize },
}

impl JsonError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "json.malformed",
            Self::DuplicateName { .. } => "json.duplicate-name",
            Self::TooDeep { .. } => "json.too-deep",
            Self::TooManyValues { .. } => "json.too-many-values",
            Self::NotUtf8 { .. } => "json.not-utf8",
        }
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        let detail = error.to_string();
        let errors = match &error {
            JsonError::DuplicateName { pointer }
            | JsonError::TooDeep { pointer }
            | JsonError::TooManyValues { pointer } => {
                vec![FieldError::pointer(pointer, detail.clone())]
            }
            JsonError::Malformed { .. } | JsonError::NotUtf8 { .. } => Vec::new(),
        };
        Problem::bad_request(error.code(), detail).with_errors(errors)
    }
}

/// Reads one JSON text.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError::NotUtf8 { offset: error.valid_up_to() })?;
    let (refusal, values) = (RefCell::new(None), Cell::new(0));
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { refusal: &refusal, values: &values, depth: 0 }.deserialize(&mut reader);
    let value = value.and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| {
        refusal.into_inner().map_or_else(|| malformed(&error), Refusal::into_error)
    })
}

/// The canonical text: names sorted, numbers in one form (RFC 8785). Integers beyond 2^53 lose
/// digits, as that RFC says: a schema that means them bounds them.
pub fn canonical(value: &Value) -> Vec<u8> {
    if is_canonical_as_it_is(value) {
        return value.to_string().into_bytes();
    }
    // Fails only on a number that is not finite, which a `Value` cannot hold, and on a failing
    // writer, which a `Vec` is not.
    serde_json_canonicalizer::to_vec(value).unwrap_or_default()
}

/// Maps are sorted by the bytes of their names, RFC 8785 by UTF-16: the same below U+E000. Integers
/// that a double holds look the same in both. That is nearly every body.
fn is_canonical_as_it_is(value: &Value) -> bool {
    const HELD: u64 = 1 << 53;
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => {
            number.as_u64().is_some_and(|n| n <= HELD)
                || number.as_i64().is_some_and(|n| n.unsigned_abs() <= HELD)
        }
        Value::Array(items) => items.iter().all(is_canonical_as_it_is),
        Value::Object(members) => members.iter().all(|(name, member)| {
            name.bytes().all(|byte| byte < 0xee) && is_canonical_as_it_is(member)
        }),
    }
}

/// `token` as one reference token of a JSON Pointer (RFC 6901), cut when it is long.
pub(crate) fn pointer_token(token: &str) -> String {
    shorten(token).replace('~', "~0").replace('/', "~1")
}

/// At most `MAX_ECHO` characters of a caller's text, control characters replaced.
pub fn shorten(text: &str) -> String {
    shortened(text).into_owned()
}

/// The same, without a copy of what is short and plain, as nearly everything is.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_ECHO
        && text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_control())
    {
        return Cow::Borrowed(text);
    }
    let mut short: String =
        text.chars().take(MAX_ECHO).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MAX_ECHO).is_some() {
        short.pop();
        short.push('…');
    }
    Cow::Owned(short)
}

fn malformed(error: &serde_json::Error) -> JsonError {
    let text = error.to_string();
    let detail = text.split(" at line ").next().unwrap_or_default();
    JsonError::Malformed { line: error.line(), column: error.column(), detail: shorten(detail) }
}

enum Step {
    Name(String),
    Index(usize),
}

/// Why a value was refused, and the way to it, the last step first: each level adds its own as the
/// error passes it.
struct Refusal {
    error: fn(String) -> JsonError,
    way: Vec<Step>,
}

impl Refusal {
    fn into_error(self) -> JsonError {
        let pointer = self.way.iter().rev().fold(String::new(), |mut pointer, step| {
            pointer.push('/');
            match step {
                Step::Name(name) => pointer.push_str(&pointer_token(name)),
                Step::Index(index) => pointer.push_str(&index.to_string()),
            }
            pointer
        });
        (self.error)(pointer)
    }
}

/// Deserializes a value that lies so deep.
#[derive(Clone, Copy)]
struct Strict<'a> {
    refusal: &'a RefCell<Option<Refusal>>,
    /// So many were read.
    values: &'a Cell<usize>,
    depth: usize,
}

impl Strict<'_> {
    fn refuse<E: de::Error>(&self, error: fn(String) -> JsonError, way: Vec<Step>) -> E {
        *self.refusal.borrow_mut() = Some(Refusal { error, way });
        E::custom("refused")
    }

    /// For what lies below this value.
    fn below<E: de::Error>(self, step: impl FnOnce() -> Step) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            return Err(self.refuse(|pointer| JsonError::TooDeep { pointer }, vec![step()]));
        }
        Ok(Self { depth, ..self })
    }

    fn passed<E>(&self, error: E, step: impl FnOnce() -> Step) -> E {
        if let Some(refusal) = self.refusal.borrow_mut().as_mut() {
            refusal.way.push(step());
        }
        error
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let value = deserializer.deserialize_any(self)?;
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES {
            return Err(self.refuse(|pointer| JsonError::TooManyValues { pointer }, Vec::new()));
        }
        Ok(value)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below(|| Step::Index(0))?;
        let mut array = Vec::new();
        while let Some(item) = items
            .next_element_seed(below)
            .map_err(|error| self.passed(error, || Step::Index(array.len())))?
        {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let below = self.below(|| Step::Name(name.clone()))?;
            match object.entry(name) {
                Entry::Occupied(present) => {
                    let way = vec![Step::Name(present.key().clone())];
                    return Err(self.refuse(|pointer| JsonError::DuplicateName { pointer }, way));
                }
                Entry::Vacant(absent) => {
                    let member = members.next_value_seed(below);
                    let member = member
                        .map_err(|error| self.passed(error, || Step::Name(absent.key().clone())))?;
                    absent.insert(member);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
#[path = "json/tests.rs"]
mod tests;
