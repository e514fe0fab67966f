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
            .map(|compiled| Self { compiled, lengths })
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
            errors = self.compiled.iter_errors(value).flat_map(describe).take(MAX_ERRORS).collect();
        }
        Err(errors)
    }
}

fn describe(error: ValidationError<'_>) -> Vec<FieldError> {
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
            let detail = error.masked_with("the value").to_string();
            vec![FieldError::pointer(at, shorten_detail(&detail))]
        }
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
