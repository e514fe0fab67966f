//! `GET /v1/orders`: orders without their lines.

use chrono::{DateTime, Utc};
use highwater::{Timestamp, list::*};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

const STATUSES: [&str; 6] =
    ["placed", "confirmed", "shipped", "delivered", "returned", "cancelled"];

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

const SELECT: &str = "SELECT id, version, status, customer_id, currency, placed_at, units, \
                      total_minor, reason, carrier FROM orders WHERE ";

impl List for Orders {
    type Row = Row;
    /// The total, or the microseconds of `placed_at`.
    type Key = Key;

    const PROJECTION: &'static str = "orders";
    const CATEGORY: &'static str = "order";
    const PUBLIC: Option<&'static str> = None;
    const FILTERS: &'static [&'static str] = &["customer_id", "status", "placed_from", "placed_to"];
    const SORTS: &'static [&'static str] = &["-placed_at", "placed_at", "-total_minor"];
    const SERVED: &'static [Combination] = &[
        Combination {
            with: None,
            filters: &["customer_id", "placed_from", "placed_to"],
            sorts: &["-placed_at", "placed_at"],
        },
        Combination {
            with: None,
            filters: &["status", "placed_from", "placed_to"],
            sorts: &["-placed_at", "placed_at"],
        },
        Combination { with: None, filters: &[], sorts: &["-total_minor"] },
    ];
    const FIELDS: &'static [&'static str] = &[
        "id",
        "version",
        "status",
        "customer_id",
        "currency",
        "placed_at",
        "units",
        "total_minor",
        "reason",
        "carrier",
    ];
    const BY_IDS: Option<SelectByIds> = Some(|ids, sql| {
        sql.push(SELECT).push("id = ANY(").push_bind(ids.to_vec()).push(") ORDER BY id");
    });

    fn filtered(given: &Parameters) -> Result<Self, Problem> {
        let form = "a time as RFC 3339 in UTC (2026-11-22T21:34:24Z)";
        let time =
            |text: &str| DateTime::from_timestamp_micros(Timestamp::try_from(text).ok()?.micros());
        Ok(Self {
            customer_id: given.id("customer_id")?,
            status: given.one_of("status", &STATUSES)?,
            placed_from: given.parsed("placed_from", form, time)?,
            placed_to: given.parsed("placed_to", form, time)?,
        })
    }

    fn select(&self, page: &Page<Self::Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push(SELECT);
        let lead = match (self.customer_id, self.status) {
            (Some(customer), _) => Some(Lead::Customer(customer)),
            (None, status) => status.map(Lead::Status),
        };
        match (lead, page.sort) {
            (_, "-total_minor") => self.by_total(page, sql),
            (Some(lead), _) => self.by_placed_at_within(lead, page, sql),
            (None, _) => self.by_placed_at(page, sql),
        }
        sql.push(" LIMIT ").push_bind(page.rows());
    }

    fn key(&self, row: &Row, sort: &str) -> Self::Key {
        (
            if sort == "-total_minor" { row.total_minor } else { row.placed_at.timestamp_micros() },
            row.id,
        )
    }
}

/// What an index begins with.
#[derive(Clone, Copy)]
enum Lead {
    Customer(Uuid),
    Status(&'static str),
}

type Key = (i64, Uuid);

impl Orders {
    fn by_total(&self, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("true");
        if let Some((total, id)) = page.after {
            sql.push(" AND (total_minor, id) < (")
                .push_bind(total)
                .push(", ")
                .push_bind(id)
                .push(")");
        }
        sql.push(" ORDER BY total_minor DESC, id DESC");
    }

    fn by_placed_at(&self, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        sql.push("true");
        if let Some(from) = self.placed_from {
            sql.push(" AND placed_at >= ").push_bind(from);
        }
        if let Some(to) = self.placed_to {
            sql.push(" AND placed_at < ").push_bind(to);
        }
        if let Some((micros, id)) = page.after {
            sql.push(if is_ascending(page) {
                " AND (placed_at, id) > ("
            } else {
                " AND (placed_at, id) < ("
            });
            sql.push_bind(time_of(micros)).push(", ").push_bind(id).push(")");
        }
        sql.push(if is_ascending(page) {
            " ORDER BY placed_at, id"
        } else {
            " ORDER BY placed_at DESC, id DESC"
        });
    }

    /// Whole rows are compared, and the lead is part of the sequence: so no plan but that along its
    /// own index fits. With `=` a plan may go along all orders by time and look for those of the
    /// lead, which may be the last ones.
    fn by_placed_at_within(&self, lead: Lead, page: &Page<Key>, sql: &mut QueryBuilder<Postgres>) {
        let column = match lead {
            Lead::Customer(_) => "customer_id",
            Lead::Status(_) => "status",
        };
        let after = page.after.map(|(micros, id)| (Some(time_of(micros)), id));
        let (from, to) = ((self.placed_from, Uuid::nil()), (self.placed_to, Uuid::nil()));
        for (sign, bound, open) in [
            (">=", Some(from), "-infinity"),
            ("<", Some(to), "infinity"),
            (is_after(page), after, ""),
        ] {
            let Some((at, id)) = bound else { continue };
            sql.push(if sign == ">=" { "" } else { " AND " });
            sql.push(format_args!("({column}, placed_at, id) {sign} ("));
            match lead {
                Lead::Customer(customer) => sql.push_bind(customer),
                Lead::Status(status) => sql.push_bind(status),
            };
            match at {
                Some(at) => sql.push(", ").push_bind(at),
                None => sql.push(format_args!(", '{open}'")),
            };
            sql.push(", ").push_bind(id).push(")");
        }
        let direction = if is_ascending(page) { "" } else { " DESC" };
        sql.push(format_args!(
            " ORDER BY {column}{direction}, placed_at{direction}, id{direction}"
        ));
    }
}

fn is_ascending(page: &Page<Key>) -> bool {
    page.sort == "placed_at"
}

fn is_after(page: &Page<Key>) -> &'static str {
    if is_ascending(page) { ">" } else { "<" }
}

fn time_of(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}
