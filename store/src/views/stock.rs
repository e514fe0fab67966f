//! `GET /v1/stock/{product id}`.

use futures_util::future::BoxFuture;
use highwater_tables::postgres::Connections;
use serde::Serialize;
use uuid::Uuid;

use highwater_query::{
    database::GENERATION,
    list::List,
    resource::{Found, Row, View},
};

pub struct Stock;

#[derive(Serialize)]
pub struct Body {
    /// Of the product.
    id: Uuid,
    version: i64,
    on_hand: i64,
    reserved: i64,
    available: i64,
}

impl View for Stock {
    type Body = Body;

    const PROJECTION: &'static str = "stock_levels";
    const CATEGORY: &'static str = "stock";
    const PUBLIC: Option<&'static str> = None;
    const FIELDS: &'static [&'static str] = <super::stocks::Stocks as List>::FIELDS;

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
        r#"SELECT coalesce(c.next_offset, 0) AS "next_offset!", s.version AS "version?", s.on_hand AS "on_hand?",
                  s.reserved AS "reserved?", s.available AS "available?"
           FROM (SELECT $1::uuid AS id) asked
           LEFT JOIN checkpoints c ON (c.projection, c.generation, c.category, c.partition) = ($2, $3, $4, $5)
           LEFT JOIN stock_levels s ON s.id = asked.id"#,
        id,
        Stock::PROJECTION,
        GENERATION,
        Stock::CATEGORY,
        partition,
    )
    .fetch_one(&mut *pool.acquire().await?)
    .await?;
    let body = || {
        Some(Body {
            id,
            version: found.version?,
            on_hand: found.on_hand?,
            reserved: found.reserved?,
            available: found.available?,
        })
    };
    let row = body().map(|body| Row { version: body.version, body });
    Ok(Found { offset: found.next_offset, row })
}
