//! The language of the log: everything that decides what a partition of Highwater says, and nothing
//! else.
//!
//! | module | what it owns |
//! |---|---|
//! | [`record`] | one stored record: key, value, headers, offset |
//! | [`vocabulary`] | the types that fold and writer are generic over: ids, time, events |
//! | [`entry`] | a record as the fold sees it |
//! | [`wire`] | the vocabulary of real logs, and the codec between [`record`] and [`entry`] |
//! | [`command_queue`] | the record of the command queue: an accepted command, and its codec |
//! | [`time`] | `ce_time`: microseconds, one textual form |
//! | [`partition`] | which partition a key belongs to (murmur2, as the Java client) |
//! | [`fold`] | the verdict on every record, the same for every reader |
//! | [`position`] | where a fold can be resumed, and the proof that it is the same history |
//! | [`domain`] | what a store plugs in: decide and evolve |
//! | [`writer`] | the owner of a partition as a pure state machine |
//!
//! No I/O, no clock, no randomness, no async: time and ids come in with the input.
//! The rules and the encodings are written down in `docs/log-format.md`.

pub mod command_queue;
pub mod domain;
pub mod entry;
pub mod fold;
pub mod partition;
pub mod position;
pub mod record;
pub mod time;
pub mod vocabulary;
pub mod wire;
pub mod writer;
