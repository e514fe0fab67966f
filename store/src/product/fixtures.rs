//! A product's events and commands, for tests.

use events::product::{Created, Described, PriceSet, ProductCommand, ProductEvent};
use highwater::{
    Command as _,
    testing::{self, Given, NOW},
};
use serde_json::{Value, json};

use super::Product;

#[track_caller]
pub fn given<const N: usize>(events: [ProductEvent; N]) -> Given<Product> {
    testing::given(events)
}

#[track_caller]
pub fn command(name: &str, body: Value) -> ProductCommand {
    ProductCommand::parse(name, 1, &body, NOW).expect("a valid body")
}

pub fn create() -> ProductCommand {
    command("create", create_body())
}

pub fn describe(body: Value) -> ProductCommand {
    command("describe", body)
}

pub fn set_price(unit_price_minor: i64, currency: &str) -> ProductCommand {
    command("set-price", json!({ "unit_price_minor": unit_price_minor, "currency": currency }))
}

pub fn discontinue() -> ProductCommand {
    command("discontinue", json!({}))
}

/// 249 US cents.
pub fn create_body() -> Value {
    json!({
        "name": "White bread",
        "department": "GROCERY",
        "unit_price_minor": 249,
        "currency": "USD",
        "brand": "Private",
        "package_size": "20 OZ",
    })
}

pub fn created() -> ProductEvent {
    ProductEvent::Created(Created {
        name: "White bread".try_into().expect("short"),
        department: "GROCERY".try_into().expect("short"),
        unit_price_minor: 249.try_into().expect("small"),
        currency: "USD".try_into().expect("a currency"),
        brand: Some("Private".try_into().expect("short")),
        category: None,
        description: None,
        package_size: Some("20 OZ".try_into().expect("short")),
    })
}

pub fn described(name: &str, brand: Option<&str>, category: Option<&str>) -> ProductEvent {
    ProductEvent::Described(Described {
        name: name.try_into().expect("short"),
        department: "GROCERY".try_into().expect("short"),
        brand: brand.map(|brand| brand.try_into().expect("short")),
        category: category.map(|category| category.try_into().expect("short")),
        description: None,
        package_size: Some("20 OZ".try_into().expect("short")),
    })
}

pub fn price_set(unit_price_minor: i64, previous_unit_price_minor: i64) -> ProductEvent {
    ProductEvent::PriceSet(PriceSet {
        unit_price_minor: unit_price_minor.try_into().expect("small"),
        currency: "USD".try_into().expect("a currency"),
        previous_unit_price_minor: previous_unit_price_minor.try_into().expect("small"),
    })
}

pub fn discontinued() -> ProductEvent {
    ProductEvent::Discontinued
}
