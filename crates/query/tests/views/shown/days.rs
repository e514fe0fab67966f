//! `GET /v1/days`: how many vouchers there are of each day: one fixed sequence, of what is no
//! aggregate.

use highwater_http::problem::Problem;
use highwater_query::list::{List, Page, Parameters};
use serde::Serialize;
use sqlx::{FromRow, Postgres, QueryBuilder};

pub struct DayList {
    from: Option<String>,
}

#[derive(FromRow, Serialize)]
pub struct Day {
    day: String,
    vouchers: i64,
    worth_minor: i64,
}

impl List for DayList {
    type Row = Day;
    type Key = String;

    const PROJECTION: &'static str = "vouchers";
    const CATEGORY: &'static str = "voucher";
    const FILTERS: &'static [&'static str] = &["from"];
    const FIELDS: &'static [&'static str] = &["day", "vouchers", "worth_minor"];

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        Ok(Self { from: given.text("from", 10)? })
    }

    fn select(&self, page: &Page<String>, sql: &mut QueryBuilder<Postgres>) {
        sql.push(
            "SELECT day, count(*) AS vouchers, sum(worth_minor)::bigint AS worth_minor FROM \
             (SELECT to_char(issued_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') COLLATE \"C\" AS day, \
             worth_minor FROM vouchers) dated WHERE true",
        );
        if let Some(from) = &self.from {
            sql.push(" AND day >= ").push_bind(from.clone());
        }
        if let Some(after) = &page.after {
            sql.push(" AND day > ").push_bind(after.clone());
        }
        sql.push(" GROUP BY day ORDER BY day LIMIT ").push_bind(page.rows());
    }

    fn key(&self, row: &Day, _: &str) -> String {
        row.day.clone()
    }
}
