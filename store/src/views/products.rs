//! `GET /v1/products`: the catalog.

use highwater::list::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::projections::catalog::ProductRow;

const LONGEST_SEARCH: usize = 200;
/// Products that a search may find.
const MOST_FOUND: i64 = 5_000;
const LONGEST_DEPARTMENT: usize = 100;

pub struct Products {
    department: Option<String>,
    status: Option<&'static str>,
    /// Every word of it has to occur in name, brand or category, in any form that English gives it.
    q: Option<String>,
}

/// What the last row of a page is sorted by.
#[derive(Debug, Deserialize, Serialize)]
pub enum Sorted {
    Name(String),
    Price(i64),
}

type Key = (Sorted, Uuid);

impl List for Products {
    type Row = Item<ProductRow>;
    type Key = Key;

    const PROJECTION: &'static str = ProductRow::TABLE;
    const CATEGORY: &'static str = "product";
    const PUBLIC: Option<&'static str> = ProductRow::PUBLIC;
    const FILTERS: &'static [&'static str] = &["department", "status", "q"];
    const SORTS: &'static [&'static str] = &["name", "unit_price_minor", "-unit_price_minor"];
    const SERVED: &'static [Combination] = &[
        Combination { with: None, filters: &["department"], sorts: &["name"] },
        Combination { with: None, filters: &["status"], sorts: &["name"] },
        Combination { with: None, filters: &[], sorts: &["unit_price_minor", "-unit_price_minor"] },
        Combination { with: Some("q"), filters: &["department", "status"], sorts: &[] },
    ];
    const FIELDS: &'static [&'static str] = ProductRow::FIELDS;
    const BY_IDS: Option<SelectByIds> = Some(by_ids::<ProductRow>);

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        Ok(Self {
            department: given.text("department", LONGEST_DEPARTMENT)?,
            status: given.one_of("status", &["active", "discontinued"])?,
            q: given.text("q", LONGEST_SEARCH)?,
        })
    }

    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>) {
        match (&self.q, &self.department, self.status) {
            (Some(q), ..) => self.found(q, page, sql),
            (None, Some(department), _) => within("department", department, page, sql),
            (None, None, Some(status)) => within("status", status, page, sql),
            (None, None, None) => {
                sql.push("SELECT ")
                    .push(Item::<ProductRow>::columns())
                    .push(" FROM catalog WHERE true");
                continued(page, sql);
            }
        }
        sql.push(" LIMIT ").push_bind(page.rows());
    }

    /// What is found is sorted afterwards.
    fn crowd(&self, sql: &mut QueryBuilder<Postgres>) -> Option<(&'static str, i64)> {
        let q = self.q.as_ref()?;
        sql.push(
            "SELECT count(*) FROM (SELECT 1 FROM catalog WHERE search @@ \
                  plainto_tsquery('english', ",
        )
        .push_bind(q.clone());
        sql.push(") LIMIT ").push_bind(MOST_FOUND + 1).push(") found");
        Some(("q", MOST_FOUND))
    }

    fn key(&self, row: &Self::Row, sort: &str) -> Self::Key {
        let sorted = if sort == "name" {
            Sorted::Name(row.text("name").unwrap_or_default().to_owned())
        } else {
            Sorted::Price(row.integer("unit_price_minor").unwrap_or_default())
        };
        (sorted, row.id)
    }
}

impl Products {
    /// The search alone first: along an index of the sequence, what is found could lie last.
    fn found(&self, q: &str, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push(
            "WITH found AS MATERIALIZED (SELECT * FROM catalog WHERE search @@ \
                  plainto_tsquery('english', ",
        )
        .push_bind(q.to_owned());
        sql.push(")) SELECT ").push(Item::<ProductRow>::columns()).push(" FROM found WHERE true");
        if let Some(department) = &self.department {
            sql.push(" AND department = ").push_bind(department.clone());
        }
        if let Some(status) = self.status {
            sql.push(" AND status = ").push_bind(status);
        }
        continued(page, sql);
    }
}

/// After the last row, in the sequence of the page.
fn continued(page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
    if let Some((sorted, id)) = &page.after {
        match (sorted, page.sort) {
            (Sorted::Name(name), _) => {
                sql.push(" AND (name COLLATE \"C\", id) > (").push_bind(name.clone())
            }
            (Sorted::Price(price), "unit_price_minor") => {
                sql.push(" AND (unit_price_minor, id) > (").push_bind(*price)
            }
            (Sorted::Price(price), _) => {
                sql.push(" AND (unit_price_minor, id) < (").push_bind(*price)
            }
        };
        sql.push(", ").push_bind(*id).push(")");
    }
    sql.push(match page.sort {
        "unit_price_minor" => " ORDER BY unit_price_minor, id",
        "-unit_price_minor" => " ORDER BY unit_price_minor DESC, id DESC",
        _ => " ORDER BY name COLLATE \"C\", id",
    });
}

/// Whole rows are compared, and `column` is part of the sequence: so no plan but that along its own
/// index fits. With `=` a plan may go along all products by name and look for those with this
/// value, which may be the last ones.
fn within(column: &'static str, value: &str, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
    let (name, id) = match &page.after {
        Some((Sorted::Name(name), id)) => (name.as_str(), *id),
        _ => ("", Uuid::nil()),
    };
    sql.push("SELECT ").push(Item::<ProductRow>::columns());
    sql.push(format_args!(" FROM catalog WHERE ({column}, name COLLATE \"C\", id) > ("))
        .push_bind(value.to_owned());
    sql.push(", ").push_bind(name.to_owned()).push(", ").push_bind(id);
    sql.push(format_args!(") AND {column} <= ")).push_bind(value.to_owned());
    sql.push(format_args!(" ORDER BY {column}, name COLLATE \"C\", id"));
}
