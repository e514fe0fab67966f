//! `GET /v1/sales`: what was sold, by day of `placed_at` in UTC and by department; cancelled orders
//! are taken back on the same day. The sums of the partitions are added up here. Rows in which
//! nothing is left are not shown.

use chrono::NaiveDate;
use highwater::list::*;
use serde::{Serialize, Serializer};
use sqlx::FromRow;

/// Days that one page adds up, over all its departments.
const MOST_DAYS: i64 = 20_000;
const LONGEST_DEPARTMENT: usize = 100;
/// The sums of one row of the answer.
const SUMS: &str =
    "sum(orders)::bigint AS orders, sum(lines)::bigint AS lines, sum(units)::text AS units,
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
    const FILTERS: &'static [&'static str] = &["from", "to", "department", "group"];
    const FIELDS: &'static [&'static str] =
        &["day", "department", "orders", "lines", "units", "total_minor"];

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        let form = "a day (2026-11-22)";
        let day = |text: &str| {
            text.parse().ok().filter(|day: &NaiveDate| day.to_string() == text && text.len() == 10)
        };
        let sales = Self {
            from: given.parsed("from", form, day)?,
            to: given.parsed("to", form, day)?,
            department: given.text("department", LONGEST_DEPARTMENT)?,
            group: match given.one_of("group", &["day", "department"])? {
                None => Group::DayAndDepartment,
                Some("day") => Group::Day,
                Some(_) => Group::Department,
            },
        };
        sales.check_days(given)?;
        Ok(sales)
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
    /// A department's row adds up all its days, so those of a page are bounded.
    fn check_days(&self, given: &Parameters) -> Result<(), Problem> {
        if self.group != Group::Department {
            return Ok(());
        }
        let departments = if self.department.is_some() {
            1
        } else {
            given.integer("limit", 1, LARGEST_LIMIT)?.unwrap_or(DEFAULT_LIMIT)
        };
        let most = MOST_DAYS / departments;
        let days =
            self.from.zip(self.to).map(|(from, to)| to.signed_duration_since(from).num_days() + 1);
        if days.is_some_and(|days| days <= most) {
            return Ok(());
        }
        let detail = format!(
            "department needs from and to, at most {most} days from the one to the other for \
             {departments} rows"
        );
        Err(Problem::bad_parameter("group", detail))
    }

    fn by_day_and_department(&self, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("SELECT day, department, ").push(SUMS).push(" FROM sales_daily WHERE ");
        match &self.department {
            Some(department) => sql.push("department = ").push_bind(department.clone()),
            None => sql.push("department <> ''"),
        };
        self.within(sql);
        if let Some((day, department)) = &page.after {
            sql.push(" AND (day, department) > (")
                .push_bind(*day)
                .push(", ")
                .push_bind(department.clone())
                .push(")");
        }
        sql.push(" GROUP BY day, department HAVING sum(orders) <> 0 ORDER BY day, department");
    }

    /// The rows of whole days, or those of one department.
    fn by_day(&self, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("SELECT day, NULL::text AS department, ")
            .push(SUMS)
            .push(" FROM sales_daily WHERE department = ");
        sql.push_bind(self.department.clone().unwrap_or_default());
        self.within(sql);
        if let Some((day, _)) = &page.after {
            sql.push(" AND day > ").push_bind(*day);
        }
        sql.push(" GROUP BY day HAVING sum(orders) <> 0 ORDER BY day");
    }

    /// One row, or none.
    fn one_department(&self, department: &str, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("SELECT NULL::date AS day, ")
            .push_bind(department.to_owned())
            .push("::text AS department, ")
            .push(SUMS);
        sql.push(" FROM sales_daily WHERE department = ").push_bind(department.to_owned());
        self.within(sql);
        if let Some((_, after)) = &page.after {
            sql.push(" AND department > ").push_bind(after.clone());
        }
        sql.push(" HAVING sum(orders) <> 0");
    }

    /// Goes from one department to the next along the index, until the page is full: it adds up
    /// only what it shows.
    fn by_department(&self, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        let after =
            page.after.as_ref().and_then(|(_, department)| department.clone()).unwrap_or_default();
        sql.push(
            "WITH RECURSIVE known AS (SELECT next.department, added.*, CASE WHEN added.orders \
                  <> 0 THEN 1 ELSE 0 END AS shown",
        );
        sql.push(" FROM (SELECT department FROM sales_daily WHERE department > ").push_bind(after);
        sql.push(" ORDER BY department LIMIT 1) next");
        self.sums_of_next(sql);
        sql.push(
            " UNION ALL SELECT next.department, added.*, known.shown + CASE WHEN added.orders <> 0 \
             THEN 1 ELSE 0 END FROM known
             CROSS JOIN LATERAL (SELECT s.department FROM sales_daily s WHERE s.department > \
             known.department
                                 ORDER BY s.department LIMIT 1) next",
        );
        self.sums_of_next(sql);
        sql.push(" WHERE known.shown < ").push_bind(page.rows());
        sql.push(
            ") SELECT NULL::date AS day, department, orders, lines, units, total_minor FROM known \
             WHERE orders <> 0 ORDER BY department",
        );
    }

    fn sums_of_next(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push(" CROSS JOIN LATERAL (SELECT ")
            .push(SUMS)
            .push(" FROM sales_daily WHERE department = next.department");
        self.within(sql);
        sql.push(") added");
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
