//! The one binary for people. `up` composes the services as libraries; the other subcommands read the log or migrate the database.
//!
//! | module | what it owns |
//! |---|---|
//! | [`postgres`] | a private Postgres server, from the installed binaries |

pub mod postgres;
