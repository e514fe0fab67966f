//! Every command of the store gets the same answer at the owner of its partition and at another
//! instance. What instances owe each other is tested with the library
//! (`crates/command/tests/hops`).
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../../crates/command/tests/support/alike.rs"]
mod alike;
#[path = "../../crates/command/tests/support/instance.rs"]
mod instance;
#[path = "../../crates/command/tests/support/raw.rs"]
mod raw;

use alike::{JSON, Request, TRACE, post};
use highwater::Rules;
use highwater_command::category::Category;
use instance::{Instance, KEYS, Place};
use store::{Order, Product, Stock};

type Orders = Rules<Order>;
type Products = Rules<Product>;
type Stocks = Rules<Stock>;

const ORDER: &str = "9c4e0d31-7a52-4f0b-8e1d-6b2f90a3c5d7";
const SECOND: &str = "9c4e0d31-7a52-4f0b-8e1d-6b2f90a3c5d8";
const PRODUCT: &str = "5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a01";

async fn instance(place: &Place) -> Instance {
    let mut instance = Instance::new(place, KEYS).await;
    instance.add(Orders::new(), "orders");
    instance.add(Products::new(), "products");
    instance.add(Stocks::new(), "stock");
    instance
}

#[tokio::test]
async fn every_command_of_the_store_gets_the_same_answer_at_the_owner_and_at_another_instance() {
    let routes = [
        alike::routes::<Orders>("orders"),
        alike::routes::<Products>("products"),
        alike::routes::<Stocks>("stock"),
    ];
    let requests = [orders(), products(), stock()].into_iter().flatten().collect::<Vec<_>>();
    let categories = [Orders::NAME, Products::NAME, Stocks::NAME];
    alike::check(&requests, routes.concat(), &categories, instance).await;
}

fn place(more: &str) -> String {
    let line = format!(
        r#"{{"product_id":"{PRODUCT}","department":"GROCERY","quantity":2,"unit_price_minor":199}}"#
    );
    let customer = "0b8d2c3e-9a41-5f2b-8c77-3d1e5a9b7c10";
    format!(r#"{{{more}"customer_id":"{customer}","currency":"EUR","lines":[{line}]}}"#)
}

fn orders() -> Vec<Request> {
    let on = |command: &str| format!("/v1/orders/{ORDER}/{command}");
    let cancel_second = format!("/v1/orders/{SECOND}/cancel");
    let order = place(&format!(r#""id":"{ORDER}","#));
    let second = place(&format!(r#""id":"{SECOND}","confirm":true,"#));
    let (tracking, reason) = (r#"{"tracking":"1Z é 日本"}"#, r#"{"reason":"does not fit"}"#);
    let v2 = "Content-Type: application/vnd.highwater.order.place.v2+json";
    let trace = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01");
    vec![
        post(201, "place", "/v1/orders", &[JSON, "Idempotency-Key: one"], Some(&order)),
        post(201, "its replay", "/v1/orders", &[JSON, "Idempotency-Key: one"], Some(&order)),
        post(409, "the same id again", "/v1/orders", &[JSON], Some(&order)),
        post(422, "members are missing", "/v1/orders", &[JSON], Some("{}")),
        post(201, "two events of one command", "/v1/orders", &[v2], Some(&second)),
        post(200, "confirm", &on("confirm"), &[], None),
        post(200, "confirm once more", &on("confirm"), &["Idempotency-Key: c"], None),
        post(428, "ship whatever it is", &on("ship"), &[JSON], Some(tracking)),
        post(412, "ship another version", &on("ship"), &[JSON, "If-Match: \"v1\""], Some(tracking)),
        post(200, "ship", &on("ship"), &[JSON, "If-Match: \"v2\""], Some(tracking)),
        post(409, "cancel too late", &on("cancel"), &[JSON, "If-Match: *", &trace], Some(reason)),
        post(200, "deliver", &on("deliver"), &[JSON], Some("{}")),
        post(200, "return", &on("return"), &[JSON, "If-Match: \"g1-v4\""], Some(reason)),
        post(200, "cancel", &cancel_second, &[JSON, "If-Match: \"v2\""], Some(reason)),
    ]
}

fn products() -> Vec<Request> {
    let named = format!(r#""id":"{PRODUCT}","name":"Wörter 日本","department":"UNKNOWN""#);
    let create = format!(r#"{{{named},"unit_price_minor":0,"currency":"USD"}}"#);
    let on = |command: &str| format!("/v1/products/{PRODUCT}/{command}");
    let described = r#"{"name":"White bread","brand":null,"package_size":"500 g"}"#;
    let price = r#"{"unit_price_minor":299,"currency":"USD"}"#;
    vec![
        post(201, "create", "/v1/products", &[JSON], Some(&create)),
        post(200, "describe", &on("describe"), &[JSON], Some(described)),
        post(200, "set-price", &on("set-price"), &[JSON], Some(price)),
        post(
            200,
            "set-price to what it is",
            &on("set-price"),
            &[JSON, "Idempotency-Key: p"],
            Some(price),
        ),
        post(200, "discontinue", &on("discontinue"), &[], None),
    ]
}

fn stock() -> Vec<Request> {
    let on = |command: &str| format!("/v1/stock/{PRODUCT}/{command}");
    let of = |order: &str, more: &str| format!(r#"{{"order_id":"{order}"{more}}}"#);
    let receive = |what: &str, headers: &[&str]| {
        post(200, what, &on("receive"), headers, Some(r#"{"quantity":12}"#))
    };
    let (found, three) = (r#"{"delta":5,"reason":"found"}"#, of(ORDER, r#","quantity":3"#));
    let too_much = of(SECOND, r#","quantity":300"#);
    vec![
        post(404, "a stock that has not begun", &on("adjust"), &[JSON], Some(found)),
        receive("receive", &[JSON, "Idempotency-Key: r"]),
        receive("receive again, by the key", &[JSON, "Idempotency-Key: r"]),
        receive("receive once more, without a key", &[JSON]),
        post(200, "reserve", &on("reserve"), &[JSON], Some(&three)),
        post(409, "reserve too much", &on("reserve"), &[JSON], Some(&too_much)),
        post(200, "release", &on("release"), &[JSON], Some(&of(ORDER, ""))),
        post(200, "reserve again", &on("reserve"), &[JSON], Some(&three)),
        post(200, "ship", &on("ship"), &[JSON], Some(&of(ORDER, ""))),
        post(200, "adjust", &on("adjust"), &[JSON], Some(found)),
        post(404, "a stock is begun by no create", "/v1/stock", &[JSON], Some("{}")),
    ]
}
