//! Reads a command's body field by field and collects everything that is wrong with it. Total: any
//! JSON is read or refused.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::invalid::Invalid;

/// An object that is being read. Every field must be asked for: what is left over at
/// [`Fields::read`]'s end is unknown.
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    at: String,
    asked: Vec<&'static str>,
    invalid: Vec<Invalid>,
}

/// What a partial change does to an optional field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change<T> {
    Keep,
    Clear,
    Set(T),
}

impl<'a> Fields<'a> {
    /// Reads `body` by `reader`, whose `None` means that it left a finding.
    pub(crate) fn read<T>(
        body: &'a Value,
        reader: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, Vec<Invalid>> {
        Self::read_at(body, String::new(), reader)
    }

    fn read_at<T>(
        body: &'a Value,
        at: String,
        reader: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, Vec<Invalid>> {
        let Some(object) = body.as_object() else {
            return Err(vec![Invalid::new(at, "must be an object")]);
        };
        let mut fields = Fields { object, at, asked: Vec::new(), invalid: Vec::new() };
        let read = reader(&mut fields);
        fields.refuse_unknown();
        match read {
            Some(read) if fields.invalid.is_empty() => Ok(read),
            _ => Err(fields.invalid),
        }
    }

    pub(crate) fn required<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        match self.get(name) {
            Some(value) => self.value(name, value),
            None => {
                self.refuse(name, "is required");
                None
            }
        }
    }

    /// The outer `None`: there is a value, and it is refused.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
    ) -> Option<Option<T>> {
        match self.get(name) {
            Some(value) => self.value(name, value).map(Some),
            None => Some(None),
        }
    }

    /// An optional field of a partial change, where `null` clears.
    pub(crate) fn change<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<Change<T>> {
        match self.get(name) {
            Some(Value::Null) => Some(Change::Clear),
            Some(value) => self.value(name, value).map(Change::Set),
            None => Some(Change::Keep),
        }
    }

    /// An array of 1 to `most` objects, each read by `reader`.
    pub(crate) fn list<T>(
        &mut self,
        name: &'static str,
        most: usize,
        reader: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(items) = self
            .get(name)
            .and_then(Value::as_array)
            .filter(|items| (1..=most).contains(&items.len()))
        else {
            self.refuse(name, format!("must be an array of 1 to {most} items"));
            return None;
        };
        let at = self.pointer(name);
        let read = items
            .iter()
            .enumerate()
            .map(|(i, item)| Self::read_at(item, format!("{at}/{i}"), &reader));
        let mut list = Vec::with_capacity(items.len());
        let found = self.invalid.len();
        for item in read {
            match item {
                Ok(item) => list.push(item),
                Err(invalid) => self.invalid.extend(invalid),
            }
        }
        (self.invalid.len() == found).then_some(list)
    }

    pub(crate) fn refuse(&mut self, name: &str, detail: impl Into<String>) {
        let pointer = self.pointer(name);
        self.invalid.push(Invalid::new(pointer, detail));
    }

    fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.asked.push(name);
        self.object.get(name)
    }

    fn value<T: DeserializeOwned>(&mut self, name: &str, value: &Value) -> Option<T> {
        T::deserialize(value).map_err(|error| self.refuse(name, error.to_string())).ok()
    }

    fn refuse_unknown(&mut self) {
        let unknown = self.object.keys().filter(|name| !self.asked.contains(&name.as_str()));
        let found: Vec<Invalid> = unknown
            .map(|name| Invalid::new(self.pointer(name), "is not a field of this command"))
            .collect();
        self.invalid.extend(found);
    }

    /// RFC 6901, section 3.
    fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.at, name.replace('~', "~0").replace('/', "~1"))
    }
}
