//! `GET /v1/stock`: what there is of every product, by id; of products of which less is available
//! than is asked for, by that.

use highwater::{
    Row as _,
    http::problem::Problem,
    query::{
        list::{List, Page, Parameters, Served},
        rows::Item,
    },
    sqlx::{Postgres, QueryBuilder},
};
use uuid::Uuid;

use crate::projections::stock_levels::StockRow;

pub struct Stocks {
    available_below: Option<i64>,
}

impl List for Stocks {
    type Row = Item<StockRow>;
    /// What is available, where that is what the rows are sorted by.
    type Key = (Option<i64>, Uuid);

    const PROJECTION: &'static str = StockRow::TABLE;
    const CATEGORY: &'static str = "stock";
    const PUBLIC: Option<&'static str> = StockRow::PUBLIC;
    const FILTERS: &'static [&'static str] = &["available_below"];
    const SORTS: &'static [&'static str] = &[];
    const SERVED: &'static [Served] = &[];
    const FIELDS: &'static [&'static str] = StockRow::FIELDS;

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        Ok(Self { available_below: given.integer("available_below", 0, highwater::value::MAX)? })
    }

    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("SELECT ").push(Self::Row::columns()).push(" FROM stock_levels WHERE true");
        match self.available_below {
            Some(below) => {
                sql.push(" AND available < ").push_bind(below);
                if let Some((available, id)) = page.after {
                    sql.push(" AND (available, id) > (")
                        .push_bind(available)
                        .push(", ")
                        .push_bind(id)
                        .push(")");
                }
                sql.push(" ORDER BY available, id");
            }
            None => {
                if let Some((_, id)) = page.after {
                    sql.push(" AND id > ").push_bind(id);
                }
                sql.push(" ORDER BY id");
            }
        }
        sql.push(" LIMIT ").push_bind(page.rows());
    }

    fn key(&self, row: &Self::Row, _: &str) -> Self::Key {
        (self.available_below.and_then(|_| row.integer("available")), row.id)
    }
}
