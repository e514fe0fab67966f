//! What a product has come to, as far as decisions ask.

use std::sync::Arc;

use events::{
    currency::Currency,
    number::Money,
    product::{Created, Described, ProductEvent},
};
use highwater_protocol::domain::Unreadable;
use serde::{Deserialize, Serialize};

/// Cheap to clone: the writer keeps one for each commit in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    pub stage: Stage,
    pub unit_price_minor: Money,
    pub currency: Currency,
    pub description: Description,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Active,
    Discontinued,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(from = "Described", into = "Described")]
pub struct Description(Arc<Described>);

impl From<Described> for Description {
    fn from(described: Described) -> Self {
        Self(Arc::new(described))
    }
}

impl From<Description> for Described {
    fn from(description: Description) -> Self {
        Self::clone(&description.0)
    }
}

impl std::ops::Deref for Description {
    type Target = Described;

    fn deref(&self) -> &Described {
        &self.0
    }
}

impl Product {
    pub fn created(event: &Created) -> Self {
        let description = Described {
            name: event.name.clone(),
            department: event.department.clone(),
            brand: event.brand.clone(),
            category: event.category.clone(),
            description: event.description.clone(),
            package_size: event.package_size.clone(),
        };
        let Created { unit_price_minor, currency, .. } = *event;
        Self { stage: Stage::Active, unit_price_minor, currency, description: description.into() }
    }

    /// The event is a fact, whatever this release would have decided.
    pub fn after(&self, event: &ProductEvent) -> Self {
        let before = self.clone();
        match event {
            ProductEvent::Created(event) => Self::created(event),
            ProductEvent::Described(event) => Self { description: event.clone().into(), ..before },
            ProductEvent::PriceSet(event) => Self {
                unit_price_minor: event.unit_price_minor,
                currency: event.currency,
                ..before
            },
            ProductEvent::Discontinued(_) => Self { stage: Stage::Discontinued, ..before },
        }
    }
}

/// Applies an event read from the log. A product begins with `product.created`, and only once.
pub fn evolve(product: Option<&Product>, event: &ProductEvent) -> Result<Product, Unreadable> {
    let why = match (product, event) {
        (None, ProductEvent::Created(event)) => return Ok(Product::created(event)),
        (Some(_), ProductEvent::Created(_)) => "the product was created before",
        (Some(product), event) => return Ok(product.after(event)),
        (None, _) => "there is no product before it",
    };
    Err(Unreadable::Malformed { what: event.encode().schema.into_owned(), why: why.to_owned() })
}
