//! What this store projects: one file a projection. A projection is added by its file, its table
//! and a line here.

mod catalog;
mod orders;
mod sales_daily;
mod stock_levels;

use std::sync::Arc;

use crate::{
    builtin::{
        aggregates::{Aggregates, Category},
        operations::Operations,
        snapshots::Snapshots,
    },
    runner::{PostgresTx, Projection},
};

/// The categories that projections read.
pub const CATEGORIES: [&str; 3] = ["order", "product", "stock"];

/// The rules of every category, for snapshots.
pub fn aggregates() -> Vec<Box<dyn Aggregates>> {
    vec![
        Box::new(Category { name: "order", domain: store::Orders }),
        Box::new(Category { name: "product", domain: store::Products }),
        Box::new(Category { name: "stock", domain: store::Stocks }),
    ]
}

/// Every projection, the generic ones included.
pub fn all() -> Vec<Arc<dyn Projection<PostgresTx>>> {
    vec![
        Arc::new(Snapshots::of(aggregates())),
        Arc::new(Operations::of(CATEGORIES.to_vec())),
        Arc::new(orders::Orders),
        Arc::new(sales_daily::SalesDaily),
        Arc::new(catalog::Catalog),
        Arc::new(stock_levels::StockLevels),
    ]
}
