//! Which aggregates this deployment serves. The only file here that names categories: a team puts
//! its own in place of these.

use events::{order, product, schemas, stock};
use highwater_protocol::time::Micros;
use highwater_runtime::problem::FieldError;
use serde_json::Value;
use store::{Orders, Products, Stocks};

use crate::{
    category::Category,
    start::{Error, Registry},
};

/// Every category that is served.
pub fn categories() -> Vec<&'static str> {
    vec![Orders::NAME, Products::NAME, Stocks::NAME]
}

/// Registers every category with its routes and owners.
pub fn register(registry: &mut Registry) -> Result<(), Error> {
    registry.add(Orders)?;
    registry.add(Products)?;
    registry.add(Stocks)
}

impl Category for Orders {
    const NAME: &'static str = "order";
    const COLLECTION: &'static str = "orders";

    fn schemas() -> Vec<(&'static str, &'static str)> {
        schemas_of(Self::NAME)
    }

    fn parse(
        command: &str,
        version: u32,
        body: &Value,
        now: Micros,
    ) -> Result<order::Command, Vec<FieldError>> {
        order::Command::parse(command, version, body, now).map_err(field_errors)
    }
}

impl Category for Products {
    const NAME: &'static str = "product";
    const COLLECTION: &'static str = "products";

    fn schemas() -> Vec<(&'static str, &'static str)> {
        schemas_of(Self::NAME)
    }

    fn parse(
        command: &str,
        version: u32,
        body: &Value,
        now: Micros,
    ) -> Result<product::Command, Vec<FieldError>> {
        product::Command::parse(command, version, body, now).map_err(field_errors)
    }
}

/// Without a create: a stock begins with its first `receive`.
impl Category for Stocks {
    const NAME: &'static str = "stock";
    const COLLECTION: &'static str = "stock";

    fn schemas() -> Vec<(&'static str, &'static str)> {
        schemas_of(Self::NAME)
    }

    fn parse(
        command: &str,
        version: u32,
        body: &Value,
        now: Micros,
    ) -> Result<stock::Command, Vec<FieldError>> {
        stock::Command::parse(command, version, body, now).map_err(field_errors)
    }
}

fn schemas_of(category: &str) -> Vec<(&'static str, &'static str)> {
    let own = |stem: &str| stem.strip_prefix(category).is_some_and(|rest| rest.starts_with('.'));
    schemas::commands()
        .filter(|schema| own(schema.stem))
        .map(|schema| (schema.stem, schema.text))
        .collect()
}

fn field_errors(invalid: Vec<events::invalid::Invalid>) -> Vec<FieldError> {
    invalid
        .into_iter()
        .map(|invalid| FieldError::pointer(invalid.pointer, invalid.detail))
        .collect()
}
