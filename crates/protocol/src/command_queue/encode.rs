//! From commands to records. The sequence of the headers is that of the golden records.

use super::AcceptedCommand;
use crate::{
    record::Record,
    wire::encode::{fingerprint, put},
    writer::Expected,
};

/// The record of `command`, for the partition that its aggregate belongs to.
pub fn encode(command: &AcceptedCommand) -> Record {
    let mut headers = Vec::with_capacity(12);
    put(&mut headers, "hw-kind", "command");
    put(&mut headers, "hw-command", *command.command.as_bytes());
    put(&mut headers, "hw-schema", format!("{}.v{}", command.name, command.version));
    put(&mut headers, "hw-fingerprint", fingerprint(&command.fingerprint));
    put(&mut headers, "hw-key", if command.caller_key { "caller" } else { "minted" });
    match &command.expected {
        Expected::Anything => {}
        Expected::Exists => put(&mut headers, "hw-expected", "*"),
        Expected::OneOf(versions) => put(&mut headers, "hw-expected", list(versions)),
    }
    put(&mut headers, "hw-actor", *command.actor.as_bytes());
    put(&mut headers, "hw-correlation", *command.correlation.as_bytes());
    if !command.scopes.is_empty() {
        put(&mut headers, "hw-scopes", command.scopes.join(" "));
    }
    put(&mut headers, "hw-deadline", command.deadline.to_text());
    if let Some(traceparent) = &command.traceparent {
        put(&mut headers, "traceparent", traceparent.as_bytes());
    }
    let key = command.aggregate.hyphenated().to_string().into_bytes();
    Record { key: Some(key), value: Some(command.body.clone()), headers }
}

/// A version beyond what the log can hold is no aggregate's version, and neither is the largest: it
/// also stands for "none".
fn list(versions: &[u64]) -> String {
    if versions.is_empty() {
        return i64::MAX.to_string();
    }
    let versions: Vec<_> = versions
        .iter()
        .map(|version| (*version).min(i64::MAX.unsigned_abs()).to_string())
        .collect();
    versions.join(",")
}
