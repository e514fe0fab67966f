//! The one binary for people. `up` composes the services as libraries; the other subcommands read
//! the log or migrate the database.
//!
//! | module | what it owns |
//! |---|---|
//! | [`cli`] | the command line: one file a subcommand |
//! | [`up`] | everything in one process |
//! | [`folder`] | the data folder: its layout, one process at a time |
//! | [`postgres`] | a private Postgres server, from the installed binaries |
//! | [`audit`] | the log's promises, checked by a reader of its own |
//! | [`lag`] | how far the projections are, and who owns what |
//! | [`owners`] | who owned which partition, when and why |
//! | [`cloudevent`] | an event as one line of JSON |
//! | [`demo`] | the store's own words, for people who try it |

pub mod audit;
pub mod cli;
pub mod cloudevent;
pub mod demo;
pub mod folder;
pub mod lag;
pub mod owners;
pub mod postgres;
pub mod up;
