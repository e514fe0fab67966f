//! Ids and fingerprints that follow from a request are those of the golden vectors: an
//! implementation in another language makes the same.

use std::{fs, os::unix::fs::OpenOptionsExt, path::PathBuf};

use data_encoding::HEXLOWER;
use highwater_http::json;
use highwater_runtime::{
    clock::{Ids, SystemIds},
    identity::DeploymentKeys,
};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// As they lie in a file.
fn keys(lines: &str) -> Result<DeploymentKeys, Failure> {
    let name = format!("highwater-ids-{}", SystemIds.v4());
    let path = std::env::temp_dir().join(name);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    std::io::Write::write_all(&mut file, lines.as_bytes())?;
    let keys = DeploymentKeys::load(&path);
    fs::remove_file(&path)?;
    Ok(keys?)
}

#[test]
fn ids_are_those_of_the_golden_vectors() -> Result<(), Box<dyn std::error::Error>> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors/ids.json");
    let vectors: serde_json::Value = serde_json::from_slice(&fs::read(file)?)?;
    let all = |name: &str| {
        vectors[name].as_array().cloned().filter(|all| !all.is_empty()).ok_or(format!("no {name}"))
    };
    let text = |of: &serde_json::Value, name: &str| {
        of[name].as_str().map(str::to_owned).ok_or(format!("{of}: {name} is no text"))
    };
    let mut lines = String::new();
    for key in all("deployment_keys")? {
        lines += &format!("{}:{}\n", key["number"], text(&key, "hex")?);
    }
    let keys = keys(&lines)?;
    assert_eq!(
        (keys.namespace().to_string(), keys.check_value()),
        (text(&vectors, "namespace")?, text(&vectors, "check_value")?)
    );
    for actor in all("actors")? {
        assert_eq!(
            keys.actor_id(&text(&actor, "principal")?).to_string(),
            text(&actor, "id")?,
            "{actor}"
        );
    }
    for command in all("commands")? {
        let aggregate = Uuid::parse_str(&text(&command, "aggregate")?)?;
        let (principal, category, key) = (
            text(&command, "principal")?,
            text(&command, "category")?,
            text(&command, "idempotency_key")?,
        );
        assert_eq!(
            keys.command_id(&principal, &category, aggregate, &key).to_string(),
            text(&command, "id")?,
            "{command}"
        );
    }
    for create in all("creates")? {
        let (principal, category, key) = (
            text(&create, "principal")?,
            text(&create, "category")?,
            text(&create, "idempotency_key")?,
        );
        assert_eq!(
            keys.create_id(&principal, &category, &key).to_string(),
            text(&create, "id")?,
            "{create}"
        );
    }
    for print in all("fingerprints")? {
        let (name, body) = (text(&print, "name")?, text(&print, "body")?);
        let value =
            if body.is_empty() { serde_json::json!({}) } else { json::parse(body.as_bytes())? };
        let canonical = json::canonical(&value);
        assert_eq!(String::from_utf8(canonical.clone())?, text(&print, "canonical")?, "{print}");
        let by = keys.fingerprints(&name, &canonical).into_iter();
        let by: Vec<_> = by
            .map(|(number, hmac)| {
                serde_json::json!({"key_number": number, "hmac": HEXLOWER.encode(&hmac)})
            })
            .collect();
        assert_eq!(serde_json::Value::from(by), print["by"], "{print}");
    }
    Ok(())
}
