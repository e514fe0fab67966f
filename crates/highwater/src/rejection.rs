//! How a broken rule is said in the log and to the caller: a code for programs, a sentence for
//! people.

use std::fmt::Display;

use highwater_protocol::{vocabulary, wire::Reason};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

/// The rules that a command can break: `#[derive(Rejection)]`. Its `Display` is the sentence.
#[diagnostic::on_unimplemented(message = "`{Self}` is no rejection: derive Rejection for an enum")]
pub trait Rejection: std::error::Error + vocabulary::Value {
    /// Every code there is.
    const CODES: &'static [&'static str];

    /// As listed by the command, without the category.
    fn code(&self) -> &'static str;

    /// What a program needs beside the code, under names of its own.
    fn members(&self) -> Vec<(&'static str, Value)>;
}

/// What is recorded: a JSON object of code, detail and members, in this sequence.
pub(crate) fn reason(
    category: &str,
    code: &str,
    detail: impl Display,
    members: &[(&'static str, Value)],
) -> Reason {
    struct Body<'a>(String, String, &'a [(&'static str, Value)]);

    impl Serialize for Body<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("code", &self.0)?;
            map.serialize_entry("detail", &self.1)?;
            self.2.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
            map.end()
        }
    }

    let body = Body(format!("{category}.{code}"), detail.to_string(), members);
    #[expect(clippy::expect_used, reason = "strings and JSON values are always JSON")]
    let body = serde_json::to_vec(&body).expect("a rejection is JSON");
    Reason(body)
}

/// A member's value; one that JSON cannot hold is `null`.
#[doc(hidden)]
pub fn member(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
