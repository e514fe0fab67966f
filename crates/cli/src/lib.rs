//! The one binary for people. `up` composes the services as libraries; the other subcommands read
//! the log or migrate the database.
//!
//! | module | what it owns |
//! |---|---|
//! | [`Application`] | an application as its programs need it, and their `main` |
//! | `cli` | the command line: one file a subcommand |
//! | [`up`] | everything in one process |
//! | [`folder`] | the data folder: its layout, one process at a time |
//! | [`postgres`] | a private Postgres server, from the installed binaries |
//! | [`lag`] | how far the projections are, and who owns what |
//! | [`owners`] | who owned which partition, when and why |
//! | [`cloudevent`] | an event as one line of JSON |

mod application;
mod cli;
pub mod cloudevent;
pub mod folder;
pub mod lag;
pub mod owners;
pub mod postgres;
mod programs;
pub mod up;

pub use application::{Accounts, Application, Failure, FirstCommand, Subcommand};
