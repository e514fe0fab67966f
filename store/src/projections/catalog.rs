//! `catalog`: one row a product, as it stands now.

use events::product::ProductEvent;
use futures_util::future::BoxFuture;
use highwater::Event as _;
use highwater_protocol::{domain::Unreadable, entry::EventBody, wire::Wire};
use uuid::Uuid;

use highwater_projection::{
    rows::{self, Row},
    runner::{Failure, PostgresTx, Projection, Slice},
};

pub struct Catalog;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Product {
    id: Uuid,
    partition: i32,
    version: i64,
    status: String,
    name: String,
    department: String,
    unit_price_minor: i64,
    currency: String,
    brand: Option<String>,
    category: Option<String>,
    description: Option<String>,
    package_size: Option<String>,
}

impl Projection<PostgresTx> for Catalog {
    fn name(&self) -> &'static str {
        "catalog"
    }

    fn categories(&self) -> &[&'static str] {
        &["product"]
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

impl Row for Product {
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
        Ok(match (row, ProductEvent::decode(&event.event)?) {
            (None, ProductEvent::Created(created)) => Self {
                id,
                partition,
                version,
                status: "active".to_owned(),
                name: created.name.into(),
                department: created.department.into(),
                unit_price_minor: created.unit_price_minor.get(),
                currency: created.currency.to_string(),
                brand: created.brand.map(String::from),
                category: created.category.map(String::from),
                description: created.description.map(String::from),
                package_size: created.package_size.map(String::from),
            },
            (Some(row), ProductEvent::Described(described)) => Self {
                version,
                name: described.name.into(),
                department: described.department.into(),
                brand: described.brand.map(String::from),
                category: described.category.map(String::from),
                description: described.description.map(String::from),
                package_size: described.package_size.map(String::from),
                ..row
            },
            (Some(row), ProductEvent::PriceSet(price)) => Self {
                version,
                unit_price_minor: price.unit_price_minor.get(),
                currency: price.currency.to_string(),
                ..row
            },
            (Some(row), ProductEvent::Discontinued) => {
                Self { version, status: "discontinued".to_owned(), ..row }
            }
            (None, _) | (Some(_), ProductEvent::Created(_)) => {
                let why = format!("cannot be event {version} of a product");
                return Err(Unreadable::Malformed { what: event.event.schema.to_string(), why });
            }
        })
    }
}

async fn load(tx: &mut PostgresTx, ids: &[Uuid]) -> Result<Vec<Product>, Failure> {
    let rows = sqlx::query_as!(
        Product,
        "SELECT id, partition, version, status, name, department, unit_price_minor, currency, \
         brand, category, description, package_size
         FROM catalog WHERE id = ANY($1)",
        ids,
    );
    Ok(rows.fetch_all(&mut **tx).await?)
}

async fn store(tx: &mut PostgresTx, rows: Vec<Product>) -> Result<(), Failure> {
    sqlx::query!(
        "INSERT INTO catalog (id, partition, version, status, name, department, unit_price_minor, \
         currency, brand, category, description,
                              package_size)
         SELECT * FROM UNNEST($1::uuid[], $2::int[], $3::bigint[], $4::text[], $5::text[], \
         $6::text[], $7::bigint[], $8::text[],
                              $9::text[], $10::text[], $11::text[], $12::text[])
         ON CONFLICT (id) DO UPDATE
         SET version = excluded.version, status = excluded.status, name = excluded.name, \
         department = excluded.department,
             unit_price_minor = excluded.unit_price_minor, currency = excluded.currency, brand = \
             excluded.brand,
             category = excluded.category, description = excluded.description, package_size = \
             excluded.package_size
         WHERE catalog.version < excluded.version",
        &rows.iter().map(|row| row.id).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.partition).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.version).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.status.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.department.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.unit_price_minor).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.currency.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.brand.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.iter().map(|row| row.category.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.iter().map(|row| row.description.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.into_iter().map(|row| row.package_size).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
