//! `orders`: one row an order, with its lines.

use chrono::{DateTime, Utc};
use events::order::{Lines, OrderEvent, Placed};
use futures_util::future::BoxFuture;
use highwater::Event as _;
use highwater_protocol::{domain::Unreadable, entry::EventBody, wire::Wire};
use serde_json::{Value, json};
use uuid::Uuid;

use highwater_projection::{
    rows::{self, Row},
    runner::{Failure, PostgresTx, Projection, Slice},
};

pub struct Orders;

#[derive(Clone, Debug, PartialEq)]
struct Order {
    id: Uuid,
    partition: i32,
    version: i64,
    status: String,
    customer_id: Uuid,
    currency: String,
    placed_at: DateTime<Utc>,
    units: i64,
    total_minor: i64,
    lines: Value,
    reason: Option<String>,
    carrier: Option<String>,
}

impl Projection<PostgresTx> for Orders {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn categories(&self) -> &[&'static str] {
        &["order"]
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let stored = load(tx, &rows::touched(slices)).await?;
            store(tx, rows::collapse(stored, slices)?).await
        })
    }
}

impl Row for Order {
    fn id(&self) -> Uuid {
        self.id
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn evolve(
        row: Option<Self>,
        event: &EventBody<Wire>,
        version: i64,
        partition: i32,
    ) -> Result<Self, Unreadable> {
        let id = event.origin.aggregate;
        let row = match (row, OrderEvent::decode(&event.event)?) {
            (None, OrderEvent::Placed(placed)) => {
                return Self::placed(id, version, partition, &placed);
            }
            (Some(row), OrderEvent::Confirmed(_)) => row.with_status("confirmed"),
            (Some(row), OrderEvent::Cancelled(event)) => {
                Self { reason: Some(event.reason.to_string()), ..row.with_status("cancelled") }
            }
            (Some(row), OrderEvent::Shipped(event)) => Self {
                carrier: event.carrier.map(|carrier| carrier.to_string()),
                ..row.with_status("shipped")
            },
            (Some(row), OrderEvent::Delivered(_)) => row.with_status("delivered"),
            (Some(row), OrderEvent::Returned(event)) => {
                Self { reason: Some(event.reason.to_string()), ..row.with_status("returned") }
            }
            (None, _) | (Some(_), OrderEvent::Placed(_)) => {
                let why = format!("cannot be event {version} of an order");
                return Err(Unreadable::Malformed { what: event.event.schema.to_string(), why });
            }
        };
        Ok(Self { version, ..row })
    }
}

impl Order {
    fn placed(id: Uuid, version: i64, partition: i32, event: &Placed) -> Result<Self, Unreadable> {
        let placed_at = DateTime::from_timestamp_micros(event.placed_at.micros());
        Ok(Self {
            id,
            partition,
            version,
            status: "placed".to_owned(),
            customer_id: event.customer_id.uuid(),
            currency: event.currency.to_string(),
            placed_at: placed_at.ok_or_else(|| Unreadable::Malformed {
                what: "placed_at".to_owned(),
                why: "is no time".to_owned(),
            })?,
            units: event.units.get(),
            total_minor: event.total_minor.get(),
            lines: lines(&event.lines),
            reason: None,
            carrier: None,
        })
    }

    fn with_status(self, status: &str) -> Self {
        Self { status: status.to_owned(), ..self }
    }
}

fn lines(lines: &Lines) -> Value {
    let line = |line: &events::order::Line| {
        json!({
            "product_id": line.product_id.uuid(),
            "department": &*line.department,
            "quantity": line.quantity.get(),
            "unit_price_minor": line.unit_price_minor.get(),
        })
    };
    lines.iter().map(line).collect()
}

async fn load(tx: &mut PostgresTx, ids: &[Uuid]) -> Result<Vec<Order>, Failure> {
    let rows = sqlx::query_as!(
        Order,
        "SELECT id, partition, version, status, customer_id, currency, placed_at, units, \
         total_minor, lines, reason, carrier
         FROM orders WHERE id = ANY($1)",
        ids,
    );
    Ok(rows.fetch_all(&mut **tx).await?)
}

async fn store(tx: &mut PostgresTx, rows: Vec<Order>) -> Result<(), Failure> {
    sqlx::query!(
        "INSERT INTO orders (id, partition, version, status, customer_id, currency, placed_at, \
         units, total_minor, lines, reason, carrier)
         SELECT * FROM UNNEST($1::uuid[], $2::int[], $3::bigint[], $4::text[], $5::uuid[], \
         $6::text[], $7::timestamptz[], $8::bigint[],
                              $9::bigint[], $10::jsonb[], $11::text[], $12::text[])
         ON CONFLICT (id) DO UPDATE
         SET version = excluded.version, status = excluded.status, reason = excluded.reason, \
         carrier = excluded.carrier
         WHERE orders.version < excluded.version",
        &rows.iter().map(|row| row.id).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.partition).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.version).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.status.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.customer_id).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.currency.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.placed_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.units).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.total_minor).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.lines.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.reason.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.into_iter().map(|row| row.carrier).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
