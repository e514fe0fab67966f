//! Orders to place, until one is answered as expected.

use std::{thread, time::Duration};

use tokio::time::Instant;

use super::{answer::Answer, request::Request, up::Up};

const WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const ORDER: &str = r#"{"customer_id":"018f3c00-0000-7000-8000-00000000c001","currency":"EUR",
    "lines":[{"department":"KITCHEN",
    "product_id":"018f3c9e-5b5e-7c3a-9d0e-1f6a2b3c4d5e","quantity":2,"unit_price_minor":1250}]}"#;

pub fn order(key: &str) -> Request {
    Request::post("/v1/orders", ORDER).header("Idempotency-Key", format!("\"{key}\""))
}

pub fn until_status(up: &Up, request: &Request, status: u16) {
    until(up, request, |answer| answer.status() == status);
}

pub fn until(up: &Up, request: &Request, holds: impl Fn(&Answer) -> bool) {
    let until = Instant::now() + WITHIN;
    loop {
        let answer = request.send(&up.address);
        if holds(&answer) {
            return;
        }
        assert!(Instant::now() < until, "still {}: {}", answer.status(), answer.body);
        thread::sleep(LOOK_EVERY);
    }
}
