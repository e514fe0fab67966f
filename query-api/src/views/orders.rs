//! `GET /v1/orders`: orders without their lines.

use chrono::{DateTime, Utc};
use events::timestamp::Timestamp;
use serde::Serialize;
use service::problem::Problem;
use sqlx::{FromRow, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::list::{List, Page, Parameters};

const STATUSES: [&str; 6] = ["placed", "confirmed", "shipped", "delivered", "returned", "cancelled"];

pub struct Orders {
    customer_id: Option<Uuid>,
    status: Option<&'static str>,
    /// Included.
    placed_from: Option<DateTime<Utc>>,
    /// Not included, so that windows that follow each other neither miss nor repeat an order.
    placed_to: Option<DateTime<Utc>>,
}

#[derive(Debug, FromRow, Serialize)]
pub struct Row {
    id: Uuid,
    version: i64,
    status: String,
    customer_id: Uuid,
    currency: String,
    #[serde(serialize_with = "super::as_text")]
    placed_at: DateTime<Utc>,
    units: i64,
    total_minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier: Option<String>,
}

impl List for Orders {
    type Row = Row;
    /// The total, or the microseconds of `placed_at`.
    type Key = (i64, Uuid);

    const PROJECTION: &'static str = "orders";
    const CATEGORY: &'static str = "order";
    const PUBLIC: Option<&'static str> = None;
    const FILTERS: &'static [&'static str] = &["customer_id", "status", "placed_from", "placed_to"];
    const SORTS: &'static [&'static str] = &["-placed_at", "placed_at", "-total_minor"];
    const FIELDS: &'static [&'static str] =
        &["id", "version", "status", "customer_id", "currency", "placed_at", "units", "total_minor", "reason", "carrier"];

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        let form = "a time as RFC 3339 in UTC (2026-11-22T21:34:24Z)";
        let time = |text: &str| DateTime::from_timestamp_micros(Timestamp::try_from(text).ok()?.micros());
        Ok(Self {
            customer_id: given.id("customer_id")?,
            status: given.one_of("status", &STATUSES)?,
            placed_from: given.parsed("placed_from", form, time)?,
            placed_to: given.parsed("placed_to", form, time)?,
        })
    }

    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push(
            "SELECT id, version, status, customer_id, currency, placed_at, units, total_minor, reason, carrier FROM orders WHERE true",
        );
        if let Some(customer) = self.customer_id {
            sql.push(" AND customer_id = ").push_bind(customer);
        }
        if let Some(status) = self.status {
            sql.push(" AND status = ").push_bind(status);
        }
        if let Some(from) = self.placed_from {
            sql.push(" AND placed_at >= ").push_bind(from);
        }
        if let Some(to) = self.placed_to {
            sql.push(" AND placed_at < ").push_bind(to);
        }
        if let Some((value, id)) = page.after {
            match page.sort {
                "-total_minor" => sql.push(" AND (total_minor, id) < (").push_bind(value),
                "placed_at" => sql.push(" AND (placed_at, id) > (").push_bind(time_of(value)),
                _ => sql.push(" AND (placed_at, id) < (").push_bind(time_of(value)),
            };
            sql.push(", ").push_bind(id).push(")");
        }
        sql.push(match page.sort {
            "-total_minor" => " ORDER BY total_minor DESC, id DESC",
            "placed_at" => " ORDER BY placed_at, id",
            _ => " ORDER BY placed_at DESC, id DESC",
        });
        sql.push(" LIMIT ").push_bind(page.rows());
    }

    fn key(&self, row: &Row, sort: &str) -> Self::Key {
        (if sort == "-total_minor" { row.total_minor } else { row.placed_at.timestamp_micros() }, row.id)
    }
}

fn time_of(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}
