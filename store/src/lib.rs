//! The store: its rules (what a command does to an aggregate, and what an event makes of it; one
//! file a decision), and the application made of them ([`app`]).
//!
//! The rules are pure: no I/O, no clock, no randomness. The time comes in with the command. What a
//! body may say at all is settled in `events`. They are all that is here without the feature
//! `services`.

#[cfg(feature = "services")]
mod app;
#[cfg(feature = "services")]
mod audit;
#[cfg(feature = "services")]
mod demo;
#[cfg(all(test, feature = "services"))]
#[path = "../../tests/support/documented.rs"]
mod documented;
pub mod order;
pub mod product;
#[cfg(feature = "services")]
mod projections;
pub mod stock;
#[cfg(feature = "services")]
mod views;

use highwater::Category;

#[cfg(feature = "services")]
pub use app::app;
pub use order::Order;
pub use product::Product;
pub use stock::Stock;

/// Every category, with its collection.
pub fn categories() -> [Category; 3] {
    [
        Category::of::<Order>("orders"),
        Category::of::<Product>("products"),
        Category::of::<Stock>("stock"),
    ]
}
