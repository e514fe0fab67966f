//! The store as an application of the library.

use highwater::App;
use highwater_tables::migrations;
use sqlx::migrate::Migrator;

use crate::{Order, Product, Stock, audit, demo, projections, views};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// What every program of the store runs.
pub fn app() -> App {
    App::new("store")
        .aggregate::<Order>("orders")
        .aggregate::<Product>("products")
        .aggregate::<Stock>("stock")
        .projection(projections::orders::Orders)
        .projection(projections::sales_daily::SalesDaily)
        .projection(projections::catalog::Catalog)
        .projection(projections::stock_levels::StockLevels)
        .list::<views::orders::Orders>("/v1/orders")
        .resource::<views::order::Orders>("/v1/orders/{id}")
        .list::<views::products::Products>("/v1/products")
        .resource::<views::product::Products>("/v1/products/{id}")
        .list::<views::stocks::Stocks>("/v1/stock")
        .resource::<views::stock::Stock>("/v1/stock/{id}")
        .list::<views::sales::Sales>("/v1/sales")
        .migrations(&MIGRATIONS)
        .audited(audit::rules)
        .first_command(demo::first_command)
        .subcommand(demo::Demo)
}

/// The tables of the store's own projections.
pub fn tables() -> migrations::Application {
    migrations::Application { name: "store", migrations: &MIGRATIONS }
}
