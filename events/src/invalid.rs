//! What is wrong with a command's body.

/// One finding, for a 422.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Invalid {
    /// JSON Pointer (RFC 6901) into the body; empty: the body as a whole.
    pub pointer: String,
    pub detail: String,
}

impl Invalid {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }

    /// A command name or version that this release does not have.
    pub(crate) fn unknown(category: &str, name: &str, version: u32) -> Vec<Self> {
        vec![Self::new("", format!("{category} has no command {name} in version {version}"))]
    }
}
