//! Owns the settings of a process: defaults, then the file, then `HIGHWATER__SECTION__KEY`, then
//! flags. Sections are read typed by their owners; a key that none of them knows is an error, never
//! ignored. A list in the environment or a flag is written `[a, b]`. Durations are integers with
//! the unit last in the key (`deadline_ms`).

use std::collections::BTreeMap;
use std::path::Path;

use config::{File, FileFormat, Map, Value, ValueKind};
use serde::de::DeserializeOwned;

const ENVIRONMENT_PREFIX: &str = "HIGHWATER__";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the configuration file {path} cannot be read: {source}")]
    File { path: String, source: config::ConfigError },
    #[error("the environment variable {name} is not text")]
    NotText { name: String },
    #[error("the environment variable {name} is not usable: {source}")]
    Variable { name: String, source: config::ConfigError },
    #[error("the flag for `{key}` is not usable: {source}")]
    Flag { key: String, source: config::ConfigError },
    #[error("the configuration cannot be put together: {source}")]
    Build { source: config::ConfigError },
    #[error("configuration `{key}`: {source}")]
    Key { key: String, source: config::ConfigError },
    #[error("unknown configuration section `{section}`, expected one of {}", .allowed.join(", "))]
    UnknownSection { section: String, allowed: Vec<String> },
    #[error(
        "`{key}` = {given} is not a section: settings are written as [section] with keys below it"
    )]
    NotASection { key: String, given: String },
}

/// The merged settings, not yet typed. Each owner reads its section once, at start.
#[derive(Clone, Default)]
pub struct Config {
    merged: config::Config,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Config").field(&self.redacted()).finish()
    }
}

impl Config {
    /// Reads the file (when given it must exist), the environment and the flags (`"section.key"`,
    /// value), later ones winning.
    pub fn load(file: Option<&Path>, flags: Vec<(String, String)>) -> Result<Self, Error> {
        Self::load_with(file, None, flags)
    }

    /// As [`Config::load`], with the environment given, for tests.
    pub fn load_with(
        file: Option<&Path>,
        environment: Option<Vec<(String, String)>>,
        flags: Vec<(String, String)>,
    ) -> Result<Self, Error> {
        let mut builder = config::Config::builder();
        if let Some(path) = file {
            let source = File::from(path).format(FileFormat::Toml).required(true);
            // Read alone first, so that the error names the file.
            config::Config::builder()
                .add_source(source.clone())
                .build()
                .map_err(|source| Error::File { path: path.display().to_string(), source })?;
            builder = builder.add_source(source);
        }
        let environment = environment.map_or_else(from_environment, Ok)?;
        let variables = environment
            .into_iter()
            .filter_map(|(name, value)| Some((key_of_variable(&name)?, name, value)));
        for (key, name, value) in variables {
            builder = builder
                .set_override(&key, read(&value))
                .map_err(|source| Error::Variable { name, source })?;
        }
        for (key, value) in flags {
            builder = builder
                .set_override(&key, read(&value))
                .map_err(|source| Error::Flag { key, source })?;
        }
        let merged = builder.build().map_err(|source| Error::Build { source })?;
        Ok(Self { merged })
    }

    /// The settings of one owner; its default when the section is absent. `T` should deny unknown
    /// fields.
    pub fn section<T: DeserializeOwned + Default>(&self, owner: &str) -> Result<T, Error> {
        match self.merged.get::<T>(owner) {
            Ok(settings) => Ok(settings),
            Err(config::ConfigError::NotFound(_)) if !self.tables().contains_key(owner) => {
                Ok(T::default())
            }
            Err(source) => Err(self
                .culprit::<T>(owner)
                .unwrap_or(Error::Key { key: owner.to_owned(), source })),
        }
    }

    /// Refuses every section that is not in `allowed`.
    pub fn refuse_unknown(&self, allowed: &[&str]) -> Result<(), Error> {
        for (key, value) in self.tables() {
            if !allowed.contains(&key.as_str()) {
                let allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
                return Err(Error::UnknownSection { section: key, allowed });
            }
            if !matches!(value.kind, ValueKind::Table(_)) {
                return Err(Error::NotASection { key, given: shown(&value) });
            }
        }
        Ok(())
    }

