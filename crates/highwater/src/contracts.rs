//! All contracts of an application: the schemas of every version, and, with the feature
//! `contracts`, the files that say what was published.
//!
//! | file | what it is |
//! |---|---|
//! | `events/voucher.issued.v1.json` | the schema of one version; frozen once it is released |
//! | `samples/events/voucher.issued.v1/*.json` | at least one for each schema, by hand; read for ever |
//! | `commands/`, `samples/commands/` | the same for commands |
//! | `states/voucher.1.json` | the shape of a state in this format, and states folded from samples |

#[cfg(feature = "contracts")]
mod difference;
#[cfg(feature = "contracts")]
mod files;
#[cfg(feature = "contracts")]
mod folder;
#[cfg(feature = "contracts")]
mod samples;
#[cfg(feature = "contracts")]
mod states;

use crate::category::{Category, Contract};
#[cfg(feature = "services")]
use crate::schema::Schema;

#[cfg(feature = "contracts")]
pub use self::{
    difference::Difference,
    files::{Written, check, write},
    folder::Error,
};

/// Every version of every event.
pub fn events(categories: &[Category]) -> Vec<Contract> {
    categories.iter().flat_map(Category::event_contracts).collect()
}

/// Every version of every command.
pub fn commands(categories: &[Category]) -> Vec<Contract> {
    categories.iter().flat_map(Category::command_contracts).collect()
}

/// Something that fits a schema of a contract; every field is there.
#[cfg(feature = "services")]
pub(crate) fn example(schema: &Schema) -> serde_json::Value {
    samples::example(&schema.to_value())
}
