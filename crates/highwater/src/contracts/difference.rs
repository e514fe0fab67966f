//! In what contracts differ from what was published.

use std::fmt;

use serde_json::Value;

pub(super) const TO_WRITE: &str = "is not written yet: `schemas write` writes it";

/// One thing that is not as it was published, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The file, within the folder.
    pub file: String,
    /// What is wrong, and what to do.
    pub what: String,
}

impl Difference {
    pub(super) fn to_write(file: String) -> Self {
        Self { file, what: TO_WRITE.to_owned() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.what)
    }
}

/// The JSON Pointers at which two values differ.
pub(super) fn unlike(before: &Value, now: &Value) -> Vec<String> {
    fn walk(before: &Value, now: &Value, at: &str, into: &mut Vec<String>) {
        match (before, now) {
            (Value::Object(before), Value::Object(now)) => {
                let names =
                    before.keys().chain(now.keys().filter(|name| !before.contains_key(*name)));
                for name in names {
                    let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    match (before.get(name), now.get(name)) {
                        (Some(before), Some(now)) => walk(before, now, &at, into),
                        _ => into.push(at),
                    }
                }
            }
            _ if before == now => {}
            _ if at.is_empty() => into.push("/".to_owned()),
            _ => into.push(at.to_owned()),
        }
    }
    let mut pointers = Vec::new();
    walk(before, now, "", &mut pointers);
    pointers
}
