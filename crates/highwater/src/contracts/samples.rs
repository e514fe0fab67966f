//! The samples: they stand for the records that lie in a log. People write them; a schema that is
//! new begins with one that follows from it.

use highwater_protocol::{time::Micros, wire::RecordedEvent};
use serde_json::{Map, Value, json};

use super::{
    difference::{Difference, unlike},
    folder::{Error, Folder},
};
use crate::{
    category::{Category, Contract},
    testing::NOW,
};

/// Every schema has samples, every sample is read, and what is in the latest version is written as
/// it was read.
pub(super) fn check(folder: &Folder<'_>, category: &Category) -> Result<Vec<Difference>, Error> {
    let mut differences = Vec::new();
    for (kind, contracts) in
        [("events", category.event_contracts()), ("commands", category.command_contracts())]
    {
        for contract in &contracts {
            let place = format!("samples/{kind}/{}", contract.stem);
            let samples = folder.files(&place)?;
            if samples.is_empty() {
                let what = "has no sample: write at least one, as JSON".to_owned();
                differences.push(Difference { file: place.clone(), what });
            }
            for (name, text) in samples {
                let read = match kind {
                    "events" => event(category, contract, &text),
                    _ => command(category, contract, &text),
                };
                if let Err(what) = read {
                    differences.push(Difference { file: format!("{place}/{name}"), what });
                }
            }
        }
        let own = format!("{}.", category.name);
        for stem in folder.folders(&format!("samples/{kind}"))? {
            if stem.starts_with(&own) && contracts.iter().all(|contract| contract.stem != stem) {
                let what = "no type reads these samples: what was published stays readable, so \
                            keep its type in old(..) of its variant";
                let file = format!("samples/{kind}/{stem}");
                differences.push(Difference { file, what: what.to_owned() });
            }
        }
    }
    Ok(differences)
}

/// Writes the first sample of a schema, unless it has one.
pub(super) fn begin(folder: &Folder<'_>, kind: &str, contract: &Contract) -> Result<(), Error> {
    let place = format!("samples/{kind}/{}", contract.stem);
    if folder.files(&place)?.is_empty() {
        let text = format!("{:#}\n", example(&contract.schema.to_value()));
        folder.write(format!("{place}/example.json"), text);
    }
    Ok(())
}

/// Something that fits a schema, as the types of contracts write theirs; every field is there.
pub(super) fn example(schema: &Value) -> Value {
    let first = |of: &str| schema[of].as_array().and_then(|all| all.first());
    if let Some(name) = first("enum") {
        return name.clone();
    }
    if let Some(choice) = first("oneOf") {
        return example(choice);
    }
    let kind = first("type").unwrap_or(&schema["type"]);
    match kind.as_str() {
        Some("boolean") => json!(false),
        Some("integer") => json!(schema["minimum"].as_i64().unwrap_or(1).max(1)),
        Some("array") => json!([example(&schema["items"])]),
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            Value::Object(fields.map(|(name, field)| (name.clone(), example(field))).collect())
        }
        Some("string") => match (schema["format"].as_str(), schema["pattern"].as_str()) {
            (Some("uuid"), _) => json!("018f3c9e-5b5e-7c3a-9d0e-1f6a2b3c4d5e"),
            (Some("date-time"), _) => json!(NOW.to_string()),
            (_, Some("^[A-Z]{3}$")) => json!("EUR"),
            _ => {
                let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
                json!(
                    "example".chars().take(usize::try_from(most).unwrap_or(1)).collect::<String>()
                )
            }
        },
        _ => Value::Object(Map::new()),
    }
}

/// A stored event of this version.
pub(super) fn stored(category: &Category, stem: &str, text: &str) -> RecordedEvent {
    let event_type = stem.rsplit_once(".v").map_or(category.name, |(event_type, _)| event_type);
    RecordedEvent {
        event_type: event_type.to_owned().into(),
        schema: stem.to_owned().into(),
        data: text.as_bytes().to_vec(),
    }
}

fn event(category: &Category, contract: &Contract, text: &str) -> Result<(), String> {
    let again = category
        .rewrite(&stored(category, &contract.stem, text))
        .map_err(|error| format!("is not read any more: {error}"))?;
    if again.schema != contract.stem {
        return Ok(());
    }
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let pointers = unlike(&json(text.as_bytes()), &json(&again.data));
    if pointers.is_empty() {
        return Ok(());
    }
    Err(format!("is written in another way than it is read, at {}", pointers.join(", ")))
}

/// Read as if it came at [`NOW`].
fn command(category: &Category, contract: &Contract, text: &str) -> Result<(), String> {
    let body = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
    category.check(contract.name, contract.version, &body, Micros(NOW.micros())).map_err(|found| {
        let found = found.iter().map(|error| format!("{} {}", error.pointer, error.detail));
        format!("is not accepted any more: {}", found.collect::<Vec<_>>().join(", "))
    })
}
