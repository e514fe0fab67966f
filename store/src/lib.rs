//! The store's rules: what a command does to an aggregate, and what an event makes of it.
//!
//! | module | what it owns |
//! |---|---|
//! | [`order`] | one file a decision; [`Orders`] is what the machinery plugs in |
//! | [`product`] | the same for products; [`Products`] |
//! | [`stock`] | the same for stock; [`Stocks`] |
//!
//! Pure: no I/O, no clock, no randomness. The time comes in with the command. What a body may say
//! at all is settled in `events`.

mod frozen;
pub mod order;
pub mod product;
mod rejection;
#[cfg(test)]
mod scenario;
pub mod stock;

pub use order::Orders;
pub use product::Products;
pub use stock::Stocks;
