//! The store's views: one file each, with its statement and its shape.

mod order;
mod product;

use axum::{Router, routing::get};

use crate::{App, resource};

/// The version of the store's tables that these views read.
pub const TABLES_VERSION: i32 = 2;

pub fn routes() -> Router<App> {
    Router::new()
        .route("/v1/orders/{id}", get(resource::get::<order::Orders>))
        .route("/v1/products/{id}", get(resource::get::<product::Products>))
}
