//! How a broken rule is said in the log and to the client: a code for programs, a sentence for
//! people.

use highwater_protocol::wire::Reason;
use serde::Serialize;
use serde_json::{Map, Value};

/// A rule that a command broke. Its `Display` is the sentence.
pub trait Rejection: std::error::Error {
    /// As listed in the command's schema: `order.already-shipped`.
    fn code(&self) -> &'static str;

    /// What a program needs beside the code, under names of its own.
    fn members(&self) -> Map<String, Value> {
        Map::new()
    }

    fn reason(&self) -> Reason {
        #[derive(Serialize)]
        struct Body {
            code: &'static str,
            detail: String,
            #[serde(flatten)]
            members: Map<String, Value>,
        }
        #[expect(clippy::expect_used, reason = "strings and a JSON object are always JSON")]
        let body = serde_json::to_vec(&Body {
            code: self.code(),
            detail: self.to_string(),
            members: self.members(),
        })
        .expect("a rejection is JSON");
        Reason(body)
    }
}
