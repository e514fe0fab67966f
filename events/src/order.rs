//! The order: what its records and its requests say.

mod command;
mod event;
mod lines;
mod placed;

pub use command::{Cancel, Command, MOST_LINES, Place, Return, Ship};
pub use event::{Cancelled, Confirmed, Delivered, DepartmentSum, OrderEvent, Returned, Shipped};
pub use lines::{Line, Lines, Unfit};
pub use placed::{Placed, PlacedV1};
