//! The store's views: one file each, with its statement and its shape. A statement that is put
//! together holds no value: they are bound.

mod order;
mod orders;
mod product;
mod products;
mod sales;
mod stock;
mod stocks;

#[cfg(test)]
mod plans;

use axum::{Router, routing::get};
use chrono::{DateTime, Utc};
use highwater_protocol::time::Micros;
use serde::Serializer;

use crate::{
    App, list,
    resource::{self, View},
};

/// The version of the store's tables that these views read.
pub const TABLES_VERSION: i32 = 2;

/// The categories that commands are sent to.
pub const CATEGORIES: [&str; 3] = ["order", "product", "stock"];

/// Projection and category of the views of single resources, which are kept in memory.
pub const KEPT: [(&str, &str); 3] = [
    (order::Orders::PROJECTION, order::Orders::CATEGORY),
    (product::Products::PROJECTION, product::Products::CATEGORY),
    (stock::Stock::PROJECTION, stock::Stock::CATEGORY),
];

pub fn routes() -> Router<App> {
    Router::new()
        .route("/v1/orders", get(list::get::<orders::Orders>))
        .route("/v1/orders/{id}", get(resource::get::<order::Orders>))
        .route("/v1/products", get(list::get::<products::Products>))
        .route("/v1/products/{id}", get(resource::get::<product::Products>))
        .route("/v1/stock", get(list::get::<stocks::Stocks>))
        .route("/v1/stock/{id}", get(resource::get::<stock::Stock>))
        .route("/v1/sales", get(list::get::<sales::Sales>))
}

/// The one form of a time in an answer.
fn as_text<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&Micros(time.timestamp_micros()).to_text())
}
