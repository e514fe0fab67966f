//! What the store projects, one file a projection: it is added by its file, its table and a line in
//! `app.rs`.

pub(crate) mod catalog;
pub(crate) mod orders;
pub(crate) mod sales_daily;
pub(crate) mod stock_levels;
