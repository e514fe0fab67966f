//! `GET /v1/products`: the catalog.

use serde::{Deserialize, Serialize};
use service::problem::Problem;
use sqlx::{FromRow, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::{
    list::{List, Page, Parameters},
    resource::View,
};

const LONGEST_SEARCH: usize = 200;
const LONGEST_DEPARTMENT: usize = 100;

pub struct Products {
    department: Option<String>,
    status: Option<&'static str>,
    /// Every word of it has to occur in name, brand or category, in any form that English gives it.
    q: Option<String>,
}

#[derive(Debug, FromRow, Serialize)]
pub struct Row {
    id: Uuid,
    version: i64,
    status: String,
    name: String,
    department: String,
    unit_price_minor: i64,
    currency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    brand: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_size: Option<String>,
}

/// What the last row of a page is sorted by.
#[derive(Debug, Deserialize, Serialize)]
pub enum Sorted {
    Name(String),
    Price(i64),
}

impl List for Products {
    type Row = Row;
    type Key = (Sorted, Uuid);

    const PROJECTION: &'static str = super::product::Products::PROJECTION;
    const CATEGORY: &'static str = super::product::Products::CATEGORY;
    const PUBLIC: Option<&'static str> = super::product::Products::PUBLIC;
    const FILTERS: &'static [&'static str] = &["department", "status", "q"];
    const SORTS: &'static [&'static str] = &["name", "unit_price_minor", "-unit_price_minor"];
    const FIELDS: &'static [&'static str] = &[
        "id",
        "version",
        "status",
        "name",
        "department",
        "unit_price_minor",
        "currency",
        "brand",
        "category",
        "description",
        "package_size",
    ];

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        Ok(Self {
            department: given.text("department", LONGEST_DEPARTMENT)?,
            status: given.one_of("status", &["active", "discontinued"])?,
            q: given.text("q", LONGEST_SEARCH)?,
        })
    }

    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push(
            "SELECT id, version, status, name, department, unit_price_minor, currency, brand, category, description, package_size
             FROM catalog WHERE true",
        );
        if let Some(department) = &self.department {
            sql.push(" AND department = ").push_bind(department.clone());
        }
        if let Some(status) = self.status {
            sql.push(" AND status = ").push_bind(status);
        }
        if let Some(q) = &self.q {
            sql.push(" AND search @@ plainto_tsquery('english', ").push_bind(q.clone()).push(")");
        }
        if let Some((sorted, id)) = &page.after {
            match (sorted, page.sort) {
                (Sorted::Name(name), _) => sql.push(" AND (name COLLATE \"C\", id) > (").push_bind(name.clone()),
                (Sorted::Price(price), "unit_price_minor") => sql.push(" AND (unit_price_minor, id) > (").push_bind(*price),
                (Sorted::Price(price), _) => sql.push(" AND (unit_price_minor, id) < (").push_bind(*price),
            };
            sql.push(", ").push_bind(*id).push(")");
        }
        sql.push(match page.sort {
            "unit_price_minor" => " ORDER BY unit_price_minor, id",
            "-unit_price_minor" => " ORDER BY unit_price_minor DESC, id DESC",
            _ => " ORDER BY name COLLATE \"C\", id",
        });
        sql.push(" LIMIT ").push_bind(page.rows());
    }

    fn key(&self, row: &Row, sort: &str) -> Self::Key {
        let sorted = if sort == "name" { Sorted::Name(row.name.clone()) } else { Sorted::Price(row.unit_price_minor) };
        (sorted, row.id)
    }
}
