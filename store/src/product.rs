//! The product: active, then discontinued for good.
//!
//! | command \ in state | none | active | discontinued |
//! |---|---|---|---|
//! | create | **active** | already-exists | already-exists |
//! | describe | 404 | **active**, or nothing without a difference | discontinued |
//! | set-price | 404 | **active**, nothing at the same price, or currency-mismatch | discontinued |
//! | discontinue | 404 | **discontinued** | nothing |

mod create;
mod describe;
mod discontinue;
#[cfg(test)]
mod fixtures;
mod set_price;

use std::sync::Arc;

use events::product::{Created, Described, ProductCommand, ProductEvent};
use highwater::prelude::*;

/// What a product has come to, as far as decisions ask.
#[derive(State)]
#[state(format = 1)]
pub struct Product {
    pub stage: Stage,
    pub unit_price_minor: Money,
    pub currency: Currency,
    pub description: Arc<Described>,
}

#[derive(Copy, Data)]
pub enum Stage {
    Active,
    Discontinued,
}

#[derive(Rejection)]
pub enum ProductRejection {
    #[rejection("discontinued", "the product is discontinued")]
    Discontinued,
    #[rejection("currency-mismatch", "the product is priced in {0}, not in {1}")]
    CurrencyMismatch(Currency, Currency),
}

impl Aggregate for Product {
    type Command = ProductCommand;
    type Event = ProductEvent;
    type Rejection = ProductRejection;

    fn decide(product: Option<&Self>, command: &ProductCommand, _: &Context) -> Decision<Self> {
        let product = || product.ok_or(Missing);
        match command {
            ProductCommand::Create(command) => create::decide(command),
            ProductCommand::Describe(command) => describe::decide(product()?, command),
            ProductCommand::SetPrice(command) => set_price::decide(product()?, command),
            ProductCommand::Discontinue => discontinue::decide(product()?),
        }
    }

    fn evolve(product: Option<&Self>, event: &ProductEvent) -> Result<Self, Unreadable> {
        let before = match (product, event) {
            (None, ProductEvent::Created(event)) => return Ok(Self::created(event)),
            (Some(before), _) => before.clone(),
            (None, _) => return Err(event.unexpected("there is no product before it")),
        };
        Ok(match event {
            ProductEvent::Created(_) => {
                return Err(event.unexpected("the product was created before"));
            }
            ProductEvent::Described(event) => {
                Self { description: Arc::new(event.clone()), ..before }
            }
            ProductEvent::PriceSet(event) => Self {
                unit_price_minor: event.unit_price_minor,
                currency: event.currency,
                ..before
            },
            ProductEvent::Discontinued => Self { stage: Stage::Discontinued, ..before },
        })
    }
}

impl Product {
    fn created(event: &Created) -> Self {
        let Created { name, department, unit_price_minor, currency, .. } = event.clone();
        let Created { brand, category, description, package_size, .. } = event.clone();
        let described = Described { name, department, brand, category, description, package_size };
        Self { stage: Stage::Active, unit_price_minor, currency, description: Arc::new(described) }
    }

    fn still_active(&self) -> Result<(), ProductRejection> {
        match self.stage {
            Stage::Active => Ok(()),
            Stage::Discontinued => Err(ProductRejection::Discontinued),
        }
    }
}
