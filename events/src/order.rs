//! The order: what its records and its requests say.

mod command;
mod event;
mod lines;

use highwater::Id;

pub use command::{OrderCommand, Place, PlaceV1, Reason, Ship};
pub use event::{Cancelled, Confirmed, Delivered, OrderEvent, Placed, PlacedV1, Returned, Shipped};
pub use lines::{DepartmentSum, Departments, Line, Lines, MOST_LINES, Overflow};

pub type OrderId = Id<OrderEvent>;

/// Who places orders, as far as orders know.
pub enum Customer {}
