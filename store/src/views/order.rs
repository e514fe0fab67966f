//! `GET /v1/orders/{id}`.

use futures_util::future::BoxFuture;
use highwater_protocol::time::Micros;
use highwater_tables::postgres::Connections;
use serde::Serialize;
use uuid::Uuid;

use highwater_query::{
    database::GENERATION,
    resource::{Found, Row, View},
};

pub struct Orders;

#[derive(Serialize)]
pub struct Body {
    id: Uuid,
    version: i64,
    status: String,
    customer_id: Uuid,
    currency: String,
    placed_at: String,
    units: i64,
    total_minor: i64,
    lines: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier: Option<String>,
}

impl View for Orders {
    type Body = Body;

    const PROJECTION: &'static str = "orders";
    const CATEGORY: &'static str = "order";
    const PUBLIC: Option<&'static str> = None;
    const FIELDS: &'static [&'static str] = &[
        "id",
        "version",
        "status",
        "customer_id",
        "currency",
        "placed_at",
        "units",
        "total_minor",
        "lines",
        "reason",
        "carrier",
    ];

    fn load(
        pool: &Connections,
        id: Uuid,
        partition: i32,
    ) -> BoxFuture<'_, Result<Found<Body>, sqlx::Error>> {
        Box::pin(load(pool, id, partition))
    }
}

async fn load(pool: &Connections, id: Uuid, partition: i32) -> Result<Found<Body>, sqlx::Error> {
    let found = sqlx::query!(
        r#"SELECT coalesce(c.next_offset, 0) AS "next_offset!", o.version AS "version?", o.status AS "status?",
                  o.customer_id AS "customer_id?", o.currency AS "currency?", o.placed_at AS "placed_at?", o.units AS "units?",
                  o.total_minor AS "total_minor?", o.lines AS "lines?", o.reason AS "reason?", o.carrier AS "carrier?"
           FROM (SELECT $1::uuid AS id) asked
           LEFT JOIN checkpoints c ON (c.projection, c.generation, c.category, c.partition) = ($2, $3, $4, $5)
           LEFT JOIN orders o ON o.id = asked.id"#,
        id,
        Orders::PROJECTION,
        GENERATION,
        Orders::CATEGORY,
        partition,
    )
    .fetch_one(&mut *pool.acquire().await?)
    .await?;
    let body = || {
        Some(Body {
            id,
            version: found.version?,
            status: found.status?,
            customer_id: found.customer_id?,
            currency: found.currency?,
            placed_at: Micros(found.placed_at?.timestamp_micros()).to_text(),
            units: found.units?,
            total_minor: found.total_minor?,
            lines: found.lines?,
            reason: found.reason,
            carrier: found.carrier,
        })
    };
    let row = body().map(|body| Row { version: body.version, body });
    Ok(Found { offset: found.next_offset, row })
}
