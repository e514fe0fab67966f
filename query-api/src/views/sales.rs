//! `GET /v1/sales`: what was sold, by day of `placed_at` in UTC and by department; cancelled orders are taken back on the same day.
//! The sums of the partitions are added up here. Rows in which nothing is left are not shown.

use chrono::NaiveDate;
use serde::{Serialize, Serializer};
use service::problem::Problem;
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::list::{List, Page, Parameters};

const LONGEST_DEPARTMENT: usize = 100;
/// The sums of one row of the answer.
const SUMS: &str = "sum(orders)::bigint AS orders, sum(lines)::bigint AS lines, sum(units)::text AS units,
                    sum(total_minor)::text AS total_minor";

pub struct Sales {
    /// Both are included.
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    department: Option<String>,
    group: Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    DayAndDepartment,
    /// Each order counts once.
    Day,
    Department,
}

#[derive(Debug, FromRow, Serialize)]
pub struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<NaiveDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    department: Option<String>,
    orders: i64,
    lines: i64,
    #[sqlx(try_from = "String")]
    units: Sum,
    #[sqlx(try_from = "String")]
    total_minor: Sum,
}

/// Any number of orders fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum(i128);

impl TryFrom<String> for Sum {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i128(self.0)
    }
}

impl List for Sales {
    type Row = Row;
    type Key = (Option<NaiveDate>, Option<String>);

    const PROJECTION: &'static str = "sales_daily";
    const CATEGORY: &'static str = "order";
    const PUBLIC: Option<&'static str> = None;
    const FILTERS: &'static [&'static str] = &["from", "to", "department", "group"];
    const SORTS: &'static [&'static str] = &[];
    const FIELDS: &'static [&'static str] = &["day", "department", "orders", "lines", "units", "total_minor"];

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        let form = "a day (2026-11-22)";
        let day = |text: &str| text.parse().ok().filter(|day: &NaiveDate| day.to_string() == text && text.len() == 10);
        Ok(Self {
            from: given.parsed("from", form, day)?,
            to: given.parsed("to", form, day)?,
            department: given.text("department", LONGEST_DEPARTMENT)?,
            group: match given.one_of("group", &["day", "department"])? {
                None => Group::DayAndDepartment,
                Some("day") => Group::Day,
                Some(_) => Group::Department,
            },
        })
    }

    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>) {
        match (self.group, &self.department) {
            (Group::DayAndDepartment, _) => self.by_day_and_department(page, sql),
            (Group::Day, _) => self.by_day(page, sql),
            (Group::Department, Some(department)) => self.one_department(department, page, sql),
            (Group::Department, None) => self.by_department(page, sql),
        }
        sql.push(" LIMIT ").push_bind(page.rows());
    }

    fn key(&self, row: &Row, _: &str) -> Self::Key {
        (row.day, row.department.clone())
    }
}

type Key = (Option<NaiveDate>, Option<String>);

impl Sales {
    fn by_day_and_department(&self, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("SELECT day, department, ").push(SUMS).push(" FROM sales_daily WHERE ");
        match &self.department {
            Some(department) => sql.push("department = ").push_bind(department.clone()),
            None => sql.push("department <> ''"),
        };
        self.within(sql);
        if let Some((day, department)) = &page.after {
            sql.push(" AND (day, department) > (").push_bind(*day).push(", ").push_bind(department.clone()).push(")");
        }
        sql.push(" GROUP BY day, department HAVING sum(orders) <> 0 ORDER BY day, department");
    }

    /// The rows of whole days, or those of one department.
    fn by_day(&self, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("SELECT day, NULL::text AS department, ").push(SUMS).push(" FROM sales_daily WHERE department = ");
        sql.push_bind(self.department.clone().unwrap_or_default());
        self.within(sql);
        if let Some((day, _)) = &page.after {
            sql.push(" AND day > ").push_bind(*day);
        }
        sql.push(" GROUP BY day HAVING sum(orders) <> 0 ORDER BY day");
    }

    /// One row, or none.
    fn one_department(&self, department: &str, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("SELECT NULL::date AS day, ").push_bind(department.to_owned()).push("::text AS department, ").push(SUMS);
        sql.push(" FROM sales_daily WHERE department = ").push_bind(department.to_owned());
        self.within(sql);
        if let Some((_, after)) = &page.after {
            sql.push(" AND department > ").push_bind(after.clone());
        }
        sql.push(" HAVING sum(orders) <> 0");
    }

    /// Goes from one department to the next along the index, so that a page adds up only what it shows.
    fn by_department(&self, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        let after = page.after.as_ref().and_then(|(_, department)| department.clone()).unwrap_or_default();
        sql.push("WITH RECURSIVE known AS ((SELECT department FROM sales_daily WHERE department > ").push_bind(after);
        sql.push(
            " ORDER BY department LIMIT 1) UNION ALL
             SELECT (SELECT s.department FROM sales_daily s WHERE s.department > k.department ORDER BY s.department LIMIT 1)
             FROM known k WHERE k.department IS NOT NULL)
             SELECT NULL::date AS day, known.department, added.* FROM known CROSS JOIN LATERAL (SELECT ",
        );
        sql.push(SUMS).push(" FROM sales_daily WHERE department = known.department");
        self.within(sql);
        // Rows come in the sequence in which the recursion finds departments.
        sql.push(") added WHERE known.department IS NOT NULL AND added.orders <> 0");
    }

    fn within(&self, sql: &mut QueryBuilder<Postgres>) {
        if let Some(from) = self.from {
            sql.push(" AND day >= ").push_bind(from);
        }
        if let Some(to) = self.to {
            sql.push(" AND day <= ").push_bind(to);
        }
    }
}
