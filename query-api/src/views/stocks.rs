//! `GET /v1/stock`: what there is of every product, by id.

use serde::Serialize;
use service::problem::Problem;
use sqlx::{FromRow, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::{
    list::{List, Page, Parameters},
    resource::View,
};

pub struct Stocks {
    available_below: Option<i64>,
}

#[derive(Debug, FromRow, Serialize)]
pub struct Row {
    id: Uuid,
    version: i64,
    on_hand: i64,
    reserved: i64,
    available: i64,
}

impl List for Stocks {
    type Row = Row;
    type Key = Uuid;

    const PROJECTION: &'static str = super::stock::Stock::PROJECTION;
    const CATEGORY: &'static str = super::stock::Stock::CATEGORY;
    const PUBLIC: Option<&'static str> = super::stock::Stock::PUBLIC;
    const FILTERS: &'static [&'static str] = &["available_below"];
    const SORTS: &'static [&'static str] = &[];
    const FIELDS: &'static [&'static str] = &["id", "version", "on_hand", "reserved", "available"];

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        Ok(Self { available_below: given.integer("available_below", 0, events::number::MAX)? })
    }

    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("SELECT id, version, on_hand, reserved, available FROM stock_levels WHERE true");
        if let Some(below) = self.available_below {
            sql.push(" AND available < ").push_bind(below);
        }
        if let Some(id) = page.after {
            sql.push(" AND id > ").push_bind(id);
        }
        sql.push(" ORDER BY id LIMIT ").push_bind(page.rows());
    }

    fn key(&self, row: &Row, _: &str) -> Self::Key {
        row.id
    }
}
