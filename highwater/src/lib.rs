//! The one binary for people. `up` composes the services as libraries; the other subcommands read the log or migrate the database.
//!
//! | module | what it owns |
//! |---|---|
//! | [`audit`] | the log's promises, checked by a reader of its own |
//! | [`postgres`] | a private Postgres server, from the installed binaries |

pub mod audit;
pub mod postgres;
