//! Owns the request headers that we give a meaning, and the form of the answers' counterparts.
//! Parsers take any bytes, never panic, and refuse with a 400 that names the header.

mod conditional;
mod idempotency;
mod position;
mod prefer;

pub use conditional::{Conditions, ETag, IfMatch, IfNoneMatch};
pub use idempotency::IdempotencyKey;
pub use position::{
    HIGHWATER_POSITION, MIN_POSITION, MinPosition, PartitionPosition, format_compact,
    format_positions,
};
pub use prefer::{PREFERENCE_APPLIED, Prefer};

use axum::http::{HeaderMap, HeaderName};

use crate::problem::Problem;

/// The values of one header as text, joined as a list (RFC 9110, 5.3); `None` when it is absent.
fn text(headers: &HeaderMap, name: &HeaderName, shown: &str) -> Result<Option<String>, Problem> {
    let mut joined: Option<String> = None;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| {
            Problem::bad_header(shown, "holds characters that are not printable ASCII")
        })?;
        match &mut joined {
            None => joined = Some(value.to_owned()),
            Some(joined) => {
                joined.push_str(", ");
                joined.push_str(value);
            }
        }
    }
    Ok(joined)
}

#[cfg(test)]
mod tests;
