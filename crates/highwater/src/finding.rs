//! What is wrong with a command's body.

/// How much of a message is kept: serde quotes the value, which may be long.
const LONGEST_DETAIL: usize = 200;

/// One finding, for a 422.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) into the body; empty: the body as a whole.
    pub pointer: String,
    /// At most 200 characters.
    pub detail: String,
}

impl FieldError {
    /// `FieldError::new("/placed_at", "must be in the past")`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(LONGEST_DETAIL) {
            detail.truncate(end);
        }
        Self { pointer: pointer.into(), detail }
    }
}
