//! Commands whose outcomes are asked for again: what was accepted, what changed nothing, and what
//! the store refused.

use serde_json::json;
use uuid::Uuid;

use super::client::{Answer, Client, Request};

/// The product whose price changes ten thousand times, and the id of its stock.
pub const SHELF: Uuid = Uuid::from_u128(0x018f_3c9e_5b5e_7c3a_9d0e_1f6a_2b3c_4d5e);
const SOMEBODY: Uuid = Uuid::from_u128(0x018f_3ca1_2f4d_7b21_8a4c_6d7e_8f90_1234);

pub struct First {
    pub request: Request,
    pub answer: Answer,
}

pub async fn firsts(client: &Client) -> Vec<First> {
    let product = json!({
        "id": SHELF, "name": "Cup", "department": "KITCHEN", "unit_price_minor": 1,
        "currency": "EUR",
    });
    let price = |minor: u64, currency: &str| {
        Request::act(
            "products",
            SHELF,
            "set-price",
            json!({"unit_price_minor": minor, "currency": currency}),
        )
    };
    let stock = |command, body| Request::act("stock", SHELF, command, body);
    let requests = [
        (Request::create("products", product), 201, None),
        (price(1, "EUR"), 200, None),
        (price(3, "USD"), 409, Some("product.currency-mismatch")),
        (price(2, "EUR"), 200, None),
        (stock("receive", json!({"quantity": 10})), 200, None),
        (
            stock("reserve", json!({"order_id": SOMEBODY, "quantity": 99})),
            409,
            Some("stock.insufficient"),
        ),
        (stock("reserve", json!({"order_id": SOMEBODY, "quantity": 4})), 200, None),
    ];
    let mut firsts = Vec::new();
    for (request, status, code) in requests {
        let answer = client.settle(firsts.len() % client.targets(), &request).await;
        assert_eq!(
            (answer.status, answer.body["code"].as_str()),
            (status, code),
            "{request:?}: {answer:?}"
        );
        assert!(!answer.replayed && !answer.position.is_empty(), "{request:?}: {answer:?}");
        firsts.push(First { request, answer });
    }
    firsts
}

/// One of many on the same product; each sets another price, so each is an event.
pub fn later(number: u64) -> Request {
    Request::act(
        "products",
        SHELF,
        "set-price",
        json!({"unit_price_minor": 100 + number, "currency": "EUR"}),
    )
}
