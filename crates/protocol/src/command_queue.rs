//! The record of the command queue: a command that was accepted and not yet decided, as it lies
//! in the topic `commands` (docs/log-format.md, "The command queue").
//!
//! Owns the codec and nothing else: who decides the command, and when, is the writer's affair. No
//! bytes make it panic.

mod decode;
mod encode;

use uuid::Uuid;

pub use self::{
    decode::{DecodeError, decode},
    encode::encode,
};
use crate::{time::Micros, wire::Fingerprint, writer::Expected};

/// A command that waits for its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedCommand {
    pub aggregate: Uuid,
    pub command: Uuid,
    /// As `order.place`.
    pub name: String,
    /// The version of its schema, from 1.
    pub version: u32,
    pub fingerprint: Fingerprint,
    /// The caller chose the idempotency key.
    pub caller_key: bool,
    pub expected: Expected,
    /// The pseudonym of the caller that sent it.
    pub actor: Uuid,
    /// What it was allowed by; none with authentication off.
    pub scopes: Vec<String>,
    /// Not decided any more after this.
    pub deadline: Micros,
    pub correlation: Uuid,
    /// W3C Trace Context. One that is malformed or repeated reads as absent.
    pub traceparent: Option<String>,
    /// JSON: written in canonical form (RFC 8785), read in any.
    pub body: Vec<u8>,
}

/// The most versions that one command may expect; part of the format.
pub const MAX_EXPECTED: usize = 256;