    /// Every set key with its value, secrets replaced: for the log at start.
    pub fn redacted(&self) -> BTreeMap<String, String> {
        let mut flat = BTreeMap::new();
        for (key, value) in self.tables() {
            flatten(&key, &value, &mut flat);
        }
        flat
    }

    /// The library's errors do not name the key: each key of the section is tried alone.
    fn culprit<T: DeserializeOwned>(&self, section: &str) -> Option<Error> {
        let table = self.merged.get_table(section).ok()?;
        let mut keys: Vec<_> = table.into_iter().collect();
        keys.sort_by(|(a, _), (b, _)| a.cmp(b));
        keys.into_iter().find_map(|(key, value)| {
            let alone = Value::new(None, Map::from_iter([(key.clone(), value)]));
            let source = alone.try_deserialize::<T>().err()?;
            let missing = source.to_string().starts_with("missing");
            (!missing).then(|| Error::Key { key: format!("{section}.{key}"), source })
        })
    }

    fn tables(&self) -> BTreeMap<String, Value> {
        match &self.merged.cache.kind {
            ValueKind::Table(table) => {
                table.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
            }
            _ => BTreeMap::new(),
        }
    }
}

/// Only our own variables: the rest need not even be text.
fn from_environment() -> Result<Vec<(String, String)>, Error> {
    let ours = std::env::vars_os()
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(ENVIRONMENT_PREFIX.as_bytes()));
    let texts = ours.map(|(name, value)| match (name.into_string(), value.into_string()) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        (Ok(name), Err(_)) => Err(Error::NotText { name }),
        (Err(name), _) => Err(Error::NotText { name: name.to_string_lossy().into_owned() }),
    });
    texts.collect()
}

fn key_of_variable(name: &str) -> Option<String> {
    let key = name.strip_prefix(ENVIRONMENT_PREFIX)?;
    Some(key.to_ascii_lowercase().replace("__", "."))
}

/// Text, or a list of texts: which type it has is for the section to say.
fn read(text: &str) -> Value {
    let list = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let Some(list) = list else { return Value::from(text) };
    let items =
        list.split(',').map(|item| item.trim().trim_matches('"')).filter(|item| !item.is_empty());
    Value::from(items.map(Value::from).collect::<Vec<Value>>())
}

fn flatten(key: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match &value.kind {
        ValueKind::Table(table) => {
            table.iter().for_each(|(name, inner)| flatten(&format!("{key}.{name}"), inner, into))
        }
        ValueKind::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| redact(key, &shown(item))).collect();
            into.insert(key.to_owned(), format!("[{}]", items.join(", ")));
        }
        _ => {
            into.insert(key.to_owned(), redact(key, &shown(value)));
        }
    }
}

fn shown(value: &Value) -> String {
    match &value.kind {
        ValueKind::Table(_) => "{...}".to_owned(),
        _ => value.to_string(),
    }
}

/// A key that names a secret hides its value; a URL hides its password.
fn redact(key: &str, value: &str) -> String {
    let name = key.rsplit('.').next().unwrap_or(key);
    let secret = ["password", "secret", "token", "private_key", "credentials"]
        .iter()
        .any(|word| name.contains(word));
    if secret && !name.ends_with("_file") && !name.ends_with("_path") {
        return "[redacted]".to_owned();
    }
    let mut shown = String::new();
    let mut rest = value;
    // Several URLs may stand in one value.
    while let Some(start) = rest.find("://") {
        let (scheme, after) = rest.split_at(start + 3);
        shown.push_str(scheme);
        let authority_end = after.find(['/', '?', '#', ',', ' ']).unwrap_or(after.len());
        let authority = &after[..authority_end];
        match authority.rfind('@') {
            Some(at) => {
                let user = authority[..at].split(':').next().unwrap_or_default();
                shown.push_str(user);
                shown.push_str(":[redacted]");
                shown.push_str(&authority[at..]);
            }
            None => shown.push_str(authority),
        }
        rest = &after[authority_end..];
    }
    shown.push_str(rest);
    hide_password_pairs(&shown)
}

/// `password=...` in a connection string or a URL's query.
fn hide_password_pairs(value: &str) -> String {
    let mut shown = String::new();
    let mut rest = value;
    while let Some(start) = rest.find("password=") {
        let (before, after) = rest.split_at(start + "password=".len());
        shown.push_str(before);
        shown.push_str("[redacted]");
        rest = &after[after.find(['&', ' ', ';']).unwrap_or(after.len())..];
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
