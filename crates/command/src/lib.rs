//! HTTP in, events out: takes commands, decides each at the owner of its partition, answers when
//! the log has it.
//!
//! | module | what it owns |
//! |---|---|
//! | [`category`] | what a category plugs in: its domain, its commands and their schemas |
//! | [`http`] | routes, from request to submission and from answer to response |
//! | [`command_queue`] | the way into the command queue |
//! | [`owner`] | one actor a partition, which drives [`highwater_protocol::writer::Writer`]: I/O, timers, queues; decides nothing |
//! | [`process`] | command-api as a process of its own, on Kafka |
//! | [`settings`] | every limit, with its default |

pub mod category;
pub mod command_queue;
pub mod http;
pub mod owner;
pub mod pool;
pub mod process;
pub mod settings;
mod start;

pub use start::{Categories, Commanded, Error, Registry, ServedCategory, advertised, start};
