//! `key`, `value` and `headers` of a record in JSON.

use highwater_protocol::record::{Header, Record};
use serde_json::Value;

use crate::reading;

pub fn record(json: &Value) -> Record {
    let headers = json["headers"].as_array().unwrap().iter();
    Record {
        key: json.get("key").map(bytes),
        value: json.get("value").map(bytes),
        headers: headers
            .map(|pair| Header::new(pair[0].as_str().unwrap().to_owned(), bytes(&pair[1])))
            .collect(),
    }
}

/// A string's UTF-8, or `{"hex": "..."}`.
pub fn bytes(json: &Value) -> Vec<u8> {
    match json.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => reading::hex(json["hex"].as_str().unwrap()),
    }
}
