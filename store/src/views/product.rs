//! `GET /v1/products/{id}`.

use futures_util::future::BoxFuture;
use highwater_tables::postgres::Connections;
use serde::Serialize;
use uuid::Uuid;

use highwater_query::{
    database::GENERATION,
    list::List,
    resource::{Found, Row, View},
};

pub struct Products;

#[derive(Serialize)]
pub struct Body {
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

impl View for Products {
    type Body = Body;

    const PROJECTION: &'static str = "catalog";
    const CATEGORY: &'static str = "product";
    const PUBLIC: Option<&'static str> =
        Some("max-age=5, stale-while-revalidate=30, stale-if-error=300");
    const FIELDS: &'static [&'static str] = <super::products::Products as List>::FIELDS;

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
        r#"SELECT coalesce(c.next_offset, 0) AS "next_offset!", p.version AS "version?", p.status AS "status?", p.name AS "name?",
                  p.department AS "department?", p.unit_price_minor AS "unit_price_minor?", p.currency AS "currency?",
                  p.brand AS "brand?", p.category AS "category?", p.description AS "description?", p.package_size AS "package_size?"
           FROM (SELECT $1::uuid AS id) asked
           LEFT JOIN checkpoints c ON (c.projection, c.generation, c.category, c.partition) = ($2, $3, $4, $5)
           LEFT JOIN catalog p ON p.id = asked.id"#,
        id,
        Products::PROJECTION,
        GENERATION,
        Products::CATEGORY,
        partition,
    )
    .fetch_one(&mut *pool.acquire().await?)
    .await?;
    let body = || {
        Some(Body {
            id,
            version: found.version?,
            status: found.status?,
            name: found.name?,
            department: found.department?,
            unit_price_minor: found.unit_price_minor?,
            currency: found.currency?,
            brand: found.brand,
            category: found.category,
            description: found.description,
            package_size: found.package_size,
        })
    };
    let row = body().map(|body| Row { version: body.version, body });
    Ok(Found { offset: found.next_offset, row })
}
