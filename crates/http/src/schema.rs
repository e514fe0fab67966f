//! Owns the check of a JSON value against a JSON Schema, and the words for what is wrong. Must
//! never show more of the value than 100 characters, and never more errors than [`MAX_ERRORS`].

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use crate::json::{pointer_token, shorten};
use crate::problem::FieldError;
use lengths::Lengths;

mod lengths;

/// Errors named in one answer.
pub const MAX_ERRORS: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the schema is not JSON: {source}")]
    NotJson { source: serde_json::Error },
    #[error("the schema is not a JSON Schema: {detail}")]
    NotASchema { detail: String },
}

/// A compiled schema.
#[derive(Debug)]
pub struct Validator {
    schema: Value,
    compiled: jsonschema::Validator,
    lengths: Lengths,
}

impl Validator {
    pub fn new(text: &str) -> Result<Self, Error> {
        let schema: Value =
            serde_json::from_str(text).map_err(|source| Error::NotJson { source })?;
        Self::from_value(&schema)
    }

    pub fn from_value(schema: &Value) -> Result<Self, Error> {
        let compiled = jsonschema::options().should_validate_formats(true).build(schema);
        let lengths = Lengths::of(schema);
        compiled
            .map(|compiled| Self { schema: schema.clone(), compiled, lengths })
            .map_err(|error| Error::NotASchema { detail: error.to_string() })
    }

    /// What is wrong, at most [`MAX_ERRORS`], each with a JSON Pointer to the offending member. All
    /// errors are made before the first is seen, so an array that is too long is refused for that
    /// alone, and none of its items is looked at.
    pub fn validate(&self, value: &Value) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        self.lengths.check(value, &mut String::new(), &mut errors);
        if errors.is_empty() {
            if self.compiled.is_valid(value) {
                return Ok(());
            }
            let all = self.compiled.iter_errors(value);
            let mut last = None;
            // Of a form both the pattern and the format say the same.
            let each = all.flat_map(|error| describe(&error, &self.schema));
            let new = each.filter(|error| last.replace(error.clone()).as_ref() != Some(error));
            errors = new.take(MAX_ERRORS).collect();
        }
        Err(errors)
    }
}

fn describe(error: &ValidationError<'_>, schema: &Value) -> Vec<FieldError> {
    let at = error.instance_path().as_str().split('/').skip(1).fold(
        String::new(),
        |mut pointer, token| {
            pointer.push('/');
            // Escaped already; only the length is new.
            pointer.push_str(&shorten(token));
            pointer
        },
    );
    let member = |name: &str| format!("{at}/{}", pointer_token(name));
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected
            .iter()
            .take(MAX_ERRORS)
            .map(|name| FieldError::pointer(member(name), "this member is not known here"))
            .collect(),
        ValidationErrorKind::Required { property } => {
            vec![FieldError::pointer(
                member(property.as_str().unwrap_or_default()),
                "this member is required",
            )]
        }
        _ => {
            // Masked: the value itself may be long or personal.
            let detail = form(error, schema)
                .map_or_else(|| error.masked_with("the value").to_string(), str::to_owned);
            vec![FieldError::pointer(at, shorten_detail(&detail))]
        }
    }
}

/// What a text must look like, for people: a pattern is for programs. `None`: no known form.
fn form(error: &ValidationError<'_>, schema: &Value) -> Option<&'static str> {
    let (at, keyword) = error.schema_path().as_str().rsplit_once('/')?;
    if !["pattern", "format"].contains(&keyword) {
        return None;
    }
    let schema = schema.pointer(at)?;
    match (schema["format"].as_str(), schema["pattern"].as_str()) {
        (Some("date-time"), _) => Some("must be a time in UTC, like 2026-01-02T03:04:05Z"),
        (Some("uuid"), _) => Some("must be a UUID, like 018f3c9e-5b5e-7c3a-9d0e-1f6a2b3c4d5e"),
        (None, Some(r"^[^\u0000]*$")) => Some("must be text without NUL"),
        (None, Some("^[A-Z]{3}$")) => Some("must be three letters from A to Z, like EUR"),
        _ => None,
    }
}

/// What remains comes from the schema, such as a pattern or the list of allowed values.
fn shorten_detail(detail: &str) -> String {
    const LONGEST: usize = 300;
    if detail.chars().nth(LONGEST).is_none() {
        return detail.to_owned();
    }
    detail.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
#[path = "schema/tests.rs"]
mod tests;
