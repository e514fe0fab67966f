//! The forms of states: what a snapshot of each format says, as a shape and as states that were
//! folded from samples. A form that changes under the same number would be read as what it is not.

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    difference::{Difference, unlike},
    folder::{Error, Folder},
    samples::stored,
};
use crate::{category::Category, schema::Schema};

/// A file as it is written.
#[derive(Serialize)]
struct Form<'a> {
    category: &'a str,
    format: i16,
    shape: Schema,
    states: Vec<Entry>,
}

/// A file as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatesFile {
    #[serde(rename = "category")]
    _category: String,
    #[serde(rename = "format")]
    _format: i16,
    shape: Value,
    states: Vec<Entry>,
}

/// The serialized state after these samples, byte for byte.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    after: Vec<String>,
    state: Box<RawValue>,
}

/// A sample of an event: `voucher.issued.v1/plain.json`, and its text.
type Sample = (String, String);

pub(super) fn check(folder: &Folder<'_>, category: &Category) -> Result<Vec<Difference>, Error> {
    let file = file(category);
    let Some(text) = folder.read(&file)? else { return Ok(vec![Difference::to_write(file)]) };
    let found = |what: String| Difference { file: file.clone(), what };
    let published: StatesFile = match serde_json::from_str(&text) {
        Ok(published) => published,
        Err(error) => {
            return Ok(vec![found(format!("is not what `schemas write` writes: {error}"))]);
        }
    };
    let mut differences = Vec::new();
    let pointers = unlike(&published.shape, &category.state_shape().to_value());
    if !pointers.is_empty() {
        let pointers = pointers.join(", ");
        differences.push(found(counted_up(category, &format!("its shape differs at {pointers}"))));
    }
    let samples = samples(folder, category)?;
    for entry in &published.states {
        let after = entry.after.join(", ");
        match fold_named(category, &samples, &entry.after) {
            Ok(state) if state == entry.state.get() => {}
            Ok(_) => differences
                .push(found(counted_up(category, &format!("after {after} it is another")))),
            Err(why) => differences.push(found(format!("{after}: {why}"))),
        }
    }
    for (name, _) in &samples {
        let is_last = |entry: &Entry| entry.after.last() == Some(name);
        if entry_of(category, &samples, name).is_some() && !published.states.iter().any(is_last) {
            differences.push(found(format!("has no state after {name}: `schemas write` adds it")));
        }
    }
    Ok(differences)
}

/// Adds what is new; what was published stays.
pub(super) fn write(folder: &Folder<'_>, category: &Category) -> Result<(), Error> {
    let (file, samples) = (file(category), samples(folder, category)?);
    let before = folder.read(&file)?;
    let published = before.as_deref().map(serde_json::from_str::<StatesFile>);
    let (shape, mut states) = match published {
        None => (category.state_shape(), Vec::new()),
        Some(Ok(published)) if published.shape == category.state_shape().to_value() => {
            (category.state_shape(), published.states)
        }
        // `check` says what is wrong with it.
        Some(_) => return Ok(()),
    };
    for (name, _) in &samples {
        if !states.iter().any(|entry| entry.after.last() == Some(name)) {
            states.extend(entry_of(category, &samples, name));
        }
    }
    let form = Form { category: category.name, format: category.format, shape, states };
    let Ok(text) = serde_json::to_string_pretty(&form).map(|text| text + "\n") else {
        return Ok(());
    };
    if before.as_deref() != Some(text.as_str()) {
        folder.write(file, text);
    }
    Ok(())
}

fn file(category: &Category) -> String {
    format!("states/{}.{}.json", category.name, category.format)
}

fn counted_up(category: &Category, what: &str) -> String {
    format!(
        "{what}: count #[state(format = {})] up to {} and write it, or take the change back",
        category.format,
        category.format.saturating_add(1)
    )
}

/// All samples of the category's events, in the sequence in which the events are declared.
fn samples(folder: &Folder<'_>, category: &Category) -> Result<Vec<Sample>, Error> {
    let mut samples = Vec::new();
    for contract in category.event_contracts() {
        let stem = contract.stem;
        for (name, text) in folder.files(&format!("samples/events/{stem}"))? {
            samples.push((format!("{stem}/{name}"), text));
        }
    }
    Ok(samples)
}

/// The state after this sample: alone if it begins a life, else after the first one that does.
fn entry_of(category: &Category, samples: &[Sample], name: &str) -> Option<Entry> {
    let begins = |name: &str| fold_named(category, samples, &[name.to_owned()]).is_ok();
    let first = samples.iter().map(|(name, _)| name).find(|name| begins(name))?;
    let lives = [vec![name.to_owned()], vec![first.clone(), name.to_owned()]];
    lives.into_iter().find_map(|after| {
        let state = fold_named(category, samples, &after).ok()?;
        Some(Entry { after, state: RawValue::from_string(state).ok()? })
    })
}

fn fold_named(category: &Category, samples: &[Sample], names: &[String]) -> Result<String, String> {
    let mut state: Option<Vec<u8>> = None;
    for name in names {
        let (_, text) = samples
            .iter()
            .find(|(other, _)| other == name)
            .ok_or_else(|| format!("there is no sample {name}"))?;
        let stem = name.split('/').next().unwrap_or_default();
        let next = category.fold(state.as_deref(), &stored(category, stem, text));
        state = Some(next.map_err(|error| format!("cannot be folded any more: {error}"))?);
    }
    String::from_utf8(state.unwrap_or_default()).map_err(|error| error.to_string())
}
