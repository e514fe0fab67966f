//! docs/operations.md names every setting that exists, with the default that it has, and no other.

use std::{collections::BTreeMap, error::Error, fmt::Debug};

use highwater_command::settings::{OwnerSettings, PeerSettings, QueueSettings};
use highwater_http::server::HttpSettings;
use highwater_log::LogSettings;
use highwater_projection::settings::ProjectorSettings;
use highwater_query::settings::QuerySettings;
use highwater_runtime::{config::Config, start::StartSettings, telemetry::TelemetrySettings};
use serde::de::DeserializeOwned;

use super::UpSettings;

const OPERATIONS: &str = include_str!("../../../../../docs/operations.md");

/// Read by command-api alone, into a type of its own.
const UNTYPED: [&str; 1] = ["identity.keys"];

/// Made from others at the start, and refused in a file.
const MADE: &str = "http.own_host";

/// Keys and defaults of the table.
fn documented() -> BTreeMap<String, String> {
    let table = OPERATIONS.split("\n| setting | default | meaning |\n").nth(1).unwrap_or_default();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        Some(((*cells.get(1)?).to_owned(), (*cells.get(2)?).to_owned()))
    })
    .collect()
}

/// The leaves of a settings struct, read from its pretty `Debug`: `section.key`,
/// `section.table.key`.
fn keys<T: Default + Debug>(section: &str) -> Vec<String> {
    let mut path = vec![section.to_owned()];
    let mut keys = Vec::new();
    let mut within = 0;
    for line in format!("{:#?}", T::default()).lines().skip(1) {
        let line = line.trim();
        match line.split_once(": ") {
            _ if within > 0 => within -= usize::from(line.starts_with([']', '}'])),
            Some((key, value)) if value.ends_with('{') && value != "{" => path.push(key.to_owned()),
            Some((key, value)) => {
                keys.push(format!("{}.{key}", path.join(".")));
                within = usize::from(value.ends_with(['[', '{']));
            }
            None => drop(path.pop()),
        }
    }
    keys
}

/// The section with every documented default set explicitly.
fn from_docs<T: DeserializeOwned + Default>(section: &str) -> Result<T, Box<dyn Error>> {
    let start = format!("{section}.");
    let flags = documented()
        .into_iter()
        .filter(|(key, default)| key.starts_with(&start) && default != "(none)")
        .collect();
    Ok(Config::load_with(None, Some(Vec::new()), flags)?.section(section)?)
}

fn check<T: DeserializeOwned + Default + Debug>(
    section: &str,
    known: &mut Vec<String>,
) -> Result<(), Box<dyn Error>> {
    assert_eq!(
        format!("{:#?}", from_docs::<T>(section)?),
        format!("{:#?}", T::default()),
        "documented and real defaults of [{section}]"
    );
    known.extend(keys::<T>(section));
    Ok(())
}

#[test]
fn every_setting_is_documented_with_its_default() -> Result<(), Box<dyn Error>> {
    let mut known: Vec<String> = UNTYPED.map(str::to_owned).to_vec();
    check::<LogSettings>("log", &mut known)?;
    check::<HttpSettings>("http", &mut known)?;
    check::<OwnerSettings>("owner", &mut known)?;
    check::<QueueSettings>("queue", &mut known)?;
    check::<PeerSettings>("peers", &mut known)?;
    check::<ProjectorSettings>("projector", &mut known)?;
    check::<QuerySettings>("query", &mut known)?;
    check::<StartSettings>("start", &mut known)?;
    check::<TelemetrySettings>("telemetry", &mut known)?;
    check::<UpSettings>("up", &mut known)?;
    known.retain(|key| key != MADE);
    known.sort();
    assert_eq!(known, documented().into_keys().collect::<Vec<_>>());
    assert!(known.len() > 80, "{} settings", known.len());
    Ok(())
}
