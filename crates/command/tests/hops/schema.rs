//! Schemas of commands, as a category serves them.

use serde_json::{Value, json};

const UUID: &str = "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$";

/// Of a command that makes an aggregate.
pub fn creating(properties: Value, required: &[&str]) -> String {
    command(properties, required, true, "optional")
}

/// Of a command for which `If-Match` is optional.
pub fn optional(properties: Value, required: &[&str]) -> String {
    command(properties, required, false, "optional")
}

/// Of a command that needs `If-Match`.
pub fn required(properties: Value, required: &[&str]) -> String {
    command(properties, required, false, "required")
}

fn command(properties: Value, required: &[&str], creates: bool, expected: &str) -> String {
    let mut schema = object(properties, required);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["x-highwater"] = json!({"creates": creates, "expectedVersion": expected});
    schema.to_string()
}

pub fn object(properties: Value, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    })
}

pub fn uuid() -> Value {
    json!({"type": "string", "format": "uuid", "pattern": UUID})
}

pub fn text(longest: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": longest, "pattern": "^[^\\u0000]*$"})
}

pub fn count() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 1_000_000})
}
