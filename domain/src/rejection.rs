//! How a broken rule is said in the log and to the client: a code for programs, a sentence for people.

use protocol::wire::Reason;
use serde::Serialize;

/// A rule that a command broke. Its `Display` is the sentence.
pub trait Rejection: std::error::Error {
    /// As listed in the command's schema: `order.already-shipped`.
    fn code(&self) -> &'static str;

    fn reason(&self) -> Reason {
        #[derive(Serialize)]
        struct Body {
            code: &'static str,
            detail: String,
        }
        #[expect(clippy::expect_used, reason = "a struct of two strings is always JSON")]
        let body = serde_json::to_vec(&Body { code: self.code(), detail: self.to_string() }).expect("a rejection is JSON");
        Reason(body)
    }
}
