//! `GET /v1/stock`: what there is of every product, by id; of products of which less is available
//! than is asked for, by that.

use highwater::list::*;
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
    const FIELDS: &'static [&'static str] = StockRow::FIELDS;
    const BY_IDS: Option<SelectByIds> = Some(by_ids::<StockRow>);

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        Ok(Self { available_below: given.integer("available_below", 0, highwater::value::MAX)? })
    }

    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("SELECT ").push(Self::Row::columns()).push(" FROM stock_levels WHERE true");
        if let Some(below) = self.available_below {
            sql.push(" AND available < ").push_bind(below);
        }
        match page.after {
            Some((Some(available), id)) => {
                sql.push(" AND (available, id) > (").push_bind(available);
                sql.push(", ").push_bind(id).push(")")
            }
            Some((None, id)) => sql.push(" AND id > ").push_bind(id),
            None => sql,
        };
        sql.push(if self.available_below.is_some() {
            " ORDER BY available, id"
        } else {
            " ORDER BY id"
        });
        sql.push(" LIMIT ").push_bind(page.rows());
    }

    fn key(&self, row: &Self::Row, _: &str) -> Self::Key {
        (self.available_below.and_then(|_| row.integer("available")), row.id)
    }
}
