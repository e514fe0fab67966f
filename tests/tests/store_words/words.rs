//! Splits text into words, and knows which of them belong to the store.

use std::{collections::BTreeSet, path::Path};

/// Names of commands and events that are plain English, and that generic code needs: they count
/// only beside their aggregate, whose name counts anyway.
const ENGLISH: [&str; 36] = [
    "abandon",
    "abandoned",
    "add",
    "added",
    "adjust",
    "adjusted",
    "cancel",
    "cancelled",
    "capture",
    "captured",
    "confirm",
    "confirmed",
    "create",
    "created",
    "deactivate",
    "deliver",
    "delivered",
    "describe",
    "described",
    "erase",
    "open",
    "opened",
    "place",
    "placed",
    "receive",
    "received",
    "register",
    "registered",
    "release",
    "released",
    "reserve",
    "reserved",
    "return",
    "returned",
    "set",
    "void",
];

/// What generic code must not say.
#[derive(Debug, Default)]
pub struct Words {
    aggregates: BTreeSet<String>,
    /// Commands and events, as the words that they consist of.
    names: BTreeSet<Vec<String>>,
}

impl Words {
    /// The file stems under `schemas/events` and `schemas/commands`:
    /// `<aggregate>.<name>.v<number>`.
    pub fn of_schemas(schemas: &Path) -> Self {
        let files = ["events", "commands"]
            .into_iter()
            .flat_map(|kind| std::fs::read_dir(schemas.join(kind)).unwrap());
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        Self::of_stems(names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)))
    }

    pub fn of_stems(stems: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut words = Self::default();
        for stem in stems {
            let mut parts = stem.as_ref().split('.');
            let (aggregate, name) = (parts.next().unwrap(), parts.next().unwrap());
            words.aggregates.extend([aggregate.to_owned(), plural(aggregate)]);
            if !ENGLISH.contains(&name) {
                words.names.insert(split(name));
            }
        }
        words
    }

    pub fn aggregates(&self) -> &BTreeSet<String> {
        &self.aggregates
    }

    /// The store's words in `text`. `ORDER BY` is SQL.
    pub fn found_in(&self, text: &str) -> Vec<String> {
        let said = split(text);
        let sql = |at: usize| {
            said[at] == "order"
                && said.get(at + 1).is_some_and(|next| next == "by")
                && text.contains(' ')
        };
        let aggregates = (0..said.len())
            .filter(|at| self.aggregates.contains(&said[*at]) && !sql(*at))
            .map(|at| said[at].clone());
        let names = self
            .names
            .iter()
            .filter(|name| said.windows(name.len()).any(|window| window == name.as_slice()));
        aggregates.chain(names.map(|name| name.join("-"))).collect()
    }
}

/// Lower-case words, parted by everything that is no letter and by changes of case: `HTTPOrderId2`
/// is http, order, id.
pub fn split(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut words = vec![String::new()];
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| letters[at]);
        let after = letters.get(at + 1);
        let begins = letter.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || (before.is_uppercase() && after.is_some_and(|after| after.is_lowercase()))
            });
        if begins || !letter.is_alphabetic() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphabetic()) {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn plural(word: &str) -> String {
    match word.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{word}s"),
    }
}
