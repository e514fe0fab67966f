//! States at rest, as JSON. What a change of this form costs is a new `Durable::FORMAT`, and a fold
//! from the log.

use highwater_protocol::domain::Unreadable;
use serde::{Serialize, de::DeserializeOwned};

pub(crate) fn freeze(state: &impl Serialize) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "states are structs of strings and integers, which JSON can always hold"
    )]
    serde_json::to_vec(state).expect("a state is JSON")
}

pub(crate) fn thaw<T: DeserializeOwned>(what: &str, frozen: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(frozen)
        .map_err(|error| Unreadable::Malformed { what: what.to_owned(), why: error.to_string() })
}
