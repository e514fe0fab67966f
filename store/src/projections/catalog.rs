//! `catalog`: one row a product, as it stands now.

use events::product::ProductEvent;
use highwater::prelude::*;

use crate::Product;

/// A product as it stands now.
#[derive(Row)]
#[row(table = "catalog", public = "max-age=5, stale-while-revalidate=30, stale-if-error=300")]
pub struct ProductRow {
    status: Status,
    name: Text<200>,
    department: Text<100>,
    unit_price_minor: Money,
    currency: Currency,
    brand: Option<Text<100>>,
    category: Option<Text<100>>,
    description: Option<Text<4000>>,
    package_size: Option<Text<100>>,
}

#[derive(Data)]
pub enum Status {
    Active,
    Discontinued,
}

impl Fold for ProductRow {
    type Of = Product;

    fn fold(row: Option<Self>, recorded: &Recorded<ProductEvent>) -> Result<Self, Unreadable> {
        Ok(match (row, recorded.event.clone()) {
            (None, ProductEvent::Created(created)) => Self {
                status: Status::Active,
                name: created.name,
                department: created.department,
                unit_price_minor: created.unit_price_minor,
                currency: created.currency,
                brand: created.brand,
                category: created.category,
                description: created.description,
                package_size: created.package_size,
            },
            (Some(row), ProductEvent::Described(described)) => Self {
                name: described.name,
                department: described.department,
                brand: described.brand,
                category: described.category,
                description: described.description,
                package_size: described.package_size,
                ..row
            },
            (Some(row), ProductEvent::PriceSet(price)) => {
                Self { unit_price_minor: price.unit_price_minor, currency: price.currency, ..row }
            }
            (Some(row), ProductEvent::Discontinued) => Self { status: Status::Discontinued, ..row },
            (None, _) | (Some(_), ProductEvent::Created(_)) => return Err(recorded.unexpected()),
        })
    }
}
