//! Values that cannot hold what a schema refuses.

mod change;
mod currency;
mod id;
mod list;
mod map;
mod number;
mod text;
mod timestamp;

pub use change::Change;
pub use currency::{Currency, NotACurrency};
pub use id::Id;
pub use list::{List, UnfitList};
pub use map::Map;
pub use number::{Count, Delta, MAX, Money, OutOfBounds, Quantity};
pub use text::{Text, UnfitText};
pub use timestamp::{NotATime, Timestamp};

/// An id in the body of a command.
pub(crate) fn id_schema() -> crate::schema::Schema {
    id::uuid_schema(crate::data::Usage::Command)
}
