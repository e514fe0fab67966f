//! Reads what a caller sent, and collects everything that is wrong with it. Total: any JSON is read
//! or refused.

use std::convert::Infallible;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{
    Data,
    object::{Object, Source},
};
use uuid::Uuid;

use crate::finding::FieldError;

/// Of a field that a command does not have.
pub const IS_NO_FIELD: &str = "is not a field of this command";

/// Reads a hyphenated UUID, either case; braces, URNs and bare digits are not ids here.
pub fn parse_id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH)
}

/// Where a value stands in the body.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// It is the body.
    Root,
    /// A field of what stands there.
    Field(&'a At<'a>, &'a str),
    /// An item of what stands there.
    Item(&'a At<'a>, usize),
}

impl At<'_> {
    /// RFC 6901, section 3.
    pub fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field(parent, name) => {
                format!("{}/{}", parent.pointer(), name.replace('~', "~0").replace('/', "~1"))
            }
            Self::Item(parent, index) => format!("{}/{index}", parent.pointer()),
        }
    }

    /// What is wrong there.
    pub fn refuse(&self, detail: impl ToString) -> FieldError {
        FieldError::new(self.pointer(), detail.to_string())
    }
}

/// The body of a command. One that creates may have an `id`, which is checked and left to the
/// caller, who chose the aggregate by it.
pub fn body<T: Object>(body: &Value, creates: bool) -> Result<T, Vec<FieldError>> {
    let mut found = Vec::new();
    let also: &[&str] = if creates { &["id"] } else { &[] };
    if let Some(id) = body.get("id").filter(|_| creates)
        && id.as_str().and_then(parse_id).is_none()
    {
        found.push(At::Field(&At::Root, "id").refuse("must be a hyphenated UUID"));
    }
    match read_object(body, &At::Root, &mut found, IS_NO_FIELD, also) {
        Some(read) if found.is_empty() => Ok(read),
        _ => Err(found),
    }
}

/// An object, its fields in their sequence and then what is no field of it. `also`: names that
/// others read.
pub fn read_object<T: Object>(
    json: &Value,
    at: &At<'_>,
    found: &mut Vec<FieldError>,
    unknown: &str,
    also: &[&str],
) -> Option<T> {
    let Some(object) = json.as_object() else {
        found.push(at.refuse("must be an object"));
        return None;
    };
    let (mut draft, before) = (T::Draft::default(), found.len());
    for index in 0..T::COUNT {
        let field = T::field(index);
        let here = At::Field(at, field.name);
        match object.get(field.name) {
            Some(json) => {
                let sent = JsonSource { json, at: &here, found };
                let Ok(()) = T::take(&mut draft, index, sent);
            }
            None if field.required => found.push(here.refuse("is required")),
            None => {}
        }
    }
    for name in object.keys() {
        if T::find(name).is_none() && !also.contains(&name.as_str()) {
            found.push(At::Field(at, name).refuse(unknown));
        }
    }
    if found.len() > before { None } else { T::finish(draft).ok() }
}

struct JsonSource<'a, 'b> {
    json: &'a Value,
    at: &'a At<'b>,
    found: &'a mut Vec<FieldError>,
}

impl Source for JsonSource<'_, '_> {
    type Error = Infallible;

    fn read<T: Data>(
        self,
        check: impl FnOnce(&T) -> Result<(), String>,
    ) -> Result<Option<T>, Infallible> {
        let Some(value) = T::read(self.json, self.at, self.found) else { return Ok(None) };
        let checked = check(&value).map_err(|why| self.found.push(self.at.refuse(why)));
        Ok(checked.ok().map(|()| value))
    }
}

/// A checked value: its field, and then the check.
pub fn read_wrapped<I: Data, T>(
    json: &Value,
    at: &At<'_>,
    found: &mut Vec<FieldError>,
    make: fn(I) -> Result<T, String>,
) -> Option<T> {
    let inner = I::read(json, at, found)?;
    make(inner).map_err(|why| found.push(at.refuse(why))).ok()
}

/// The same as it is stored.
pub fn wrapped<'de, I: Deserialize<'de>, T, D: Deserializer<'de>>(
    deserializer: D,
    make: fn(I) -> Result<T, String>,
) -> Result<T, D::Error> {
    make(I::deserialize(deserializer)?).map_err(de::Error::custom)
}
