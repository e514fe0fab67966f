//! The stock of a product: what its records and its requests say.

mod command;
mod event;

pub use command::{Adjust, Command, MOST_RESERVATIONS, Receive, Release, Reserve, Ship};
pub use event::{Adjusted, Levels, Received, Released, Reserved, Shipped, StockEvent};
