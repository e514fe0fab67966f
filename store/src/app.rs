//! The store as an application of the library.

use highwater::App;

use crate::{
    Order, Product, Stock, audit, demo,
    projections::{
        catalog::ProductRow, orders::OrderRow, sales_daily::SalesDaily, stock_levels::StockRow,
    },
    views,
};

/// What every program of the store runs.
pub fn app() -> App {
    App::new("store")
        .aggregate::<Order>("orders")
        .aggregate::<Product>("products")
        .aggregate::<Stock>("stock")
        .row::<OrderRow>()
        .projection(SalesDaily)
        .row::<ProductRow>()
        .row::<StockRow>()
        .list::<views::orders::Orders>("/v1/orders")
        .list::<views::products::Products>("/v1/products")
        .list::<views::stocks::Stocks>("/v1/stock")
        .list::<views::sales::Sales>("/v1/sales")
        .migrations(highwater::migrations!())
        .audited(audit::rules)
        .first_command(demo::first_command)
        .subcommand(demo::Demo)
}

#[cfg(test)]
mod tests;
