//! Reads the files under `vectors/`; knows their form and nothing of what they mean.

use std::path::PathBuf;

use protocol::record::{Header, Record};
use serde_json::Value;

/// The files of `vectors/<folder>` that end in `extension`, by name.
pub fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(folder);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}

/// `key`, `value` and `headers` of a record in JSON.
pub fn record(json: &Value) -> Record {
    let headers = json["headers"].as_array().unwrap().iter();
    Record {
        key: json.get("key").map(bytes),
        value: json.get("value").map(bytes),
        headers: headers.map(|pair| Header::new(pair[0].as_str().unwrap().to_owned(), bytes(&pair[1]))).collect(),
    }
}

fn bytes(json: &Value) -> Vec<u8> {
    match json.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => hex(json["hex"].as_str().unwrap()),
    }
}

pub fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "half a byte in {digits}");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
