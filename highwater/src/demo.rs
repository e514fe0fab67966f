//! The store's own words, for people who try it: the only file of this crate besides `audit/tables` that knows what the store sells.

/// A first command, as a line for a shell.
pub fn first_command(url: &str) -> String {
    let body = r#"{"name":"Espresso beans","department":"GROCERY","unit_price_minor":1250,"currency":"EUR"}"#;
    format!("curl -i {url}/v1/products -H 'Content-Type: application/json' -H 'Idempotency-Key: first' -d '{body}'")
}
