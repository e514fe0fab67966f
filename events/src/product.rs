//! The product: what its records and its requests say.

mod command;
mod event;

pub use crate::body::Change;
pub use command::{Command, Create, Describe, SetPrice};
pub use event::{Created, Described, Discontinued, PriceSet, ProductEvent};
