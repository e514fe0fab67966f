//! Every aggregate through the query API, at the position of its last acknowledged command.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use serde_json::Value;
use uuid::Uuid;

use super::load::Known;

/// Reads at the same time.
const READS: usize = 16;

/// What a GET answered.
pub struct Seen {
    pub status: u16,
    pub version: Option<u64>,
}

pub async fn read(
    url: &str,
    http: &reqwest::Client,
    known: &HashMap<Uuid, Known>,
) -> HashMap<Uuid, Seen> {
    let get = |(id, known): (&Uuid, &Known)| {
        let request = http
            .get(format!("{url}/v1/{}s/{id}", known.category))
            .header("Highwater-Min-Position", known.position.to_string());
        let id = *id;
        async move {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let body: Value = response.json().await.unwrap();
            (id, Seen { status, version: body.get("version").and_then(Value::as_u64) })
        }
    };
    stream::iter(known.iter().map(get)).buffer_unordered(READS).collect().await
}

pub fn differences(known: &HashMap<Uuid, Known>, seen: &HashMap<Uuid, Seen>) -> Vec<String> {
    let differs = |(id, known): (&Uuid, &Known)| match seen.get(id) {
        Some(Seen { status: 200, version: Some(version) }) if *version >= known.version => None,
        Some(Seen { status, version }) => Some(format!(
            "GET of {} {id}: {status}, version {version:?}, acknowledged was {}",
            known.category, known.version
        )),
        None => Some(format!("{} {id} was not read", known.category)),
    };
    known.iter().filter_map(differs).collect()
}
