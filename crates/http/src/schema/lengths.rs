//! Owns how long the arrays of a value may be, as its schema says with `maxItems`, looked up before
//! anything else is. Must never say that a value is wrong which the schema allows: what it does not
//! understand of a schema it leaves to the library.

use serde_json::Value;

use super::MAX_ERRORS;
use crate::json::pointer_token;
use crate::problem::FieldError;

/// The arrays of a schema, below `properties` and `items`.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    most: Option<usize>,
    members: Vec<(String, Lengths)>,
    items: Option<Box<Lengths>>,
}

impl Lengths {
    pub(super) fn of(schema: &Value) -> Self {
        // In older drafts what stands beside a reference says nothing.
        if schema.get("$ref").is_some() {
            return Self::default();
        }
        let members = schema["properties"].as_object().into_iter().flatten();
        let members = members
            .map(|(name, member)| (name.clone(), Self::of(member)))
            .filter(|(_, member)| !member.is_empty());
        let items = schema.get("items").filter(|items| items.is_object()).map(Self::of);
        Self {
            most: schema["maxItems"].as_u64().and_then(|most| usize::try_from(most).ok()),
            members: members.collect(),
            items: items.filter(|items| !items.is_empty()).map(Box::new),
        }
    }

    fn is_empty(&self) -> bool {
        self.most.is_none() && self.members.is_empty() && self.items.is_none()
    }

    /// `at` is where `value` lies, as a JSON Pointer.
    pub(super) fn check(&self, value: &Value, at: &mut String, errors: &mut Vec<FieldError>) {
        let here = at.len();
        match value {
            Value::Array(items) => match self.most {
                Some(most) if items.len() > most => errors.push(FieldError::pointer(
                    at.as_str(),
                    format!("the value has more than {most} items"),
                )),
                _ => {
                    let Some(item) = &self.items else { return };
                    for (index, value) in items.iter().enumerate() {
                        at.push_str(&format!("/{index}"));
                        item.check(value, at, errors);
                        at.truncate(here);
                        if errors.len() >= MAX_ERRORS {
                            return;
                        }
                    }
                }
            },
            Value::Object(members) => {
                for (name, member) in &self.members {
                    let Some(value) = members.get(name) else { continue };
                    at.push('/');
                    at.push_str(&pointer_token(name));
                    member.check(value, at, errors);
                    at.truncate(here);
                    if errors.len() >= MAX_ERRORS {
                        return;
                    }
                }
            }
            _ => {}
        }
    }
}
