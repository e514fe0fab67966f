//! Migrations of an application's tables.

/// A file of the folder `migrations/`: see [`migrations!`](crate::migrations).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// From 1. The largest one is the version of the application's tables.
    pub number: u32,
    /// What stands behind the number in the file's name.
    pub name: &'static str,
    /// The file. It runs once, in a transaction, and never changes once it is published.
    pub sql: &'static str,
}
