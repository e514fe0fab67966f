//! What is sent: a path, a key and a body that follow from the files alone, and how a person calls
//! it.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Error,
    baskets::{self, Basket},
    identity,
    survey::{Listing, Product},
};

const CURRENCY: &str = "USD";
/// Of products that are sold and not listed.
const UNKNOWN: &str = "UNKNOWN";

#[derive(Clone, Debug)]
pub(super) struct Command {
    /// Below the base URL.
    pub(super) path: String,
    pub(super) key: Uuid,
    pub(super) body: Vec<u8>,
    /// In messages.
    pub(super) what: String,
}

#[derive(Serialize)]
struct Create<'a> {
    id: Uuid,
    name: &'a str,
    department: &'a str,
    unit_price_minor: u64,
    currency: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    brand: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_size: Option<&'a str>,
}

#[derive(Serialize)]
struct Receive {
    quantity: u64,
}

#[derive(Serialize)]
struct Place<'a> {
    id: Uuid,
    customer_id: Uuid,
    currency: &'a str,
    placed_at: String,
    lines: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    product_id: Uuid,
    department: String,
    quantity: u64,
    unit_price_minor: u64,
}

impl Command {
    pub(super) fn create(product: &Product) -> Result<Self, Error> {
        let listed = |field: fn(&Listing) -> &Option<String>| {
            product.listing.as_ref().and_then(|listing| field(listing).as_deref())
        };
        let category = listed(|listing| &listing.category);
        let body = serde_json::to_vec(&Create {
            id: identity::product(&product.number),
            name: listed(|listing| &listing.name).or(category).unwrap_or(&product.number),
            department: product.department(),
            unit_price_minor: product.unit_price_minor,
            currency: CURRENCY,
            brand: listed(|listing| &listing.brand),
            category,
            package_size: listed(|listing| &listing.package_size),
        })?;
        let key = identity::create_key(&body);
        Ok(Self {
            path: "v1/products".to_owned(),
            key,
            body,
            what: format!("product {}", product.number),
        })
    }

    /// `digest`: of the file that sells it.
    pub(super) fn receive(product: &Product, digest: &str) -> Result<Self, Error> {
        Ok(Self {
            path: format!("v1/stock/{}/receive", identity::product(&product.number)),
            key: identity::receive_key(&product.number, digest),
            body: serde_json::to_vec(&Receive { quantity: product.units })?,
            what: format!("stock of product {}", product.number),
        })
    }

    /// `departments`: of all that the file sells, by number.
    pub(super) fn place(basket: &Basket, departments: &HashMap<&str, &str>) -> Result<Self, Error> {
        let line = |line: &baskets::Line| Line {
            product_id: identity::product(&line.product),
            department: departments
                .get(line.product.as_str())
                .copied()
                .unwrap_or(UNKNOWN)
                .to_owned(),
            quantity: line.quantity,
            unit_price_minor: line.unit_price_minor,
        };
        let body = serde_json::to_vec(&Place {
            id: identity::order(&basket.number),
            customer_id: identity::customer(&basket.household),
            currency: CURRENCY,
            placed_at: rfc3339(&basket.placed_at),
            lines: basket.lines.iter().map(line).collect(),
        })?;
        let what = format!("basket {} (line {})", basket.number, basket.begins);
        Ok(Self {
            path: "v1/orders".to_owned(),
            key: identity::place_key(&basket.number),
            body,
            what,
        })
    }
}

impl Product {
    pub(super) fn department(&self) -> &str {
        self.listing.as_ref().and_then(|listing| listing.department.as_deref()).unwrap_or(UNKNOWN)
    }
}

fn rfc3339(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests;
