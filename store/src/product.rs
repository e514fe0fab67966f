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
mod state;

use events::{
    currency::Currency,
    product::{Command, ProductEvent},
};
use highwater_protocol::{
    domain::{Decision, Domain, Durable, Unreadable},
    time::Micros,
    wire::{Fact, Reason, Wire},
};

use crate::{
    frozen,
    rejection::{self, Rejection as _},
};
pub use state::{Product, Stage};

/// The rules of products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Products;

/// Every rule that a product command can break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is a product with this id already")]
    AlreadyExists,
    #[error("the product is discontinued")]
    Discontinued,
    #[error("the product is priced in {priced_in}, not in {asked}")]
    CurrencyMismatch { priced_in: Currency, asked: Currency },
    /// For a caller that did not ask [`Domain::must_exist`].
    #[error("there is no such product")]
    NotFound,
}

impl Domain<Wire> for Products {
    type State = Product;
    type Command = Command;

    fn must_exist(&self, command: &Command) -> bool {
        !matches!(command, Command::Create(_))
    }

    fn decide(
        &self,
        state: Option<&Product>,
        command: &Command,
        _at: Micros,
    ) -> Result<Decision<Product, Fact>, Reason> {
        decide(state, command).map_err(|rejection| rejection.reason())
    }

    fn evolve(&self, state: Option<&Product>, stored: &Fact) -> Result<Product, Unreadable> {
        state::evolve(state, &ProductEvent::decode(stored)?)
    }
}

impl Durable for Products {
    const FORMAT: i16 = 1;

    fn freeze(&self, state: &Product) -> Vec<u8> {
        frozen::freeze(state)
    }

    fn thaw(&self, frozen: &[u8]) -> Result<Product, Unreadable> {
        frozen::thaw("product state", frozen)
    }
}

fn decide(
    product: Option<&Product>,
    command: &Command,
) -> Result<Decision<Product, Fact>, Rejection> {
    let Some(product) = product else {
        let Command::Create(command) = command else { return Err(Rejection::NotFound) };
        let created = create::decide(command);
        let state = Product::created(&created);
        return Ok(Decision::Change {
            events: vec![ProductEvent::Created(created).encode()],
            state,
        });
    };
    let event = match command {
        Command::Create(_) => return Err(Rejection::AlreadyExists),
        Command::Describe(command) => {
            describe::decide(product, command)?.map(ProductEvent::Described)
        }
        Command::SetPrice(command) => {
            set_price::decide(product, command)?.map(ProductEvent::PriceSet)
        }
        Command::Discontinue => discontinue::decide(product).map(ProductEvent::Discontinued),
    };
    Ok(event.map_or(Decision::Nothing, |event| Decision::Change {
        state: product.after(&event),
        events: vec![event.encode()],
    }))
}

impl rejection::Rejection for Rejection {
    fn code(&self) -> &'static str {
        match self {
            Self::AlreadyExists => "product.already-exists",
            Self::Discontinued => "product.discontinued",
            Self::CurrencyMismatch { .. } => "product.currency-mismatch",
            Self::NotFound => "product.not-found",
        }
    }
}
